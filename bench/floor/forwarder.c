/* The floor: a TCP forwarder that parses nothing. One thread, edge-triggered epoll, one upstream connection for each
 * client connection, kept as long as the client's. What a proxy costs beyond this is what it does with HTTP.
 *
 *     forwarder LISTEN_HOST:PORT UPSTREAM_HOST:PORT        numeric addresses
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { READ_BYTES = 256 * 1024, EVENTS = 256, BACKLOG = 4096 };

typedef struct Pair Pair;

/* One socket of a pair, and what was read from its peer but could not be written to it yet. */
typedef struct {
    Pair *pair;
    int fd;
    int ended;      /* 1: read returned end of stream and the peer was told */
    int hung_up;    /* 1: epoll said that its end of stream is on the way: a short read is not the last */
    char *pending;  /* owns; NULL when nothing waits */
    size_t pending_off, pending_len;
} Side;

struct Pair {
    Side side[2]; /* client, upstream */
    Pair *next_dead;
};

static char scratch[READ_BYTES];
static int epoll_fd;
static struct sockaddr_in upstream;
static Pair *dead; /* freed after the batch of events that may still name them */

static void die(const char *what) {
    perror(what);
    exit(1);
}

static Side *peer_of(Side *s) { return &s->pair->side[s == &s->pair->side[0]]; }

static void set_nodelay(int fd) {
    int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

static int watch(Side *s) {
    struct epoll_event ev = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.ptr = s};
    return epoll_ctl(epoll_fd, EPOLL_CTL_ADD, s->fd, &ev);
}

static void pair_close(Pair *p) {
    if (p->side[0].fd < 0)
        return;
    for (int i = 0; i < 2; i++) {
        close(p->side[i].fd);
        p->side[i].fd = -1;
        free(p->side[i].pending);
        p->side[i].pending = NULL;
    }
    p->next_dead = dead;
    dead = p;
}

/* 1: all written; 0: the rest waits in s->pending; -1: the connection is gone. */
static int side_write(Side *s, const char *data, size_t n) {
    ssize_t done = send(s->fd, data, n, MSG_NOSIGNAL);
    if (done < 0) {
        if (errno != EAGAIN && errno != ENOTCONN)
            return -1;
        done = 0;
    }
    if ((size_t)done == n)
        return 1;
    s->pending_len = n - (size_t)done;
    s->pending_off = 0;
    s->pending = malloc(s->pending_len);
    if (s->pending == NULL)
        return -1;
    memcpy(s->pending, data + done, s->pending_len);
    return 0;
}

/* Reads s until the kernel has no more or its peer takes no more. -1: close the pair. */
static int side_pump(Side *s) {
    Side *to = peer_of(s);
    while (to->pending == NULL && !s->ended) {
        ssize_t n = recv(s->fd, scratch, sizeof scratch, 0);
        if (n < 0)
            return errno == EAGAIN || errno == ENOTCONN ? 0 : -1;
        if (n == 0) {
            s->ended = 1;
            shutdown(to->fd, SHUT_WR);
            return to->ended ? -1 : 0;
        }
        if (side_write(to, scratch, (size_t)n) < 0)
            return -1;
        if ((size_t)n < sizeof scratch && !s->hung_up)
            return 0; /* a short read emptied the socket: the next byte is a new edge */
    }
    return 0;
}

/* Writes what waited; when it is gone the peer is read again. -1: close the pair. */
static int side_flush(Side *s) {
    ssize_t n = send(s->fd, s->pending + s->pending_off, s->pending_len, MSG_NOSIGNAL);
    if (n < 0)
        return errno == EAGAIN ? 0 : -1;
    s->pending_off += (size_t)n;
    s->pending_len -= (size_t)n;
    if (s->pending_len > 0)
        return 0;
    free(s->pending);
    s->pending = NULL;
    return side_pump(peer_of(s));
}

static void pair_open(int client) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    Pair *p = calloc(1, sizeof *p);
    if (fd < 0 || p == NULL)
        die("pair");
    p->side[0].pair = p->side[1].pair = p;
    p->side[0].fd = client;
    p->side[1].fd = fd;
    set_nodelay(client);
    set_nodelay(fd);
    int failed = connect(fd, (struct sockaddr *)&upstream, sizeof upstream) < 0 && errno != EINPROGRESS;
    if (failed || watch(&p->side[1]) < 0 || watch(&p->side[0]) < 0)
        pair_close(p);
}

static void accept_all(int listener) {
    for (;;) {
        int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0)
            pair_open(fd);
        else if (errno != ECONNABORTED && errno != EINTR)
            return;
    }
}

static void side_event(Side *s, uint32_t events) {
    int r = 0;
    if (s->fd < 0)
        return;
    if (events & EPOLLERR)
        r = -1;
    if (r == 0 && s->pending != NULL && (events & EPOLLOUT))
        r = side_flush(s);
    if (r == 0 && (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP))) {
        s->hung_up |= (events & (EPOLLRDHUP | EPOLLHUP)) != 0;
        r = side_pump(s);
    }
    if (r < 0)
        pair_close(s->pair);
}

/* HOST:PORT, an IPv4 address */
static struct sockaddr_in address_of(const char *text) {
    struct sockaddr_in a = {.sin_family = AF_INET};
    char host[INET_ADDRSTRLEN];
    const char *colon = strrchr(text, ':');
    if (colon == NULL || (size_t)(colon - text) >= sizeof host)
        die(text);
    memcpy(host, text, (size_t)(colon - text));
    host[colon - text] = 0;
    if (inet_pton(AF_INET, host, &a.sin_addr) != 1)
        die(text);
    a.sin_port = htons((uint16_t)atoi(colon + 1));
    return a;
}

static int listen_on(struct sockaddr_in a) {
    int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) < 0)
        die("socket");
    if (bind(fd, (struct sockaddr *)&a, sizeof a) < 0 || listen(fd, BACKLOG) < 0)
        die("listen");
    return fd;
}

int main(int argc, char **argv) {
    if (argc != 3) {
        fprintf(stderr, "usage: %s LISTEN_HOST:PORT UPSTREAM_HOST:PORT\n", argv[0]);
        return 64;
    }
    upstream = address_of(argv[2]);
    int listener = listen_on(address_of(argv[1]));
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event ev = {.events = EPOLLIN, .data.ptr = NULL}, events[EVENTS];
    if (epoll_fd < 0 || epoll_ctl(epoll_fd, EPOLL_CTL_ADD, listener, &ev) < 0)
        die("epoll");
    for (;;) {
        int n = epoll_wait(epoll_fd, events, EVENTS, -1);
        for (int i = 0; i < n; i++) {
            if (events[i].data.ptr == NULL)
                accept_all(listener);
            else
                side_event(events[i].data.ptr, events[i].events);
        }
        while (dead != NULL) {
            Pair *p = dead;
            dead = p->next_dead;
            free(p);
        }
    }
}
