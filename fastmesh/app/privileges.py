"""Becoming another user for good: its user id and groups, no capability, and no way to gain any again.

Law: called while the process has one thread, because capabilities and no_new_privs belong to a thread, and threads
that start later inherit them. Listeners are bound before, so their ports may be privileged ones.
"""

import ctypes
import os

import fastmesh
from fastmesh.config.users import User

# linux/prctl.h, linux/capability.h
PR_CAPBSET_READ, PR_CAPBSET_DROP = 23, 24
PR_SET_NO_NEW_PRIVS = 38
PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL = 47, 4
CAPABILITY_VERSION_3 = 0x20080522
CAPABILITIES_MAX = 64
NOTHING = {"CapInh": 0, "CapPrm": 0, "CapEff": 0, "CapAmb": 0, "NoNewPrivs": 1}


class PrivilegeError(Exception):
    """The process cannot become that user; the text is for people."""


def become(user: User) -> None:
    """Gives up everything that `user` does not have. Raises PrivilegeError; the process must then end."""
    threads = len(os.listdir("/proc/self/task"))
    if threads != 1:
        raise PrivilegeError(f"{threads} threads run already, and each has privileges of its own")
    try:
        if (os.getresuid(), os.getresgid()) != ((user.uid,) * 3, (user.gid,) * 3):
            _drop_bounding_set()
            os.setgroups(os.getgrouplist(user.name, user.gid) if user.name else [user.gid])
            os.setresgid(user.gid, user.gid, user.gid)
            os.setresuid(user.uid, user.uid, user.uid)
        _drop_capabilities()
    except OSError as error:
        rule = "; it must be started as root, or as that user" if isinstance(error, PermissionError) else ""
        raise PrivilegeError(f"cannot become {text_of(user)}: {error.strerror}{rule}") from None
    _check_reach(user)
    _verify(user)


def text_of(user: User) -> str:
    """As logs name it."""
    return f"{user.name or user.uid} (uid {user.uid}, gid {user.gid})"


def _call(name: str, *arguments: object) -> int:
    """A function of libc. Raises OSError."""
    result: int = getattr(ctypes.CDLL(None, use_errno=True), name)(*arguments)
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")
    return result


def _prctl(option: int, *arguments: int) -> int:
    padded = (*arguments, 0, 0, 0, 0)[:4]
    return _call("prctl", ctypes.c_int(option), *(ctypes.c_ulong(argument) for argument in padded))


def _drop_bounding_set() -> None:
    """No program that is run later can have a capability. Only who has CAP_SETPCAP may do that; no_new_privs has the
    same effect for programs whose file would give one."""
    try:
        for capability in range(CAPABILITIES_MAX):
            if _prctl(PR_CAPBSET_READ, capability):
                _prctl(PR_CAPBSET_DROP, capability)
    except OSError:
        pass  # beyond the last one that this kernel knows, or not allowed


def _drop_capabilities() -> None:
    """Leaving uid 0 has done that already, but for ambient ones and for who was not root."""
    _prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL)
    header = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION_3, 0)  # version, this thread
    nothing = (ctypes.c_uint32 * 6)()  # effective, permitted, inheritable: twice 32
    _call("capset", ctypes.byref(header), ctypes.byref(nothing))
    _prctl(PR_SET_NO_NEW_PRIVS, 1)


def _check_reach(user: User) -> None:
    """Python imports parts of itself and of fastmesh when they are first needed: the user must be able to."""
    for module in (os, fastmesh):
        path = module.__file__ or ""
        if not os.access(path, os.R_OK):
            rule = "install Python and fastmesh where every user may read, not below /root"
            raise PrivilegeError(f"{text_of(user)} cannot read {path}; {rule}")


def _verify(user: User) -> None:
    """What the kernel says must be what was asked for: a proxy that believes itself harmless and is not is worse than
    one that does not start."""
    ids = (os.getresuid(), os.getresgid())
    with open("/proc/thread-self/status", encoding="ascii", errors="replace") as file:
        fields = dict(line.split(":", 1) for line in file if ":" in line)
    left = {name: value for name in NOTHING if (value := int(fields.get(name, "0"), 16)) != NOTHING[name]}
    if ids != ((user.uid,) * 3, (user.gid,) * 3) or left:
        raise PrivilegeError(f"cannot become {text_of(user)}: the kernel says {ids} and {left or 'no capability'}")
