/* The load generator: N WebSocket connections, driven at C speed by commands on standard input.
 *
 *   load PORT GREETINGS TRIGGER PING REQUESTS
 *
 * REQUESTS is a file of upgrade requests, each ending in an empty line; connection i sends the
 * i-th. GREETINGS is how many frames the server sends unasked after the upgrade. TRIGGER and PING
 * are the texts that ask for one delivery to everyone and for one answer. Commands:
 *
 *   open FIRST COUNT AT_ONCE    upgrade these connections, so many at a time
 *   fanout ROUNDS WINDOW        connection 0 sends ROUNDS triggers, WINDOW of them in flight; each
 *                               must reach every open connection
 *   echo COUNT CONNECTIONS      the first CONNECTIONS each have COUNT pings answered, one by one
 *   hold MILLISECONDS           only answer the server's own pings
 *   close                       close handshake and end of every open connection
 *
 * Each is answered with one line of JSON: {"operations", "seconds", "cpu_seconds" (of this
 * process), "bytes" (read), "p50_us", "p99_us", "max_us"} or {"error"}. Ends with its input. */
#include "wire.h"

#include <arpa/inet.h>
#include <signal.h>
#include <time.h>

enum { ROOM = 16384, ADDRESSES = 8, PATIENCE_MS = 20000 };
enum state { UNUSED, CONNECTING, UPGRADING, GREETING, OPEN, CLOSING };

struct connection {
    int fd;
    enum state state;
    int greetings;           /* still to come */
    const char *request;
    size_t request_size;
    uint64_t started;        /* of the operation in flight, in nanoseconds */
    size_t answered, have;   /* operations of this phase; bytes in `data` */
    unsigned char *data;
};

static struct connection *connections;
static size_t total, opened;
static int epoll, greetings;
static struct sockaddr_in server;
static unsigned char trigger[65536 + 8], ping[65536 + 8];
static size_t trigger_size, ping_size;

/* The phase that runs: what it counts, and what it needs to know. */
static enum { HOLD, OPENING, FANOUT, ECHO, CLOSES } phase;
static size_t done, wanted, bytes_read;
static uint64_t last_progress;
static const char *failure;
static uint32_t *latencies; /* in units of 100 ns */
static size_t latencies_room;
static size_t next_open, open_end, pings_each;
static size_t rounds, rounds_sent, round_size;
static uint64_t *round_started;

static uint64_t clock_ns(clockid_t clock) {
    struct timespec at;
    clock_gettime(clock, &at);
    return (uint64_t)at.tv_sec * 1000000000u + (uint64_t)at.tv_nsec;
}

static uint64_t now(void) { return clock_ns(CLOCK_MONOTONIC); }

static void note(uint64_t started, uint64_t at) {
    if (done == latencies_room) {
        latencies_room = latencies_room ? latencies_room * 2 : 65536;
        latencies = realloc(latencies, latencies_room * sizeof *latencies);
        if (!latencies) die("realloc");
    }
    uint64_t units = (at - started) / 100;
    latencies[done++] = units > UINT32_MAX ? UINT32_MAX : (uint32_t)units;
    last_progress = at;
}

static void put(struct connection *c, const void *data, size_t size) {
    if (write(c->fd, data, size) != (ssize_t)size) failure = "a socket took no more of ours";
}

static void drop(struct connection *c) {
    if (c->state == OPEN || c->state == CLOSING) opened--;
    close(c->fd);
    free(c->data);
    c->data = NULL;
    c->state = UNUSED;
}

