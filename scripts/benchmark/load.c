/* The load generator: N WebSocket connections, driven at C speed by commands on standard input.
 *
 *   load PORT REQUESTS KINDS HELLO WELCOME
 *
 * REQUESTS is a file of upgrade requests, each ending in an empty line; connection i sends the
 * i-th. KINDS is a file of messages (kinds.h). A connection is open with the first frame that has
 * the text WELCOME in it, or after the upgrade if WELCOME is empty. HELLO, if it is not empty,
 * answers the first frame of a server that speaks Engine.IO; its pings are then answered, too.
 * Commands:
 *
 *   open FIRST COUNT AT_ONCE    upgrade these connections, so many at a time
 *   play NAME ROUNDS SIZE GROUPS BURST RATE
 *                               the open connections are groups of SIZE (0: one of all); in each of
 *                               the first GROUPS the members take turns in writing BURST messages
 *                               of the kinds NAME at once, and whoever is next waits for every
 *                               frame that these bring. ROUNDS for each group. RATE 0: at once;
 *                               else so many rounds a second of all groups, and latencies count
 *                               from when a round was due
 *   stall COUNT                 the last COUNT open connections read no more, until the end
 *   hold MILLISECONDS           only answer the server's own pings
 *   close                       close handshake and end of every open connection
 *
 * Each is answered with one line of JSON: {"operations", "messages" (sent; for `open` what came
 * before WELCOME), "seconds", "cpu_seconds" (of this process), "bytes" (read), "p50_us", "p99_us",
 * "p999_us", "max_us"} or {"error"}. Ends with its input. */
#include "bytes.h"
#include "kinds.h"

#include <arpa/inet.h>
#include <signal.h>
#include <sys/timerfd.h>
#include <time.h>

enum { CAPACITY = 16384, ADDRESSES = 8, PATIENCE_MS = 120000 };
enum state { UNUSED, CONNECTING, SECURING, UPGRADING, GREETING, OPEN, STALLED, CLOSING };

struct connection {
    struct bytes bytes;
    enum state state;
    int greeted; /* HELLO is sent */
    const char *request;
    size_t request_size;
    uint64_t started; /* of its opening or closing, in nanoseconds */
    size_t have;      /* bytes in `data` */
    unsigned char *data;
    struct group *group;
};

struct group {
    size_t first, members, turn, left; /* its place in the roster; rounds to begin */
    size_t expected;                   /* frames still to come */
    uint64_t started;                  /* of the round in flight */
};

static struct connection *connections;
static size_t total, opened;
static int epoll, timer;
static struct sockaddr_in server;
static const char *hello, *welcome;

/* The running phase: what it counts, and its state. */
static enum { HOLD, OPENING, PLAY, CLOSES } phase;
static size_t done, wanted, messages, bytes_read;
static uint64_t last_progress;
static const char *failure;
static uint32_t *latencies; /* in units of 100 ns */
static size_t latencies_capacity;
static size_t next_open, open_end;

/* The play: the members of each group, the groups that wait for their round, when it is due. */
static struct connection **roster;
static struct group *groups, **waiting;
static size_t groups_playing, groups_known, waiting_first, waiting_count, burst;
static char kind_name[NAME];
static unsigned weights;
static uint64_t due, pause_ns;

static uint64_t clock_ns(clockid_t clock) {
    struct timespec at;
    clock_gettime(clock, &at);
    return (uint64_t)at.tv_sec * 1000000000u + (uint64_t)at.tv_nsec;
}

static uint64_t now(void) { return clock_ns(CLOCK_MONOTONIC); }

static void note(uint64_t started, uint64_t at) {
    if (done == latencies_capacity) {
        latencies_capacity = latencies_capacity ? latencies_capacity * 2 : 65536;
        latencies = realloc(latencies, latencies_capacity * sizeof *latencies);
        if (!latencies) die("realloc");
    }
    uint64_t units = at > started ? (at - started) / 100 : 0;
    latencies[done++] = units > UINT32_MAX ? UINT32_MAX : (uint32_t)units;
    last_progress = at;
}

static void put(struct connection *c, const void *data, size_t size) {
    if (put_bytes(&c->bytes, data, size) != (ssize_t)size) failure = "a socket took no more of ours";
}

