/* Both ends of connections that are not HTTP. One thread, level-triggered epoll.
 *
 *     tcp serve   PORT [greeting]             on 127.0.0.1; with `greeting` it speaks first
 *     tcp rpc     PORT CONNECTIONS SECONDS    a message and its answer, again and again on each connection
 *     tcp connect PORT CONNECTIONS SECONDS    a new connection for every message, ended by the server
 *     tcp down    PORT CONNECTIONS SECONDS    pieces of 64 MiB from the server
 *     tcp up      PORT CONNECTIONS SECONDS    and to it
 *     tcp first   PORT COUNT                  one connection after the other, each until the first byte of a greeting
 *
 * A message has 100 bytes: what it asks for, and a length. An answer has 100 too, or is the piece asked for. No message
 * begins like a protocol that a proxy might know. Prints one JSON object; times are from a send (for connect and first:
 * from the connect) to the last byte of the answer. That the server ends connections keeps the ports of those who
 * connect, a proxy's among them, out of TIME_WAIT: one would measure the search for a free one.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { MESSAGE = 100, CHUNK = 1 << 20, EVENTS = 512, ECHO = 1, DOWN = 2, UP = 3, LAST = 4 };
static const uint64_t PIECE = 64ull << 20;
static const int64_t SECOND = 1000000000;

typedef struct {
    int fd;
    int connecting;     /* client: what follows waits for it */
    int writing;        /* epoll is asked for EPOLLOUT too */
    int last;           /* the connection ends with this answer */
    uint64_t to_send, to_read; /* bytes still to come in either direction */
    uint32_t have;      /* server: bytes of the message under way */
    int64_t begun;      /* client: when the exchange was */
    char message[MESSAGE];
} Conn;

static char chunk[CHUNK];
static int epoll_fd;
static struct sockaddr_in server;
static int64_t *samples;
static size_t sample_count, sample_room;
static uint64_t done, bytes, failed;
static int what;

static void die(const char *where) {
    perror(where);
    exit(1);
}

static int64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * SECOND + t.tv_nsec;
}

static void note(int64_t ns) {
    if (sample_count == sample_room) {
        sample_room = sample_room ? 2 * sample_room : 1 << 16;
        samples = realloc(samples, sample_room * sizeof *samples);
        if (samples == NULL)
            die("realloc");
    }
    samples[sample_count++] = ns;
}

static Conn *conn_new(int fd, uint32_t events) {
    int on = 1;
    Conn *c = calloc(1, sizeof *c);
    if (fd < 0 || c == NULL)
        die("connection");
    c->fd = fd;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    struct epoll_event ev = {.events = events, .data.ptr = c};
    if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &ev) < 0)
        die("epoll_ctl");
    return c;
}

static void conn_free(Conn *c) {
    close(c->fd);
    free(c);
}

static void conn_want(Conn *c, int writing) {
    if (c->writing == writing)
        return;
    c->writing = writing;
    struct epoll_event ev = {.events = EPOLLIN | (writing ? EPOLLOUT : 0u), .data.ptr = c};
    epoll_ctl(epoll_fd, EPOLL_CTL_MOD, c->fd, &ev);
}

/* Sends what is to be sent as far as it goes, a few chunks at most. -1: the connection is gone. */
static int conn_push(Conn *c) {
    for (int i = 0; i < 4 && c->to_send > 0; i++) {
        size_t n = c->to_send < CHUNK ? (size_t)c->to_send : CHUNK;
        ssize_t sent = send(c->fd, chunk, n, MSG_NOSIGNAL);
        if (sent < 0 && errno == EAGAIN)
            break;
        if (sent < 0)
            return -1;
        c->to_send -= (uint64_t)sent;
        if ((size_t)sent < n)
            break;
    }
    conn_want(c, c->to_send > 0);
    return 0;
}

/* ---- server */

/* What a whole message asks for. -1: nothing that there is. */
static int message_obey(Conn *c) {
    uint64_t length;
    memcpy(&length, c->message + 8, sizeof length);
    if (c->message[0] == DOWN)
        c->to_send += length;
    else if (c->message[0] == UP)
        c->to_read = length;
    else if (c->message[0] == ECHO || c->message[0] == LAST)
        c->to_send += MESSAGE;
    else
        return -1;
    c->last = c->message[0] == LAST;
    return 0;
}

static int server_read(Conn *c) {
    ssize_t got = recv(c->fd, chunk, sizeof chunk, 0);
    if (got < 0)
        return errno == EAGAIN ? 0 : -1;
    if (got == 0)
        return -1;
    size_t n = (size_t)got, at = 0;
    while (at < n) {
        size_t part = n - at;
        if (c->to_read > 0) {
            part = part < c->to_read ? part : (size_t)c->to_read;
            c->to_read -= part;
            c->to_send += c->to_read == 0 ? MESSAGE : 0;
        } else {
            part = part < MESSAGE - c->have ? part : MESSAGE - c->have;
            memcpy(c->message + c->have, chunk + at, part);
            c->have += (uint32_t)part;
            if (c->have == MESSAGE) {
                c->have = 0;
                if (message_obey(c) < 0)
                    return -1;
            }
        }
        at += part;
    }
    if (conn_push(c) < 0)
        return -1;
    return c->last && c->to_send == 0 ? -1 : 0;
}

