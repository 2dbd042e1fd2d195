/* Every system call and clock read of the core. One seam: a simulation build replaces this file alone.
 *
 * A release build enters the kernel directly: libc's wrappers are cancellation points, which cost two atomic
 * operations a call in a threaded process, and they answer through errno. Here every call answers >= 0 or -errno.
 * Sanitizer and debug builds go through libc, so that its interceptors see the memory the kernel writes.
 */
#ifndef FASTMESH_SYS_H
#define FASTMESH_SYS_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <arpa/inet.h>
#include <poll.h>
#include <sched.h>
#include <stdint.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#if !defined(FASTMESH_DEBUG) && !defined(__SANITIZE_THREAD__) && defined(__x86_64__)
static inline long fm_syscall6(long nr, long a, long b, long c, long d, long e, long f) {
    long ret;
    register long r10 __asm__("r10") = d;
    register long r8 __asm__("r8") = e;
    register long r9 __asm__("r9") = f;
    __asm__ volatile("syscall" : "=a"(ret)
                     : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return ret;
}
#elif !defined(FASTMESH_DEBUG) && !defined(__SANITIZE_THREAD__) && defined(__aarch64__)
static inline long fm_syscall6(long nr, long a, long b, long c, long d, long e, long f) {
    register long x8 __asm__("x8") = nr;
    register long x0 __asm__("x0") = a;
    register long x1 __asm__("x1") = b;
    register long x2 __asm__("x2") = c;
    register long x3 __asm__("x3") = d;
    register long x4 __asm__("x4") = e;
    register long x5 __asm__("x5") = f;
    __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5) : "memory");
    return x0;
}
#else
#define FASTMESH_LIBC_CALLS 1
#endif

#ifdef FASTMESH_LIBC_CALLS
#define FM_LIBC(expr) do { long fm_r = (long)(expr); return fm_r < 0 ? -(long)errno : fm_r; } while (0)
static inline long sys_recv(int fd, void *p, size_t n) { FM_LIBC(recv(fd, p, n, 0)); }
static inline long sys_send(int fd, const void *p, size_t n) { FM_LIBC(send(fd, p, n, MSG_NOSIGNAL)); }
static inline long sys_sendmsg(int fd, const struct msghdr *m) { FM_LIBC(sendmsg(fd, m, MSG_NOSIGNAL)); }
static inline long sys_epoll_wait(int ep, struct epoll_event *ev, int max, int ms) { FM_LIBC(epoll_wait(ep, ev, max, ms)); }
static inline long sys_accept(int fd, struct sockaddr *sa, socklen_t *len) {
    FM_LIBC(accept4(fd, sa, len, SOCK_NONBLOCK | SOCK_CLOEXEC));
}
static inline long sys_close(int fd) { FM_LIBC(close(fd)); }
static inline long sys_shutdown(int fd, int how) { FM_LIBC(shutdown(fd, how)); }
static inline long sys_splice(int source, int sink, size_t n) { FM_LIBC(splice(source, NULL, sink, NULL, n, SPLICE_F_NONBLOCK)); }
static inline long sys_epoll_ctl(int ep, int op, int fd, struct epoll_event *ev) { FM_LIBC(epoll_ctl(ep, op, fd, ev)); }
static inline long sys_socket(int family) { FM_LIBC(socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)); }
static inline long sys_connect(int fd, const void *sa, unsigned n) { FM_LIBC(connect(fd, (const struct sockaddr *)sa, n)); }
#else
static inline long sys_recv(int fd, void *p, size_t n) {
    return fm_syscall6(SYS_recvfrom, fd, (long)p, (long)n, 0, 0, 0);
}
static inline long sys_send(int fd, const void *p, size_t n) {
    return fm_syscall6(SYS_sendto, fd, (long)p, (long)n, MSG_NOSIGNAL, 0, 0);
}
static inline long sys_sendmsg(int fd, const struct msghdr *m) {
    return fm_syscall6(SYS_sendmsg, fd, (long)m, MSG_NOSIGNAL, 0, 0, 0);
}
static inline long sys_epoll_wait(int ep, struct epoll_event *ev, int max, int ms) {
    return fm_syscall6(SYS_epoll_pwait, ep, (long)ev, max, ms, 0, 8);
}
static inline long sys_accept(int fd, struct sockaddr *sa, socklen_t *len) {
    return fm_syscall6(SYS_accept4, fd, (long)sa, (long)len, SOCK_NONBLOCK | SOCK_CLOEXEC, 0, 0);
}
static inline long sys_close(int fd) { return fm_syscall6(SYS_close, fd, 0, 0, 0, 0, 0); }
static inline long sys_shutdown(int fd, int how) { return fm_syscall6(SYS_shutdown, fd, how, 0, 0, 0, 0); }
static inline long sys_splice(int source, int sink, size_t n) {
    return fm_syscall6(SYS_splice, source, 0, sink, 0, (long)n, SPLICE_F_NONBLOCK);
}
static inline long sys_epoll_ctl(int ep, int op, int fd, struct epoll_event *ev) {
    return fm_syscall6(SYS_epoll_ctl, ep, op, fd, (long)ev, 0, 0);
}
static inline long sys_socket(int family) {
    return fm_syscall6(SYS_socket, family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, 0, 0, 0);
}
static inline long sys_connect(int fd, const void *sa, unsigned n) {
    return fm_syscall6(SYS_connect, fd, (long)sa, (long)n, 0, 0, 0);
}
#endif