/* Clients' addresses are spread, as one has no more than 28,000 ports for one server. */
static void start(struct connection *c) {
    struct sockaddr_in own = {.sin_family = AF_INET};
    int one = 1;
    own.sin_addr.s_addr = htonl(INADDR_LOOPBACK + (uint32_t)((size_t)(c - connections) % ADDRESSES));
    c->started = now();
    c->fd = socket(AF_INET, SOCK_STREAM, 0);
    if (c->fd < 0) die("socket");
    make_ready(c->fd);
    setsockopt(c->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
    if (bind(c->fd, (struct sockaddr *)&own, sizeof own) < 0) die("bind");
    if (connect(c->fd, (struct sockaddr *)&server, sizeof server) < 0 && errno != EINPROGRESS)
        die("connect");
    c->state = CONNECTING;
    c->greetings = greetings;
    c->have = 0;
    c->data = malloc(ROOM);
    if (!c->data) die("malloc");
    watch(epoll, EPOLL_CTL_ADD, c->fd, EPOLLOUT, c);
}

static void start_next(void) {
    if (next_open < open_end) start(&connections[next_open++]);
}

static void now_open(struct connection *c, uint64_t at) {
    c->state = OPEN;
    opened++;
    note(c->started, at);
    start_next();
}

/* The answer to the upgrade: 101 or nothing. */
static size_t upgraded(struct connection *c, uint64_t at) {
    static char complaint[128];
    c->data[c->have < ROOM ? c->have : ROOM - 1] = 0;
    char *end = strstr((char *)c->data, "\r\n\r\n");
    if (!end) return 0;
    if (strncmp((char *)c->data, "HTTP/1.1 101", 12)) {
        snprintf(complaint, sizeof complaint, "an upgrade was refused: %.*s",
                 (int)strcspn((char *)c->data, "\r"), (char *)c->data);
        failure = complaint;
    }
    c->state = GREETING;
    if (!c->greetings) now_open(c, at);
    return (size_t)((unsigned char *)end + 4 - c->data);
}

static void send_triggers(size_t window, uint64_t at) {
    while (rounds_sent < rounds && rounds_sent < done / round_size + window) {
        round_started[rounds_sent++] = at;
        put(&connections[0], trigger, trigger_size);
    }
}

static size_t window_of_rounds;

/* One text frame has come. */
static void text(struct connection *c, uint64_t at) {
    if (c->state == GREETING) {
        if (--c->greetings == 0) now_open(c, at);
    } else if (phase == FANOUT && c->answered < rounds_sent) {
        note(round_started[c->answered++], at);
        if (done % round_size == 0) send_triggers(window_of_rounds, now());
    } else if (phase == ECHO && c->answered < pings_each) {
        note(c->started, at);
        if (++c->answered < pings_each) {
            c->started = now();
            put(c, ping, ping_size);
        }
    } else if (phase == FANOUT || phase == ECHO) {
        failure = "a frame came that nothing had asked for";
    }
}

static void act(struct connection *c, struct frame *frame, uint64_t at) {
    unsigned char answer[256];
    if (frame->opcode == PING && frame->length < 126)
        put(c, answer, build_frame(answer, PONG, frame->payload, frame->length, 1));
    else if (frame->opcode == CLOSE && phase != CLOSES)
        failure = "the server closed a connection";
    else if (frame->opcode == TEXT)
        text(c, at);
}

static void ended(struct connection *c) {
    if (phase == CLOSES)
        note(c->started, now());
    else
        failure = "a connection was lost";
    drop(c);
}

static void take(struct connection *c) {
    ssize_t got = read(c->fd, c->data + c->have, ROOM - 1 - c->have);
    if (got < 0 && errno == EAGAIN) return;
    if (got <= 0) {
        ended(c);
        return;
    }
    uint64_t at = now();
    c->have += (size_t)got;
    bytes_read += (size_t)got;
    size_t used = c->state == UPGRADING ? upgraded(c, at) : 0;
    struct frame frame;
    while (c->state > UPGRADING && parse_frame(c->data + used, c->have - used, &frame)) {
        act(c, &frame, at);
        used += frame.whole;
    }
    memmove(c->data, c->data + used, c->have - used);
    c->have -= used;
}

static void connected(struct connection *c) {
    int error = 0;
    socklen_t size = sizeof error;
    getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &size);
    if (error) {
        failure = strerror(error);
        return;
    }
    put(c, c->request, c->request_size);
    c->state = UPGRADING;
    watch(epoll, EPOLL_CTL_MOD, c->fd, EPOLLIN, c);
}

/* Serves the sockets for at most so long. */
static void serve(int milliseconds) {
    struct epoll_event events[512];
    int ready = epoll_wait(epoll, events, 512, milliseconds);
    for (int i = 0; i < ready; i++) {
        struct connection *c = events[i].data.ptr;
        if (c->state == CONNECTING)
            connected(c);
        else if (c->state != UNUSED)
            take(c);
    }
}

static int ascending(const void *a, const void *b) {
    uint32_t left = *(const uint32_t *)a, right = *(const uint32_t *)b;
    return (left > right) - (left < right);
}

static double quantile(double share) {
    return done ? latencies[(size_t)(share * (double)(done - 1))] / 10.0 : 0;
}

/* Runs the phase until all is counted, or nothing moves any more, and prints its figures. */
static void run(uint64_t hold_ns, uint64_t began, uint64_t cpu) {
    while (!failure && (phase == HOLD ? now() - began < hold_ns : done < wanted)) {
        serve(phase == HOLD ? 10 : 1000);
        if (phase != HOLD && now() - last_progress > PATIENCE_MS * 1000000ull)
            failure = "nothing came for 20 s";
    }
    double seconds = (double)(now() - began) / 1e9;
    double cpu_seconds = (double)(clock_ns(CLOCK_PROCESS_CPUTIME_ID) - cpu) / 1e9;
    if (failure) {
        printf("{\"error\": \"%s (%zu of %zu done, %zu open)\"}\n", failure, done, wanted, opened);
    } else {
        qsort(latencies, done, sizeof *latencies, ascending);
        printf("{\"operations\": %zu, \"seconds\": %.9f, \"cpu_seconds\": %.9f, \"bytes\": %zu, "
               "\"p50_us\": %.1f, \"p99_us\": %.1f, \"max_us\": %.1f}\n",
               done, seconds, cpu_seconds, bytes_read, quantile(0.5), quantile(0.99), quantile(1));
    }
    phase = HOLD;
    failure = NULL;
    fflush(stdout);
}