static void serve(int greets) {
    int on = 1, listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(listener, (struct sockaddr *)&server, sizeof server) < 0 || listen(listener, 4096) < 0)
        die("listen");
    struct epoll_event ev = {.events = EPOLLIN, .data.ptr = NULL}, events[EVENTS];
    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, listener, &ev);
    for (;;) {
        int n = epoll_wait(epoll_fd, events, EVENTS, -1);
        for (int i = 0; i < n; i++) {
            Conn *c = events[i].data.ptr;
            if (c != NULL) {
                int r = events[i].events & EPOLLOUT ? conn_push(c) : 0;
                if (r == 0 && events[i].events & (EPOLLIN | EPOLLERR | EPOLLHUP))
                    r = server_read(c);
                if (r < 0)
                    conn_free(c);
                continue;
            }
            for (int fd; (fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0;) {
                c = conn_new(fd, EPOLLIN);
                c->to_send = greets ? MESSAGE : 0;
                if (conn_push(c) < 0)
                    conn_free(c);
            }
        }
    }
}

/* ---- client */

static int client_ask(Conn *c) {
    char message[MESSAGE] = {0};
    message[0] = (char)what;
    memcpy(message + 8, &PIECE, sizeof PIECE);
    if (what != LAST)
        c->begun = now_ns();
    c->to_send = what == UP ? PIECE : 0;
    c->to_read = what == DOWN ? PIECE : MESSAGE;
    if (send(c->fd, message, MESSAGE, MSG_NOSIGNAL) != MESSAGE)
        return -1;
    return conn_push(c);
}

static Conn *client_open(void) {
    int64_t begun = now_ns();
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (connect(fd, (struct sockaddr *)&server, sizeof server) < 0 && errno != EINPROGRESS)
        die("connect");
    Conn *c = conn_new(fd, EPOLLIN | EPOLLOUT);
    c->connecting = c->writing = 1;
    c->begun = begun;
    return c;
}

/* -1: the connection failed; 1: its exchange is over; 0: there is more to come. */
static int client_step(Conn *c, uint32_t events) {
    if (c->connecting) {
        if (events & (EPOLLERR | EPOLLHUP))
            return -1;
        if (!(events & EPOLLOUT))
            return 0;
        c->connecting = 0;
        conn_want(c, 0);
        return client_ask(c);
    }
    if (events & EPOLLOUT && conn_push(c) < 0)
        return -1;
    if (!(events & (EPOLLIN | EPOLLERR | EPOLLHUP)))
        return 0;
    ssize_t n = recv(c->fd, chunk, sizeof chunk, 0);
    if (n < 0 && errno == EAGAIN)
        return 0;
    if (n == 0 && what == LAST && c->to_read == 0)
        return 1;
    if (n <= 0 || (uint64_t)n > c->to_read)
        return -1;
    c->to_read -= (uint64_t)n;
    return c->to_read == 0 && c->to_send == 0 && what != LAST;
}

/* Whatever is still under way when the time is over is brought to its end, so that every byte belongs to a whole exchange. */
static double load(long connections, double seconds) {
    int64_t begun = now_ns(), end = begun + (int64_t)(seconds * 1e9), last = begun;
    long open = 0;
    for (; open < connections; open++)
        client_open();
    while (open > 0) {
        struct epoll_event events[EVENTS];
        int n = epoll_wait(epoll_fd, events, EVENTS, 10000);
        if (n <= 0)
            die("nothing happens");
        for (int i = 0; i < n; i++) {
            Conn *c = events[i].data.ptr;
            int r = client_step(c, events[i].events);
            if (r == 0)
                continue;
            last = now_ns();
            failed += r < 0;
            done += r > 0;
            if (r > 0)
                note(last - c->begun);
            if (r > 0 && what != LAST && last < end && client_ask(c) == 0)
                continue;
            conn_free(c);
            if (r > 0 && what == LAST && last < end)
                client_open();
            else
                open--;
        }
    }
    bytes = what == DOWN || what == UP ? done * PIECE : 0;
    return (double)(last - begun) / 1e9;
}

static double first(long count) {
    int64_t begun = now_ns();
    for (long i = 0; i < count; i++) {
        int64_t from = now_ns();
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (connect(fd, (struct sockaddr *)&server, sizeof server) < 0)
            die("connect");
        if (recv(fd, chunk, sizeof chunk, 0) <= 0) {
            failed++;
        } else {
            done++;
            note(now_ns() - from);
        }
        close(fd);
    }
    return (double)(now_ns() - begun) / 1e9;
}

static int earlier(const void *a, const void *b) {
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static double percentile_us(double percent) {
    size_t at = (size_t)((double)sample_count * percent / 100);
    return sample_count ? (double)samples[at < sample_count ? at : sample_count - 1] / 1e3 : 0;
}

int main(int argc, char **argv) {
    const char *mode = argc > 2 ? argv[1] : "";
    double took = 0;
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    server.sin_family = AF_INET;
    server.sin_port = htons((uint16_t)atoi(argc > 2 ? argv[2] : "0"));
    server.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    what = strcmp(mode, "down") == 0      ? DOWN
           : strcmp(mode, "up") == 0      ? UP
           : strcmp(mode, "connect") == 0 ? LAST
                                          : ECHO;
    if (strcmp(mode, "serve") == 0) {
        serve(argc == 4);
    } else if (strcmp(mode, "first") == 0 && argc == 4) {
        took = first(atol(argv[3]));
    } else if ((what != ECHO || strcmp(mode, "rpc") == 0) && argc == 5) {
        took = load(atol(argv[3]), atof(argv[4]));
    } else {
        fprintf(stderr, "usage: see the head of tcp.c\n");
        return 64;
    }
    if (sample_count > 0)
        qsort(samples, sample_count, sizeof *samples, earlier);
    printf("{\"exchanges\": %lu, \"bytes\": %lu, \"failed\": %lu, \"seconds\": %.6f, \"p50_us\": %.1f, \"p99_us\": %.1f}\n", done,
           bytes, failed, took, percentile_us(50), percentile_us(99));
    return 0;
}
