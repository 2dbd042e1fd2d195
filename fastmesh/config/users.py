"""Users of this machine, by name or number: whom the process becomes, whose connections interception leaves alone."""

import re
from typing import NamedTuple

ID_MAX = (1 << 32) - 2  # (uid_t) -1 means "no change" to the kernel
USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,63})?")
USER_OR_NOBODY = re.compile(f"({USER.pattern})?")
USER_RULE = "must be a user, or user:group, by name or number"


class User(NamedTuple):
    """Who a process runs as."""

    name: str  # "" for a number that the machine has no name for
    uid: int
    gid: int


def find_user(text: str) -> User:
    """The user, or user:group, of that name or number. ValueError: the rule that it breaks.

    A number without a name is lawful, as containers use them; its group is then the same number, unless one is given:
    not 0, which is root's.
    """
    if not USER.fullmatch(text):
        raise ValueError(USER_RULE)
    name, colon, group = text.partition(":")
    user = _by_number(name) if name.isdecimal() else _by_name(name)
    return user._replace(gid=_group(group)) if colon else user


def _by_name(name: str) -> User:
    import pwd

    try:
        found = pwd.getpwnam(name)
    except KeyError:
        raise ValueError(f"must be a user of this machine, by name or number; there is no user {name!r}") from None
    return User(found.pw_name, found.pw_uid, found.pw_gid)


def _by_number(text: str) -> User:
    import pwd

    uid = _bounded(text)
    try:
        found = pwd.getpwuid(uid)
    except KeyError:
        return User("", uid, uid)
    return User(found.pw_name, uid, found.pw_gid)


def _group(text: str) -> int:
    import grp

    if text.isdecimal():
        return _bounded(text)
    try:
        return grp.getgrnam(text).gr_gid
    except KeyError:
        raise ValueError(f"must be a group of this machine, by name or number; there is no group {text!r}") from None


def _bounded(text: str) -> int:
    if len(text) > 10 or int(text) > ID_MAX:
        raise ValueError(f"must be a number from 0 to {ID_MAX}")
    return int(text)
