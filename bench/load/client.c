/* An HTTP/1.1 client that keeps a schedule. One thread, level-triggered epoll, keep-alive connections.
 *
 *     client rate  PORT PATH CONNECTIONS MAX_CONNECTIONS PER_SECOND WARMUP_S SECONDS [LATE_MS]
 *     client count PORT PATH CONNECTIONS REQUESTS
 *
 * rate: open loop. Request i is due at start + i / PER_SECOND whatever became of the others, and its latency counts from
 * then, so that a stall is charged to every request it delayed (no coordinated omission). A request waits for a free
 * connection; while fewer than MAX_CONNECTIONS are open a new one is made for it. count: closed loop, exactly so many.
 * Only answers with a Content-Length are understood. Prints one JSON object.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <math.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { HEAD_BYTES = 16384, READ_BYTES = 262144, EVENTS = 512, SUB = 64, BUCKETS = 64 * SUB, QUEUE = 1 << 21 };
static const int64_t SECOND = 1000000000;

typedef struct Conn {
    struct Conn *next;       /* in the list of idle ones */
    int fd;
    int connecting, busy;
    int64_t due;             /* of the request under way */
    size_t head_len, body_left;
    int in_body;
    char head[HEAD_BYTES];
} Conn;

static char request[2048], scratch[READ_BYTES];
static size_t request_len;
static struct sockaddr_in server;
static int epoll_fd;
static Conn *idle_first, *idle_last;
static long open_count, max_connections;
static int64_t queue[QUEUE]; /* due times of requests that wait for a connection */
static uint64_t queue_head, queue_tail;
static int64_t record_from, late_ns = INT64_MAX;
static uint64_t histogram[BUCKETS];
static uint64_t sent, answered, failed, recorded, late, lost;
static int64_t max_ns;
static double sum_ns;

static void die(const char *what) {
    perror(what);
    exit(1);
}

static int64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * SECOND + t.tv_nsec;
}

/* Log-linear: SUB buckets for every power of two, so a value is known to 1.6%. */
static size_t bucket_of(int64_t ns) {
    uint64_t v = ns > 0 ? (uint64_t)ns : 0;
    if (v < SUB)
        return (size_t)v;
    int shift = 63 - __builtin_clzll(v) - 6;
    return (size_t)((shift + 1) * SUB) + (size_t)((v >> shift) - SUB);
}

static double bucket_us(size_t b) { /* its upper bound */
    if (b < SUB)
        return (double)(b + 1) / 1e3;
    return ldexp((double)(b % SUB + SUB + 1), (int)(b / SUB) - 1) / 1e3;
}

static void idle_give(Conn *c) {
    c->busy = 0;
    c->next = NULL;
    if (idle_last != NULL)
        idle_last->next = c;
    else
        idle_first = c;
    idle_last = c;
}

static Conn *idle_take(void) {
    Conn *c = idle_first;
    if (c != NULL && (idle_first = c->next) == NULL)
        idle_last = NULL;
    return c;
}

static Conn *conn_open(void) {
    Conn *c = calloc(1, sizeof *c);
    int on = 1;
    if (c == NULL)
        die("calloc");
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (c->fd < 0)
        die("socket");
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (connect(c->fd, (struct sockaddr *)&server, sizeof server) < 0 && errno != EINPROGRESS)
        die("connect");
    struct epoll_event ev = {.events = EPOLLIN | EPOLLOUT, .data.ptr = c};
    if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, c->fd, &ev) < 0)
        die("epoll_ctl");
    c->connecting = 1;
    open_count++;
    return c;
}

static void conn_drop(Conn *c) { /* one that fails takes its request with it */
    if (c->busy)
        failed++;
    close(c->fd);
    free(c);
    open_count--;
}

static void note(int64_t due, int64_t now) {
    int64_t took = now - due;
    answered++;
    if (due < record_from)
        return;
    recorded++;
    late += took > late_ns;
    sum_ns += (double)took;
    if (took > max_ns)
        max_ns = took;
    size_t b = bucket_of(took);
    histogram[b < BUCKETS ? b : BUCKETS - 1]++;
}