static void drop(struct connection *c) {
    if (c->state == OPEN || c->state == CLOSING) opened--;
    end_bytes(&c->bytes);
    free(c->data);
    c->data = NULL;
    c->state = UNUSED;
}

/* Spreads the clients over addresses: one address has 28,000 ports for one server. */
static void start(struct connection *c) {
    struct sockaddr_in own = {.sin_family = AF_INET};
    int one = 1, fd = socket(AF_INET, SOCK_STREAM, 0);
    own.sin_addr.s_addr = htonl(INADDR_LOOPBACK + (uint32_t)((size_t)(c - connections) % ADDRESSES));
    c->started = now();
    if (fd < 0) die("socket");
    make_ready(fd);
    setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
    if (bind(fd, (struct sockaddr *)&own, sizeof own) < 0) die("bind");
    if (connect(fd, (struct sockaddr *)&server, sizeof server) < 0 && errno != EINPROGRESS)
        die("connect");
    begin_bytes(&c->bytes, fd, 0);
    c->state = CONNECTING;
    c->greeted = 0;
    c->group = NULL;
    c->have = 0;
    c->data = malloc(CAPACITY);
    if (!c->data) die("malloc");
    watch(epoll, EPOLL_CTL_ADD, fd, EPOLLOUT, c);
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

/* Reads the answer to the upgrade; anything but 101 is a failure. */
static size_t upgraded(struct connection *c, uint64_t at) {
    static char complaint[128];
    c->data[c->have < CAPACITY ? c->have : CAPACITY - 1] = 0;
    char *end = strstr((char *)c->data, "\r\n\r\n");
    if (!end) return 0;
    if (strncmp((char *)c->data, "HTTP/1.1 101", 12)) {
        snprintf(complaint, sizeof complaint, "an upgrade was refused: %.*s",
                 (int)strcspn((char *)c->data, "\r"), (char *)c->data);
        failure = complaint;
    }
    c->state = GREETING;
    if (!*welcome) now_open(c, at);
    return (size_t)((unsigned char *)end + 4 - c->data);
}

static void put_text(struct connection *c, const char *text) {
    unsigned char frame[256];
    put(c, frame, build_frame(frame, TEXT, text, strlen(text), 1));
}

/* Gives the turn to the next member of the group; `at` is when that was due. */
static void begin_round(struct group *group, uint64_t at) {
    struct kind *kind = next_kind(kind_name, weights);
    struct connection *sender = roster[group->first + group->turn++ % group->members];
    long frames = (long)group->members * kind->members + kind->extra;
    group->left--;
    if (frames < 1) failure = "a round that brings no frame has no end";
    group->expected = (size_t)frames * burst;
    group->started = at;
    messages += burst;
    put(sender, kind->frames, kind->size);
}

static void wait_for_turn(struct group *group) {
    waiting[(waiting_first + waiting_count++) % groups_known] = group;
}

static void set_timer(uint64_t at) {
    struct itimerspec when = {
        .it_value = {.tv_sec = (time_t)(at / 1000000000u), .tv_nsec = (long)(at % 1000000000u)}};
    if (timerfd_settime(timer, TFD_TIMER_ABSTIME, &when, NULL) < 0) die("timerfd");
}

/* Ends the group's round, whose frames have all come. */
static void end_round(struct group *group) {
    if (!group->left) {
        groups_playing--;
    } else if (pause_ns) {
        wait_for_turn(group);
        if (waiting_count == 1) set_timer(due);
    } else {
        begin_round(group, now());
    }
}

/* Begins every round that is due, as far as groups wait for one. */
static void begin_due(void) {
    while (!failure && waiting_count && due <= now()) {
        struct group *group = waiting[waiting_first];
        waiting_first = (waiting_first + 1) % groups_known;
        waiting_count--;
        begin_round(group, due);
        due += pause_ns;
    }
    if (waiting_count) set_timer(due);
}

/* Counts one text frame. */
static void text(struct connection *c, struct frame *frame, uint64_t at) {
    if (*hello && frame->length == 1 && frame->payload[0] == '2') {
        put_text(c, "3");
    } else if (c->state == GREETING && has(frame, welcome)) {
        now_open(c, at);
    } else if (c->state == GREETING) {
        messages++;
        if (*hello && !c->greeted) put_text(c, hello);
        c->greeted = 1;
    } else if (phase == PLAY && c->group && c->group->expected) {
        note(c->group->started, at);
        if (--c->group->expected == 0) end_round(c->group);
    } else if (phase == PLAY) {
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
        text(c, frame, at);
}

static void ended(struct connection *c) {
    if (phase == CLOSES)
        note(c->started, now());
    else
        failure = "a connection was lost";
    drop(c);
}

/* Reads what has come; returns whether the connection is still open. */
static int take_some(struct connection *c) {
    ssize_t got = take_bytes(&c->bytes, c->data + c->have, CAPACITY - 1 - c->have);
    if (got < 0 && errno == EAGAIN) return 1;
    if (got <= 0) {
        ended(c);
        return 0;
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
    return 1;
}

static void take(struct connection *c) {
    while (take_some(c) && more_bytes(&c->bytes)) continue;
}

static void connected(struct connection *c) {
    int error = 0;
    socklen_t size = sizeof error;
    getsockopt(c->bytes.fd, SOL_SOCKET, SO_ERROR, &error, &size);
    if (error) {
        failure = strerror(error);
        return;
    }
    c->state = SECURING;
    watch(epoll, EPOLL_CTL_MOD, c->bytes.fd, EPOLLIN, c);
}

static void ask(struct connection *c) {
    int ready = secure(&c->bytes);
    if (ready < 0) failure = "a TLS handshake failed";
    if (ready < 1) return;
    put(c, c->request, c->request_size);
    c->state = UPGRADING;
}

static void begin_due_rounds(void) {
    uint64_t times;
    if (read(timer, &times, sizeof times) > 0 && phase == PLAY) begin_due();
}

static void serve_one(struct connection *c) {
    if (c->state == CONNECTING) connected(c);
    if (c->state == SECURING)
        ask(c);
    else if (c->state != UNUSED)
        take(c);
}

/* Serves the sockets for at most so many milliseconds. */
static void serve(int milliseconds) {
    struct epoll_event events[512];
    int ready = epoll_wait(epoll, events, 512, milliseconds);
    for (int i = 0; i < ready; i++) {
        if (events[i].data.ptr == &timer)
            begin_due_rounds();
        else
            serve_one(events[i].data.ptr);
    }
    if (phase == PLAY && pause_ns && waiting_count && due <= now()) begin_due();
}

static int ascending(const void *a, const void *b) {
    uint32_t left = *(const uint32_t *)a, right = *(const uint32_t *)b;
    return (left > right) - (left < right);
}

static double quantile(double share) {
    return done ? latencies[(size_t)(share * (double)(done - 1))] / 10.0 : 0;
}

static int over(uint64_t hold_until) {
    if (phase == HOLD) return now() >= hold_until;
    return phase == PLAY ? groups_playing == 0 : done >= wanted;
}

/* Runs the phase until all is counted, or nothing has moved for PATIENCE_MS; prints its figures. */
static void run(uint64_t hold_ns, uint64_t began, uint64_t cpu) {
    while (!failure && !over(began + hold_ns)) {
        serve(phase == HOLD ? 10 : 1000);
        if (phase != HOLD && now() - last_progress > PATIENCE_MS * 1000000ull)
            failure = "nothing came for 20 s";
    }
    double seconds = (double)(now() - began) / 1e9;
    double cpu_seconds = (double)(clock_ns(CLOCK_PROCESS_CPUTIME_ID) - cpu) / 1e9;
    if (failure) {
        printf("{\"error\": \"%s (%zu done, %zu open)\"}\n", failure, done, opened);
    } else {
        qsort(latencies, done, sizeof *latencies, ascending);
        printf("{\"operations\": %zu, \"messages\": %zu, \"seconds\": %.9f, \"cpu_seconds\": %.9f, "
               "\"bytes\": %zu, \"p50_us\": %.1f, \"p99_us\": %.1f, \"p999_us\": %.1f, "
               "\"max_us\": %.1f}\n",
               done, messages, seconds, cpu_seconds, bytes_read, quantile(0.5), quantile(0.99),
               quantile(0.999), quantile(1));
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

/* Puts the open connections into groups of `size`. */
static void seat(size_t size, size_t count) {
    size_t seats = 0;
    if (!size) size = opened;
    for (size_t i = 0; i < total; i++)
        if (connections[i].state == OPEN) roster[seats++] = &connections[i];
    groups_known = size ? seats / size : 0;
    if (groups_known > count) groups_known = count;
    for (size_t i = 0; i < seats; i++)
        roster[i]->group = i / size < groups_known ? &groups[i / size] : NULL;
    for (size_t i = 0; i < groups_known; i++)
        groups[i] = (struct group){.first = i * size, .members = size};
}

static void begin_play(size_t rounds, size_t size, size_t count, size_t per_second) {
    seat(size, count);
    weights = prepare_kinds(kind_name, burst);
    if (!weights || !groups_known || !rounds) {
        failure = "there is nothing to play";
        return;
    }
    phase = PLAY;
    groups_playing = groups_known;
    waiting_first = waiting_count = 0;
    pause_ns = per_second ? 1000000000u / per_second : 0;
    due = now() + pause_ns;
    for (size_t i = 0; i < groups_known; i++) {
        groups[i].left = rounds;
        if (pause_ns)
            wait_for_turn(&groups[i]);
        else
            begin_round(&groups[i], now());
    }
    if (pause_ns) set_timer(due);
}

/* Small buffers, so that the bytes wait in the server and not in the kernel. */
static void begin_stall(size_t count) {
    int small = 4096;
    phase = CLOSES;
    wanted = 0;
    for (size_t i = total; i-- && count;) {
        struct connection *c = &connections[i];
        if (c->state != OPEN) continue;
        watch(epoll, EPOLL_CTL_DEL, c->bytes.fd, 0, NULL);
        setsockopt(c->bytes.fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
        c->state = STALLED;
        c->group = NULL;
        opened--;
        count--;
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
    size_t a = 0, b = 0, c = 0, d = 0, rate = 0;
    if (sscanf(line, "%15s %zu %zu %zu", word, &a, &b, &c) < 1) return;
    done = messages = bytes_read = 0;
    uint64_t cpu = clock_ns(CLOCK_PROCESS_CPUTIME_ID), began = last_progress = now();
    if (!strcmp(word, "open"))
        begin_open(a, b, c);
    else if (sscanf(line, "play %31s %zu %zu %zu %zu %zu", kind_name, &a, &b, &c, &d, &rate) == 6) {
        burst = d;
        begin_play(a, b, c, rate);
    } else if (!strcmp(word, "stall"))
        begin_stall(a);
    else if (!strcmp(word, "close"))
        begin_close();
    else if (strcmp(word, "hold"))
        failure = "no such command";
    run(a * 1000000ull, began, cpu);
}

/* Finds the requests in the file; each ends with an empty line. */
static void load_requests(const char *path) {
    char *all = whole_file(path);
    for (char *at = all; (at = strstr(at, "\r\n\r\n")); at += 4) total++;
    connections = calloc(total + 1, sizeof *connections);
    roster = calloc(total + 1, sizeof *roster);
    groups = calloc(total + 1, sizeof *groups);
    waiting = calloc(total + 1, sizeof *waiting);
    if (!connections || !roster || !groups || !waiting) die("calloc");
    char *at = all;
    for (size_t i = 0; i < total; i++) {
        char *end = strstr(at, "\r\n\r\n") + 4;
        connections[i].request = at;
        connections[i].request_size = (size_t)(end - at);
        at = end;
    }
}

int main(int argc, char **argv) {
    if (argc != 6) {
        fprintf(stderr, "usage: load PORT REQUESTS KINDS HELLO WELCOME\n");
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    server = (struct sockaddr_in){.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)atoi(argv[1])),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    prepare_bytes(NULL, NULL);
    load_requests(argv[2]);
    load_kinds(argv[3]);
    hello = argv[4];
    welcome = argv[5];
    epoll = epoll_create1(0);
    timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
    if (timer < 0) die("timerfd");
    watch(epoll, EPOLL_CTL_ADD, timer, EPOLLIN, &timer);
    /* Polled, so that the server's pings are answered between two commands as well. */
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
