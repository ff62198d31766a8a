/* The floor: the least that a server can do to deliver one message to N connections.
 *
 *   floor DELIVERY PONG [CERTIFICATE KEY]
 *
 * Listens on a free port of 127.0.0.1, which it prints, and accepts every upgrade; the path is the
 * number of the connection's group. It answers a text message that starts with {"type":"ping" with
 * the text PONG. For any other it sends the frame of the text DELIVERY, built once at the start, to
 * each connection of the group with one write(). "to":"others" in the message leaves the sender
 * out, unless it asks for an answer with an "id": then its DELIVERY stands for the answer. Ends
 * when its standard input does. */
#include "bytes.h"

#include <arpa/inet.h>
#include <signal.h>

enum { CAPACITY = 4096, MOST_GROUPS = 100000 };

struct connection {
    struct bytes bytes;
    int upgraded, deaf;
    struct group *group; /* once it is upgraded */
    size_t at, have;     /* its place in the group; bytes waiting in `data` */
    unsigned char data[CAPACITY];
};

static struct group {
    struct connection **members;
    size_t count, capacity;
} groups[MOST_GROUPS];

static unsigned char delivery[65536 + 8], pong[65536 + 8];
static size_t delivery_size, pong_size;

static uint32_t rotated(uint32_t word, int by) { return word << by | word >> (32 - by); }

/* SHA-1 (RFC 3174) of one block at a time; `message` must hold the padding, too. */
static void sha1(unsigned char *message, size_t length, unsigned char digest[20]) {
    uint32_t h[5] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0}, w[80];
    size_t padded = (length + 9 + 63) / 64 * 64;
    memset(message + length, 0, padded - length);
    message[length] = 0x80;
    for (int i = 0; i < 4; i++) message[padded - 1 - i] = (unsigned char)(length * 8 >> 8 * i);
    for (size_t block = 0; block < padded; block += 64) {
        for (int i = 0; i < 16; i++) {
            const unsigned char *p = message + block + 4 * i;
            w[i] = (uint32_t)p[0] << 24 | p[1] << 16 | p[2] << 8 | p[3];
        }
        for (int i = 16; i < 80; i++) w[i] = rotated(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1);
        uint32_t a = h[0], b = h[1], c = h[2], d = h[3], e = h[4];
        for (int i = 0; i < 80; i++) {
            uint32_t f = i < 20   ? ((b & c) | (~b & d)) + 0x5a827999
                         : i < 40 ? (b ^ c ^ d) + 0x6ed9eba1
                         : i < 60 ? ((b & c) | (b & d) | (c & d)) + 0x8f1bbcdc
                                  : (b ^ c ^ d) + 0xca62c1d6;
            uint32_t next = rotated(a, 5) + f + e + w[i];
            e = d, d = c, c = rotated(b, 30), b = a, a = next;
        }
        h[0] += a, h[1] += b, h[2] += c, h[3] += d, h[4] += e;
    }
    for (int i = 0; i < 20; i++) digest[i] = (unsigned char)(h[i / 4] >> (24 - 8 * (i & 3)));
}

static void base64(const unsigned char *data, size_t length, char *out) {
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < length; i += 3) {
        uint32_t word = (uint32_t)data[i] << 16;
        if (i + 1 < length) word |= (uint32_t)data[i + 1] << 8;
        if (i + 2 < length) word |= data[i + 2];
        *out++ = digits[word >> 18];
        *out++ = digits[word >> 12 & 63];
        *out++ = i + 1 < length ? digits[word >> 6 & 63] : '=';
        *out++ = i + 2 < length ? digits[word & 63] : '=';
    }
    *out = 0;
}

/* Closes the connection and frees its memory. */
static void drop(struct connection *c) {
    end_bytes(&c->bytes);
    if (c->upgraded) {
        struct group *group = c->group;
        group->members[c->at] = group->members[--group->count];
        group->members[c->at]->at = c->at;
    }
    free(c);
}

static void join(struct connection *c, size_t number) {
    struct group *group = c->group = &groups[number % MOST_GROUPS];
    if (group->count == group->capacity) {
        group->capacity = group->capacity ? group->capacity * 2 : 8;
        group->members = realloc(group->members, group->capacity * sizeof *group->members);
        if (!group->members) die("realloc");
    }
    c->at = group->count;
    group->members[group->count++] = c;
    c->upgraded = 1;
}

/* A connection that does not take a whole frame at once gets no more of them. The load generator
 * counts frames, so it would fail if that happened to a connection that reads. */
static void put(struct connection *c, const void *data, size_t size) {
    if (!c->deaf && put_bytes(&c->bytes, data, size) != (ssize_t)size) c->deaf = 1;
}

