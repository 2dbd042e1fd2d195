"""The programs that change the kernel's rules, and what this machine lets us do with them."""

import os
import shutil
import subprocess

CAP_NET_ADMIN = 12  # linux/capability.h
TIMEOUT_S = 30.0  # another program may hold the lock of iptables
_PATH = os.pathsep.join(filter(None, [os.environ.get("PATH", ""), "/usr/local/sbin", "/usr/sbin", "/sbin"]))


class ToolError(Exception):
    """A program could not do what it was asked for; the text is for the user."""


def path_of(program: str) -> str:
    """Where a program is; "" when it is not there. The folders of administrators' programs count too."""
    return shutil.which(program, path=_PATH) or ""


def run(program: str, *arguments: str, text: str = "") -> str:
    """Runs a program with `text` as its standard input; what it printed. Raises ToolError."""
    try:
        done = subprocess.run(
            [path_of(program) or program, *arguments], input=text, capture_output=True, text=True, timeout=TIMEOUT_S,
            env={"PATH": _PATH, "LC_ALL": "C"}, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise ToolError(f"{program} did not end within {TIMEOUT_S:g} s") from None
    except OSError as error:
        raise ToolError(f"{program} cannot be run: {error.strerror}") from None
    if done.returncode:
        said = done.stderr.strip() or "it says nothing"
        raise ToolError(f"{' '.join([program, *arguments])} ended with {done.returncode}: {said}")
    return done.stdout


def may_change_network() -> bool:
    """Whether this process has CAP_NET_ADMIN."""
    with open("/proc/self/status", encoding="ascii", errors="replace") as file:
        for line in file:
            if line.startswith("CapEff:"):
                return bool(int(line.split()[1], 16) >> CAP_NET_ADMIN & 1)
    return False


def kernel_has_ipv6() -> bool:
    return os.path.exists("/proc/sys/net/ipv6")
