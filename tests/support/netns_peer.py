"""A process inside a namespace: opens and accepts connections as lines on standard input say (see netns.Peer).

Argument: the uid to become. A call is a JSON list of verb and arguments, an answer one of error and result. Whoever
connects is greeted with a line that says where the connection came in and where it was meant to go.
"""

import json
import os
import socket
import struct
import sys
import threading

SO_ORIGINAL_DST = 80  # linux/netfilter_ipv4.h; IP6T_SO_ORIGINAL_DST is the same number
IP_TRANSPARENT, IPV6_TRANSPARENT = 19, 75  # linux/in.h, linux/in6.h
TIMEOUT_S = 5.0
CONNECTIONS: "list[socket.socket]" = []


def original(sock: socket.socket) -> "list[object] | None":
    """Where the connection was meant to go, as a proxy asks the kernel; None: it does not know."""
    try:
        if sock.family == socket.AF_INET:
            _, port, address = struct.unpack("!HH4s", sock.getsockopt(socket.SOL_IP, SO_ORIGINAL_DST, 16)[:8])
        else:
            raw = sock.getsockopt(socket.IPPROTO_IPV6, SO_ORIGINAL_DST, 28)
            _, port, _, address = struct.unpack("!HHI16s", raw[:24])
    except OSError:
        return None
    return [socket.inet_ntop(sock.family, address), port]


def serve(listener: socket.socket) -> None:
    while True:
        sock, peer = listener.accept()
        greeting = {
            "listener": list(listener.getsockname()[:2]),
            "local": list(sock.getsockname()[:2]),
            "peer": peer[0],
            "original": original(sock),
        }
        sock.sendall(json.dumps(greeting).encode() + b"\n")
        threading.Thread(target=echo_all, args=(sock,), daemon=True).start()


def echo_all(sock: socket.socket) -> None:
    with sock:
        try:
            while data := sock.recv(65536):
                sock.sendall(data)
        except OSError:
            pass  # the connection broke, which the other end tells


def family(host: str) -> int:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def listen(host: str, port: int, transparent: bool) -> None:
    sock = socket.socket(family(host), socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if sock.family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    if transparent:
        level, option = (
            (socket.IPPROTO_IPV6, IPV6_TRANSPARENT) if ":" in host else (socket.SOL_IP, IP_TRANSPARENT)
        )
        sock.setsockopt(level, option, 1)
    sock.bind((host, port))
    sock.listen()
    threading.Thread(target=serve, args=(sock,), daemon=True).start()


def line_of(sock: socket.socket) -> bytes:
    data = b""
    while not data.endswith(b"\n"):
        piece = sock.recv(1)
        if not piece:
            raise OSError("the connection ended")
        data += piece
    return data


def dial(host: str, port: int) -> "list[object]":
    sock = socket.socket(family(host), socket.SOCK_STREAM)
    try:
        sock.settimeout(TIMEOUT_S)
        sock.connect((host, port))
        greeting = json.loads(line_of(sock))
    except OSError:
        sock.close()
        raise
    CONNECTIONS.append(sock)
    return [len(CONNECTIONS) - 1, greeting]


def echo(number: int, text: str) -> str:
    CONNECTIONS[number].sendall(text.encode() + b"\n")
    return line_of(CONNECTIONS[number]).decode().rstrip("\n")


def close(number: int) -> None:
    CONNECTIONS[number].close()


def become(uid: int) -> None:
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)


def main() -> None:
    verbs = {"listen": listen, "dial": dial, "echo": echo, "close": close, "become": become}
    become(int(sys.argv[1]))
    for line in sys.stdin:
        verb, *arguments = json.loads(line)
        try:
            answer = [None, verbs[verb](*arguments)]
        except OSError as error:
            answer = [str(error) or type(error).__name__, None]
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


main()
