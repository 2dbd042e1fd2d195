"""The PROXY protocol, written and read by its text alone (HAProxy's proxy-protocol.txt)."""

import ipaddress
import struct
from dataclasses import dataclass

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
LOCAL = SIGNATURE + b"\x20\0\0\0"
UNKNOWN = b"PROXY UNKNOWN\r\n"


@dataclass(frozen=True)
class Path:
    """From where to where a connection goes; addresses of one family."""

    source: str
    source_port: int
    destination: str
    destination_port: int

    @property
    def is_v6(self) -> bool:
        return ":" in self.source

    def v1(self) -> bytes:
        words = (
            "TCP6" if self.is_v6 else "TCP4",
            self.source,
            self.destination,
            self.source_port,
            self.destination_port,
        )
        return f"PROXY {' '.join(map(str, words))}\r\n".encode()

    def v2(self, tlvs: bytes = b"") -> bytes:
        block = b"".join(ipaddress.ip_address(each).packed for each in (self.source, self.destination))
        block += struct.pack("!HH", self.source_port, self.destination_port) + tlvs
        return SIGNATURE + bytes([0x21, 0x21 if self.is_v6 else 0x11]) + struct.pack("!H", len(block)) + block

    def write(self, version: int) -> bytes:
        return self.v1() if version == 1 else self.v2()


def take(data: bytes) -> tuple[int, Path | None, bytes] | None:
    """Version, what the header says (None: nothing of addresses) and what follows; None: it is not whole yet."""
    if data.startswith(b"PROXY "):
        line, end, rest = data.partition(b"\r\n")
        if not end:
            return None
        words = line.decode().split(" ")
        if words[1] == "UNKNOWN":
            return 1, None, rest
        path = Path(words[2], int(words[4]), words[3], int(words[5]))
        assert (words[1] == "TCP6") == path.is_v6
        return 1, path, rest
    assert data.startswith(SIGNATURE[: len(data)]), data
    if len(data) < 16 or len(data) < 16 + struct.unpack("!H", data[14:16])[0]:
        return None
    size = 16 + struct.unpack("!H", data[14:16])[0]
    assert data[12] == 0x21
    if data[13] == 0:
        return 2, None, data[size:]
    n = {0x11: 4, 0x21: 16}[data[13]]
    source, destination = (str(ipaddress.ip_address(data[16 + i * n : 16 + (i + 1) * n])) for i in (0, 1))
    ports = struct.unpack("!HH", data[16 + 2 * n : 20 + 2 * n])
    return 2, Path(source, ports[0], destination, ports[1]), data[size:]