static int upgrade(struct connection *c) {
    static const char guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    c->data[c->have < CAPACITY ? c->have : CAPACITY - 1] = 0;
    char *end = strstr((char *)c->data, "\r\n\r\n");
    if (!end) return c->have < CAPACITY - 1;
    char *key = strcasestr((char *)c->data, "\r\nSec-WebSocket-Key:");
    if (!key) return 0;
    key += strlen("\r\nSec-WebSocket-Key:");
    key += strspn(key, " ");
    unsigned char joined[192] = {0}, digest[20];
    size_t length = strcspn(key, " \r");
    if (length > 64) return 0;
    memcpy(joined, key, length);
    memcpy(joined + length, guid, sizeof guid - 1);
    sha1(joined, length + sizeof guid - 1, digest);
    char accept[32], answer[256];
    base64(digest, sizeof digest, accept);
    int size = snprintf(answer, sizeof answer,
                        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                        "Connection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n",
                        accept);
    put(c, answer, (size_t)size);
    join(c, strtoul((char *)c->data + strlen("GET /"), NULL, 10));
    size_t used = (size_t)((unsigned char *)end + 4 - c->data);
    memmove(c->data, c->data + used, c->have - used);
    c->have -= used;
    return 1;
}

static void deliver(struct connection *sender, int to_others) {
    struct group *group = sender->group;
    for (size_t i = 0; i < group->count; i++)
        if (!to_others || group->members[i] != sender)
            put(group->members[i], delivery, delivery_size);
}

/* Acts on one frame; returns 0 when the peer closed. */
static int act(struct connection *c, struct frame *frame) {
    static const char ping[] = "{\"type\":\"ping\"";
    unsigned char answer[CAPACITY + 8];
    if (frame->opcode == CLOSE || frame->opcode == PING) {
        int opcode = frame->opcode == CLOSE ? CLOSE : PONG;
        put(c, answer, build_frame(answer, opcode, frame->payload, frame->length, 0));
        return frame->opcode != CLOSE;
    }
    if (frame->opcode != TEXT) return 1;
    if (frame->length >= sizeof ping - 1 && !memcmp(frame->payload, ping, sizeof ping - 1))
        put(c, pong, pong_size);
    else
        deliver(c, has(frame, "\"to\":\"others\"") && !has(frame, "\"id\":"));
    return 1;
}

/* Reads what has come; returns 0 when the connection has ended. */
static int take_some(struct connection *c) {
    ssize_t got = take_bytes(&c->bytes, c->data + c->have, CAPACITY - 1 - c->have);
    if (got <= 0) return got < 0 && errno == EAGAIN;
    c->have += (size_t)got;
    if (!c->upgraded && !upgrade(c)) return 0;
    if (!c->upgraded) return 1;
    size_t used = 0;
    struct frame frame;
    while (parse_frame(c->data + used, c->have - used, &frame)) {
        if (!act(c, &frame)) return 0;
        used += frame.whole;
    }
    memmove(c->data, c->data + used, c->have - used);
    c->have -= used;
    return 1;
}

static int take(struct connection *c) {
    int ready = secure(&c->bytes);
    if (ready < 1) return ready == 0;
    do {
        if (!take_some(c)) return 0;
    } while (more_bytes(&c->bytes));
    return 1;
}

static void welcome(int epoll, int listener) {
    for (int fd; (fd = accept(listener, NULL, NULL)) >= 0;) {
        struct connection *c = calloc(1, sizeof *c);
        if (!c) die("calloc");
        make_ready(fd);
        begin_bytes(&c->bytes, fd, 1);
        watch(epoll, EPOLL_CTL_ADD, fd, EPOLLIN, c);
    }
}

static int listen_somewhere(void) {
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    if (listener < 0 || bind(listener, (struct sockaddr *)&address, size) < 0 ||
        listen(listener, 4096) < 0 || getsockname(listener, (struct sockaddr *)&address, &size) < 0)
        die("listen");
    make_ready(listener);
    printf("%d\n", ntohs(address.sin_port));
    fflush(stdout);
    return listener;
}

int main(int argc, char **argv) {
    if ((argc != 3 && argc != 5) || strlen(argv[1]) > 65535 || strlen(argv[2]) > 65535) {
        fprintf(stderr, "usage: floor DELIVERY PONG [CERTIFICATE KEY]\n");
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    prepare_bytes(argc == 5 ? argv[3] : NULL, argc == 5 ? argv[4] : NULL);
    delivery_size = build_frame(delivery, TEXT, argv[1], strlen(argv[1]), 0);
    pong_size = build_frame(pong, TEXT, argv[2], strlen(argv[2]), 0);
    int epoll = epoll_create1(0), listener = listen_somewhere(), input;
    watch(epoll, EPOLL_CTL_ADD, listener, EPOLLIN, &listener);
    watch(epoll, EPOLL_CTL_ADD, STDIN_FILENO, EPOLLIN, &input);
    for (;;) {
        struct epoll_event events[512];
        int ready = epoll_wait(epoll, events, 512, -1);
        for (int i = 0; i < ready; i++) {
            void *tag = events[i].data.ptr;
            char byte;
            if (tag == &listener)
                welcome(epoll, listener);
            else if (tag == &input) {
                if (read(STDIN_FILENO, &byte, 1) <= 0) return 0;
            } else if (!take(tag))
                drop(tag);
        }
    }
}
