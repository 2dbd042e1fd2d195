/* Whether splice(2) relays for less than read and write: the processor time of a process that passes one TCP connection of
 * loopback on to another, by the way it does so. Prints one JSON object a line.
 *
 *     splice ROUNDS
 *
 * bulk: one side sends as fast as it can. message: it sends so many bytes and waits until the other has sent as many back.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MOST = 1 << 20 };

typedef struct {
    const char *name;
    int splice;    /* 1: through a pipe */
    int bytes;     /* of the buffer, or of the pipe */
} Way;

typedef struct {
    const char *name;
    size_t message;    /* 0: bulk */
    size_t total;      /* bytes one way */
} Load;

static const Way WAYS[] = {
    {"copy 16 KiB", 0, 16 << 10}, {"copy 64 KiB", 0, 64 << 10}, {"copy 256 KiB", 0, 256 << 10},
    {"splice 64 KiB", 1, 64 << 10}, {"splice 256 KiB", 1, 256 << 10}, {"splice 1 MiB", 1, 1 << 20},
};
static const Load LOADS[] = {
    {"bulk", 0, 1 << 30}, {"message 64 KiB", 64 << 10, 256 << 20}, {"message 1 KiB", 1 << 10, 16 << 20},
};
static char buffer[MOST];

static void fail(const char *what) {
    perror(what);
    exit(1);
}

/* Two ends of one connection of loopback. */
static void connect_pair(int ends[2]) {
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof at;
    int one = 1, listener = socket(AF_INET, SOCK_STREAM, 0);
    if (listener < 0 || bind(listener, (struct sockaddr *)&at, n) || listen(listener, 1) ||
        getsockname(listener, (struct sockaddr *)&at, &n))
        fail("listen");
    ends[0] = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(ends[0], (struct sockaddr *)&at, n)) fail("connect");
    ends[1] = accept(listener, NULL, NULL);
    close(listener);
    for (int i = 0; i < 2; i++) setsockopt(ends[i], IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
}

/* Passes on what there is. 0 at the end. */
static ssize_t pass(const Way *way, int from, int to, const int pipe_fds[2]) {
    ssize_t left, n, got;
    if (!way->splice) {
        got = recv(from, buffer, (size_t)way->bytes, 0);
        for (left = got; left > 0; left -= n)
            if ((n = send(to, buffer + (got - left), (size_t)left, MSG_NOSIGNAL)) <= 0) return -1;
        return got;
    }
    got = splice(from, NULL, pipe_fds[1], NULL, (size_t)way->bytes, SPLICE_F_MOVE);
    for (left = got; left > 0; left -= n)
        if ((n = splice(pipe_fds[0], NULL, to, NULL, (size_t)left, SPLICE_F_MOVE)) <= 0) return -1;
    return got;
}

static void relay(const Way *way, const Load *load, int client, int server) {
    int pipe_fds[2];
    size_t there = 0, back = 0;
    ssize_t n;
    if (pipe(pipe_fds) || (way->splice && fcntl(pipe_fds[1], F_SETPIPE_SZ, way->bytes) < 0)) fail("pipe");
    if (load->message == 0) {
        while (pass(way, client, server, pipe_fds) > 0) {}
        exit(0);
    }
    while (there < load->total) {
        for (size_t end = there + load->message; there < end; there += (size_t)n)
            if ((n = pass(way, client, server, pipe_fds)) <= 0) exit(1);
        for (size_t end = back + load->message; back < end; back += (size_t)n)
            if ((n = pass(way, server, client, pipe_fds)) <= 0) exit(1);
    }
    exit(0);
}

static void take(int fd, size_t n) {
    while (n) {
        ssize_t got = recv(fd, buffer, n < MOST ? n : MOST, 0);
        if (got <= 0) exit(1);
        n -= (size_t)got;
    }
}

static void give(int fd, size_t n) {
    while (n) {
        size_t most = n < (256 << 10) ? n : 256 << 10;
        ssize_t sent = send(fd, buffer, most, MSG_NOSIGNAL);
        if (sent <= 0) exit(1);
        n -= (size_t)sent;
    }
}

static void serve(const Load *load, int fd) {
    if (load->message == 0) {
        take(fd, load->total);
        exit(0);
    }
    for (size_t done = 0; done < load->total; done += load->message) {
        take(fd, load->message);
        give(fd, load->message);
    }
    exit(0);
}

static void ask(const Load *load, int fd) {
    if (load->message == 0) {
        give(fd, load->total);
        exit(0);
    }
    for (size_t done = 0; done < load->total; done += load->message) {
        give(fd, load->message);
        take(fd, load->message);
    }
    exit(0);
}

static double seconds(const struct rusage *use) {
    return (double)(use->ru_utime.tv_sec + use->ru_stime.tv_sec) +
           (double)(use->ru_utime.tv_usec + use->ru_stime.tv_usec) / 1e6;
}

static void measure(const Way *way, const Load *load, int round) {
    int near[2], far[2], status;
    pid_t pids[3];
    double spent[3];
    connect_pair(near);
    connect_pair(far);
    for (int i = 0; i < 3; i++) {
        pids[i] = fork();
        if (pids[i]) continue;
        /* Nobody keeps an end that is another's: its close must be seen. */
        if (i != 0) close(near[1]), close(far[0]);
        if (i != 1) close(near[0]);
        if (i != 2) close(far[1]);
        if (i == 0) relay(way, load, near[1], far[0]);
        if (i == 1) ask(load, near[0]);
        serve(load, far[1]);
    }
    close(near[0]), close(near[1]), close(far[0]), close(far[1]);
    for (int i = 2; i >= 0; i--) {
        struct rusage use;
        if (wait4(pids[i], &status, 0, &use) < 0 || status) fail("a process failed");
        spent[i] = seconds(&use);
    }
    double gb = (double)load->total * (load->message ? 2 : 1) / 1e9;
    printf("{\"measure\": \"splice\", \"load\": \"%s\", \"way\": \"%s\", \"round\": %d, \"relay_s_per_gb\": %.4f, "
           "\"all_s_per_gb\": %.4f}\n",
           load->name, way->name, round, spent[0] / gb, (spent[0] + spent[1] + spent[2]) / gb);
    fflush(stdout);
}

int main(int argc, char **argv) {
    int rounds = argc > 1 ? atoi(argv[1]) : 3;
    for (int round = 0; round < rounds; round++)
        for (size_t l = 0; l < sizeof LOADS / sizeof *LOADS; l++)
            for (size_t w = 0; w < sizeof WAYS / sizeof *WAYS; w++) measure(&WAYS[w], &LOADS[l], round);
    return 0;
}
