# The kernel, as the core sees it: sockets, epoll, clocks, address space. Law: declarations only, every answer >= 0 or -errno.
from libc.stdint cimport int64_t, uint32_t, uint64_t

cdef extern from "sys.h" nogil:
    enum:
        AF_INET
        AF_INET6
        AF_UNIX
        EADDRNOTAVAIL
        EAGAIN
        EINTR
        EINPROGRESS
        EMFILE
        ENFILE
        ENOBUFS
        ENOMEM
        ECONNABORTED
        ECONNREFUSED
        ECONNRESET
        ETIMEDOUT
        EPIPE
        EPROTO
        EPOLLIN
        EPOLLOUT
        EPOLLERR
        EPOLLHUP
        EPOLLRDHUP
        EPOLL_CTL_ADD
        EPOLL_CTL_MOD
        EPOLL_CTL_DEL
        SHUT_WR
        INET6_ADDRSTRLEN
    const uint32_t EPOLLET

    ctypedef union epoll_data_t:
        uint64_t u64
    struct epoll_event:
        uint32_t events
        epoll_data_t data

    struct sockaddr:
        unsigned short sa_family
    struct in_addr:
        uint32_t s_addr
    struct sockaddr_in:
        unsigned short sin_family
        unsigned short sin_port
        in_addr sin_addr
    struct in6_addr:
        unsigned char s6_addr[16]
    struct sockaddr_in6:
        unsigned short sin6_family
        unsigned short sin6_port
        in6_addr sin6_addr
    struct sockaddr_storage:
        unsigned short ss_family
    unsigned short htons(unsigned short n) noexcept

    const char* inet_ntop(int family, const void* address, char* out, unsigned int n) noexcept
    int inet_pton(int family, const char* text, void* out) noexcept
    unsigned short ntohs(unsigned short n) noexcept

    long sys_recv(int fd, void* p, size_t n) noexcept
    long sys_send(int fd, const void* p, size_t n) noexcept
    long sys_send2(int fd, const void* a, size_t an, const void* b, size_t bn) noexcept
    long sys_write(int fd, const void* p, size_t n) noexcept
    long sys_writev2(int fd, const void* a, size_t an, const void* b, size_t bn) noexcept
    long sys_accept(int fd, sockaddr* sa, unsigned int* n) noexcept
    long sys_socket(int family) noexcept
    long sys_connect(int fd, const void* sa, unsigned int n) noexcept
    long sys_connect_error(int fd) noexcept
    long sys_original_dst(int fd, int family, void* sa, unsigned int* n) noexcept
    long sys_getsockname(int fd, void* sa, unsigned int* n) noexcept
    long sys_nodelay(int fd) noexcept
    void sys_keepalive(int fd) noexcept
    void sys_user_timeout(int fd, unsigned int ms) noexcept
    long sys_reset_on_close(int fd) noexcept
    long sys_shutdown(int fd, int how) noexcept
    long sys_pipe(int* fds, int n) noexcept
    long sys_splice(int source, int sink, size_t n) noexcept
    long sys_close(int fd) noexcept
    long sys_epoll_create() noexcept
    long sys_epoll_ctl(int ep, int op, int fd, epoll_event* ev) noexcept
    long sys_epoll_wait(int ep, epoll_event* ev, int n, int ms) noexcept
    long sys_eventfd() noexcept
    long sys_eventfd_signal(int fd) noexcept
    long sys_eventfd_clear(int fd) noexcept
    long sys_wait_readable(int fd, int ms) noexcept
    long sys_wait_writable(int fd, int ms) noexcept
    long sys_pin_thread(int cpu) noexcept
    int64_t sys_monotonic_ns() noexcept
    int64_t sys_realtime_ns() noexcept
    void* sys_reserve(size_t n) noexcept
    void sys_release(void* p, size_t n) noexcept
    void sys_forget(void* p, size_t n) noexcept