static int conn_send(Conn *c, int64_t due) { /* a request is small and fits an idle socket's buffer */
    c->busy = 1;
    c->due = due;
    c->head_len = 0;
    c->in_body = 0;
    if (c->connecting)
        return 0;
    sent++;
    return send(c->fd, request, request_len, MSG_NOSIGNAL) == (ssize_t)request_len ? 0 : -1;
}

/* The length of the body, or -1 when the head is not the one of a 200 with a length. */
static int64_t head_judge(const char *head) {
    const char *field = strcasestr(head, "\r\nContent-Length:");
    if (strncmp(head, "HTTP/1.1 200", 12) != 0 || field == NULL)
        return -1;
    return atoll(field + 17);
}

/* Takes n bytes of an answer; 1: it is complete, 0: more to come, -1: it is not lawful. */
static int conn_take(Conn *c, const char *data, size_t n) {
    if (c->in_body) {
        if (n > c->body_left)
            return -1;
        c->body_left -= n;
        return c->body_left == 0;
    }
    size_t room = HEAD_BYTES - 1 - c->head_len, used = n < room ? n : room;
    memcpy(c->head + c->head_len, data, used);
    c->head_len += used;
    c->head[c->head_len] = 0;
    char *end = strstr(c->head, "\r\n\r\n");
    if (end == NULL)
        return used < n || room == used ? -1 : 0;
    size_t body_here = c->head_len - (size_t)(end + 4 - c->head) + (n - used);
    end[2] = 0;
    int64_t length = head_judge(c->head);
    if (length < 0 || (size_t)length < body_here)
        return -1;
    c->in_body = 1;
    c->body_left = (size_t)length - body_here;
    return c->body_left == 0;
}

static int conn_read(Conn *c) { /* as conn_take */
    ssize_t n = recv(c->fd, scratch, sizeof scratch, 0);
    if (n < 0)
        return errno == EAGAIN ? 0 : -1;
    if (n == 0 || !c->busy)
        return -1;
    return conn_take(c, scratch, (size_t)n);
}

static int conn_ready(Conn *c) { /* connected: from now on only reads matter */
    int error = 0;
    socklen_t size = sizeof error;
    getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &size);
    struct epoll_event ev = {.events = EPOLLIN, .data.ptr = c};
    if (error != 0 || epoll_ctl(epoll_fd, EPOLL_CTL_MOD, c->fd, &ev) < 0)
        return -1;
    c->connecting = 0;
    if (c->busy)
        return conn_send(c, c->due);
    idle_give(c);
    return 0;
}

/* Next due time that waits, or 0. */
static int64_t queue_take(void) { return queue_head == queue_tail ? 0 : queue[queue_head++ % QUEUE]; }

static void dispatch(int64_t due) {
    Conn *c;
    while ((c = idle_take()) != NULL) {
        if (conn_send(c, due) == 0)
            return;
        c->busy = 0;
        conn_drop(c);
    }
    if (open_count < max_connections)
        conn_send(conn_open(), due);
    else if (queue_tail - queue_head < QUEUE)
        queue[queue_tail++ % QUEUE] = due;
    else
        lost++;
}

/* Called with each free connection: what it sends next, 0 for nothing. */
static int64_t (*next_due)(void);

static void on_event(Conn *c, uint32_t events) {
    if (c->connecting && (events & (EPOLLOUT | EPOLLERR))) {
        if (conn_ready(c) < 0)
            conn_drop(c);
        return;
    }
    if (!(events & (EPOLLIN | EPOLLERR | EPOLLHUP)))
        return;
    int r = conn_read(c);
    if (r == 0)
        return;
    if (r < 0) {
        for (Conn **p = &idle_first, *before = NULL; !c->busy && *p != NULL; before = *p, p = &(*p)->next)
            if (*p == c) { /* closed while idle: out of the list */
                *p = c->next;
                if (idle_last == c)
                    idle_last = before;
                break;
            }
        conn_drop(c);
        return;
    }
    note(c->due, now_ns());
    int64_t due = next_due();
    if (due == 0)
        idle_give(c);
    else if (conn_send(c, due) < 0)
        conn_drop(c);
}

