"""Becoming another user, in a process of its own each time."""

import json
import os
import subprocess
import sys

import pytest

from fastmesh.config.users import User
from tests.support.reach import for_everyone
from tests.support.sanitizer import FOREIGN, SANITIZED
from tools.source import ROOT

BECOME = """
import json, os, sys, threading
from fastmesh.app import privileges
from fastmesh.config.users import User
before, user, threads = json.loads(sys.argv[1])
if before:
    os.setgroups([])
    os.setresgid(before, before, before)
    os.setresuid(before, before, before)
for _ in range(threads):
    threading.Thread(target=sys.stdin.read, daemon=True).start()
try:
    privileges.become(User(*user))
except privileges.PrivilegeError as error:
    print(json.dumps([str(error), None]))
else:
    fields = dict(line.split(":", 1) for line in open("/proc/self/status"))
    print(json.dumps([None, [fields["Uid"].split(), fields["Gid"].split(), fields["Groups"].split(),
                             fields["CapEff"].strip(), fields["CapPrm"].strip(), fields["NoNewPrivs"].strip()]]))
os._exit(0 if sys.stdout.flush() is None else 1)
"""

pytestmark = pytest.mark.skipif(SANITIZED, reason=FOREIGN)
root_only = pytest.mark.skipif(os.geteuid() != 0, reason="becoming another user needs root")


def become(
    user: User, before: int = 0, threads: int = 0, words: "tuple[str, ...] | None" = None
) -> "tuple[str | None, list[object] | None]":
    reach = words if words is not None else for_everyone() if os.geteuid() == 0 else ()
    command = [*reach, sys.executable, "-c", BECOME, json.dumps([before, user, threads])]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        error, answer = json.loads(process.stdout.readline())
        return error, answer


@root_only
@pytest.mark.parametrize(
    ("user", "groups"),
    [(User("", 2102, 2103), ["2103"]), (User("nobody", 65534, 65534), ["65534"]), (User("root", 0, 0), None)],
)
def test_nothing_is_left(user: User, groups: "list[str] | None") -> None:
    """Root too: it keeps its number and loses its capabilities."""
    error, answer = become(user)
    assert error is None
    assert answer is not None
    uids, gids, found, *rest = answer
    assert (uids, gids) == ([str(user.uid)] * 4, [str(user.gid)] * 4)
    assert groups is None or found == groups
    assert rest == ["0" * 16, "0" * 16, "1"]


@root_only
def test_who_is_the_user_already_needs_no_root() -> None:
    error, answer = become(User("", 2102, 2102), before=2102)
    assert error is None
    assert answer is not None
    assert answer[0] == ["2102"] * 4


@root_only
def test_who_is_neither_root_nor_the_user_is_told_so() -> None:
    error, _ = become(User("", 2102, 2102), before=2101)
    assert error is not None
    assert error.startswith("cannot become 2102 (uid 2102, gid 2102): ")
    assert error.endswith("it must be started as root, or as that user")


def test_a_process_of_several_threads_is_refused() -> None:
    error, _ = become(User("", os.getuid(), os.getgid()), threads=1)
    assert error == "2 threads run already, and each has privileges of its own"


@root_only
@pytest.mark.skipif(not for_everyone(), reason="everyone can read this Python")
def test_a_user_that_cannot_read_python_is_refused_before_that_shows() -> None:
    error, _ = become(User("", 2102, 2102), words=())
    assert error is not None
    assert error.startswith("2102 (uid 2102, gid 2102) cannot read ")
    assert "install" in error