static void begin_open(size_t first, size_t count, size_t at_once) {
    phase = OPENING;
    next_open = first;
    open_end = first + count > total ? total : first + count;
    wanted = open_end > first ? open_end - first : 0;
    for (size_t i = 0; i < at_once; i++) start_next();
}

static void begin_fanout(size_t count, size_t window) {
    phase = FANOUT;
    rounds = count;
    rounds_sent = 0;
    round_size = opened;
    window_of_rounds = window;
    wanted = rounds * opened;
    round_started = realloc(round_started, (rounds + 1) * sizeof *round_started);
    if (!round_started) die("realloc");
    send_triggers(window, now());
}

static void begin_echo(size_t count, size_t among) {
    phase = ECHO;
    pings_each = count;
    if (among > opened) among = opened;
    wanted = count * among;
    for (size_t i = 0; i < among; i++) {
        connections[i].started = now();
        put(&connections[i], ping, ping_size);
    }
}

static void begin_close(void) {
    unsigned char normal[2] = {1000 >> 8, 1000 & 255}, frame[16];
    size_t size = build_frame(frame, CLOSE, normal, 2, 1);
    phase = CLOSES;
    wanted = opened;
    for (size_t i = 0; i < total; i++)
        if (connections[i].state == OPEN) {
            connections[i].state = CLOSING;
            connections[i].started = now();
            put(&connections[i], frame, size);
        }
}

static void command(const char *line) {
    char word[16];
    size_t a = 0, b = 0, c = 0;
    if (sscanf(line, "%15s %zu %zu %zu", word, &a, &b, &c) < 1) return;
    done = bytes_read = 0;
    for (size_t i = 0; i < total; i++) connections[i].answered = 0;
    uint64_t cpu = clock_ns(CLOCK_PROCESS_CPUTIME_ID), began = last_progress = now();
    if (!strcmp(word, "open"))
        begin_open(a, b, c);
    else if (!strcmp(word, "fanout"))
        begin_fanout(a, b);
    else if (!strcmp(word, "echo"))
        begin_echo(a, b);
    else if (!strcmp(word, "close"))
        begin_close();
    else if (strcmp(word, "hold"))
        failure = "no such command";
    run(a * 1000000ull, began, cpu);
}

/* Finds the requests in the file; each ends with an empty line. */
static void load_requests(const char *path) {
    FILE *file = fopen(path, "rb");
    if (!file) die(path);
    fseek(file, 0, SEEK_END);
    size_t size = (size_t)ftell(file);
    rewind(file);
    char *all = malloc(size + 1);
    if (!all || fread(all, 1, size, file) != size) die("requests");
    all[size] = 0;
    fclose(file);
    for (char *at = all; (at = strstr(at, "\r\n\r\n")); at += 4) total++;
    connections = calloc(total + 1, sizeof *connections);
    if (!connections) die("calloc");
    char *at = all;
    for (size_t i = 0; i < total; i++) {
        char *end = strstr(at, "\r\n\r\n") + 4;
        connections[i].request = at;
        connections[i].request_size = (size_t)(end - at);
        at = end;
    }
}

int main(int argc, char **argv) {
    if (argc != 6 || strlen(argv[3]) > 65535 || strlen(argv[4]) > 65535) {
        fprintf(stderr, "usage: load PORT GREETINGS TRIGGER PING REQUESTS\n");
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    server = (struct sockaddr_in){.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)atoi(argv[1])),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    greetings = atoi(argv[2]);
    trigger_size = build_frame(trigger, TEXT, argv[3], strlen(argv[3]), 1);
    ping_size = build_frame(ping, TEXT, argv[4], strlen(argv[4]), 1);
    load_requests(argv[5]);
    epoll = epoll_create1(0);
    /* Between two commands the server's pings are answered too, so standard input is polled. */
    char line[128];
    size_t have = 0;
    make_ready(STDIN_FILENO);
    for (;;) {
        ssize_t got = read(STDIN_FILENO, line + have, sizeof line - 1 - have);
        if (got == 0) return 0;
        if (got < 0) {
            serve(1);
            continue;
        }
        have += (size_t)got;
        line[have] = 0;
        char *end = strchr(line, '\n');
        if (!end) continue;
        *end = 0;
        command(line);
        have = 0;
    }
}