static void turn(int64_t timeout_ns) {
    struct epoll_event events[EVENTS];
    struct timespec wait = {.tv_sec = timeout_ns / SECOND, .tv_nsec = timeout_ns % SECOND};
    int n = epoll_pwait2(epoll_fd, events, EVENTS, &wait, NULL);
    for (int i = 0; i < n; i++)
        on_event(events[i].data.ptr, events[i].events);
}

static void connect_all(long count) {
    int64_t give_up = now_ns() + 10 * SECOND;
    for (long i = 0; i < count; i++)
        conn_open();
    for (;;) {
        long ready = 0;
        for (Conn *c = idle_first; c != NULL; c = c->next)
            ready++;
        if (ready >= count)
            return;
        if (now_ns() > give_up || open_count < count) {
            fprintf(stderr, "%ld of %ld connections\n", ready, count);
            exit(1);
        }
        turn(SECOND / 10);
    }
}

static void run_rate(double per_second, double warmup_s, double seconds) {
    int64_t begin = now_ns() + SECOND / 100, end = begin + (int64_t)((warmup_s + seconds) * 1e9), due = begin;
    uint64_t i = 0;
    record_from = begin + (int64_t)(warmup_s * 1e9);
    next_due = queue_take;
    while (due < end) {
        int64_t now = now_ns();
        for (; due <= now && due < end; due = begin + (int64_t)((double)++i * 1e9 / per_second))
            dispatch(due);
        now = now_ns();
        turn(due > now ? due - now : 0);
    }
    int64_t give_up = now_ns() + 5 * SECOND;
    while (answered + failed + lost < i && now_ns() < give_up)
        turn(SECOND / 20);
    lost += i - (answered + failed + lost);
}

static uint64_t to_send;

static int64_t count_due(void) {
    if (to_send == 0)
        return 0;
    to_send--;
    return now_ns();
}

static void run_count(uint64_t requests, long connections) {
    to_send = requests;
    next_due = count_due;
    for (long i = 0; i < connections && to_send > 0; i++)
        dispatch(count_due());
    while (answered + failed < requests)
        turn(SECOND);
}

static void print_result(void) {
    printf("{\"answered\": %lu, \"failed\": %lu, \"lost\": %lu, \"recorded\": %lu, \"late\": %lu, ", answered, failed, lost,
           recorded, late);
    printf("\"connections\": %ld, \"mean_us\": %.1f, \"max_us\": %.1f, \"histogram_us\": [", open_count,
           recorded ? sum_ns / (double)recorded / 1e3 : 0.0, (double)max_ns / 1e3);
    const char *comma = "";
    for (size_t b = 0; b < BUCKETS; b++)
        if (histogram[b]) {
            printf("%s[%.3f, %lu]", comma, bucket_us(b), histogram[b]);
            comma = ", ";
        }
    printf("]}\n");
}

int main(int argc, char **argv) {
    int rate = argc >= 9 && strcmp(argv[1], "rate") == 0;
    if (!rate && !(argc == 6 && strcmp(argv[1], "count") == 0)) {
        fprintf(stderr, "usage: see the head of client.c\n");
        return 64;
    }
    prctl(PR_SET_TIMERSLACK, 1UL, 0UL, 0UL, 0UL);
    server.sin_family = AF_INET;
    server.sin_port = htons((uint16_t)atoi(argv[2]));
    server.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    request_len = (size_t)snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: bench.test\r\n\r\n", argv[3]);
    long connections = atol(argv[4]);
    max_connections = rate ? atol(argv[5]) : connections;
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    connect_all(connections);
    if (rate) {
        if (argc > 9)
            late_ns = atoll(argv[9]) * 1000000;
        run_rate(atof(argv[6]), atof(argv[7]), atof(argv[8]));
    } else {
        run_count(strtoull(argv[5], NULL, 10), connections);
    }
    print_result();
    return 0;
}