/* Two pieces in one call; either may be empty. */
static inline long sys_send2(int fd, const void *a, size_t an, const void *b, size_t bn) {
    struct iovec iov[2];
    struct msghdr m;
    iov[0].iov_base = (void *)a; iov[0].iov_len = an;
    iov[1].iov_base = (void *)b; iov[1].iov_len = bn;
    memset(&m, 0, sizeof m);
    m.msg_iov = iov;
    m.msg_iovlen = 2;
    return sys_sendmsg(fd, &m);
}

static inline long sys_result(long r) { return r < 0 ? -(long)errno : r; }
static inline long sys_write(int fd, const void *p, size_t n) { return sys_result(write(fd, p, n)); }
static inline long sys_writev2(int fd, const void *a, size_t an, const void *b, size_t bn) {
    struct iovec iov[2];
    iov[0].iov_base = (void *)a; iov[0].iov_len = an;
    iov[1].iov_base = (void *)b; iov[1].iov_len = bn;
    return sys_result(writev(fd, iov, bn ? 2 : 1));
}
/* A pipe that holds n bytes. EPERM: the user has used up what may be in pipes (fs.pipe-user-pages-soft). */
static inline long sys_pipe(int fds[2], int n) {
    long r = sys_result(pipe2(fds, O_NONBLOCK | O_CLOEXEC));
    if (r == 0 && fcntl(fds[1], F_SETPIPE_SZ, n) < 0) {
        r = -(long)errno;
        close(fds[0]); close(fds[1]);
    }
    return r;
}
static inline long sys_epoll_create(void) { return sys_result(epoll_create1(EPOLL_CLOEXEC)); }
static inline long sys_eventfd(void) { return sys_result(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)); }
static inline long sys_eventfd_signal(int fd) { uint64_t one = 1; return sys_result(write(fd, &one, 8)); }
static inline long sys_eventfd_clear(int fd) { uint64_t v; return sys_result(read(fd, &v, 8)); }

static inline long sys_set_option(int fd, int level, int name, int value) {
    return sys_result(setsockopt(fd, level, name, &value, sizeof value));
}
static inline long sys_nodelay(int fd) { return sys_set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1); }
/* A peer that vanished is noticed within about two minutes. Not for Unix sockets, which always notice. */
static inline void sys_keepalive(int fd) {
    if (sys_set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1) < 0) return;
    sys_set_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, 60);
    sys_set_option(fd, IPPROTO_TCP, TCP_KEEPINTVL, 15);
    sys_set_option(fd, IPPROTO_TCP, TCP_KEEPCNT, 4);
}
/* A peer that acknowledges nothing for so long is given up; 0: as long as the kernel likes. Not for Unix sockets. */
static inline void sys_user_timeout(int fd, unsigned ms) {
    if (ms) sys_set_option(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, (int)ms);
}
/* Closing from now on sends RST: the peer must not take a cut message for a whole one. */
static inline long sys_reset_on_close(int fd) {
    struct linger l;
    l.l_onoff = 1; l.l_linger = 0;
    return sys_result(setsockopt(fd, SOL_SOCKET, SO_LINGER, &l, sizeof l));
}
/* Where a connection was meant to go before the kernel's NAT rewrote it (linux/netfilter_ipv4.h, netfilter_ipv6/ip6_tables.h:
 * SO_ORIGINAL_DST and IP6T_SO_ORIGINAL_DST are the same number). family: of the address, not of the socket: one that takes both
 * asks for a mapped IPv4 address as for IPv4. */
static inline long sys_original_dst(int fd, int family, void *sa, socklen_t *n) {
    enum { ORIGINAL_DST = 80 };
    return sys_result(getsockopt(fd, family == AF_INET6 ? IPPROTO_IPV6 : IPPROTO_IP, ORIGINAL_DST, sa, n));
}
static inline long sys_getsockname(int fd, void *sa, socklen_t *n) {
    return sys_result(getsockname(fd, (struct sockaddr *)sa, n));
}
/* 0, or the errno that a finished non-blocking connect left. */
static inline long sys_connect_error(int fd) {
    int err = 0;
    socklen_t n = sizeof err;
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &n) < 0) return (long)errno;
    return (long)err;
}

static inline int64_t sys_monotonic_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}
static inline int64_t sys_realtime_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* Zeroed address space; a page costs memory only once it is touched. */
static inline void *sys_reserve(size_t n) {
    void *p = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return p == MAP_FAILED ? NULL : p;
}
static inline void sys_release(void *p, size_t n) { if (p) munmap(p, n); }
/* Gives the pages back to the kernel; they read as zero afterwards. */
static inline void sys_forget(void *p, size_t n) { madvise(p, n, MADV_DONTNEED); }

static inline long sys_pin_thread(int cpu) {
    cpu_set_t set;
    CPU_ZERO(&set);
    if (cpu < 0 || cpu >= CPU_SETSIZE) return -EINVAL;
    CPU_SET((unsigned)cpu, &set);
    return sys_result(sched_setaffinity(0, sizeof set, &set));
}

/* Waits until fd is readable or ms passed. */
static inline long sys_wait_readable(int fd, int ms) {
    struct pollfd p;
    p.fd = fd; p.events = POLLIN; p.revents = 0;
    return sys_result(poll(&p, 1, ms));
}

static inline long sys_wait_writable(int fd, int ms) {
    struct pollfd p;
    p.fd = fd; p.events = POLLOUT; p.revents = 0;
    return sys_result(poll(&p, 1, ms));
}

#endif
