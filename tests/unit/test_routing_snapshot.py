"""Snapshots are built whole or not at all, and nothing of them is left behind."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.probe import routing_snapshot

ROOT = Path(__file__).resolve().parents[2]

# Counts blocks of the armed thread and fails one allocation of it.
INTERPOSER = """
#include <stddef.h>
extern void *__libc_malloc(size_t), *__libc_calloc(size_t, size_t);
extern void __libc_free(void *);
static __thread long armed, left, until, calls;
static int fails(void) { calls += armed; return armed && until > 0 && --until == 0; }
void *malloc(size_t n) { if (fails()) return NULL; left += armed; return __libc_malloc(n); }
void *calloc(size_t n, size_t m) { if (fails()) return NULL; left += armed; return __libc_calloc(n, m); }
void free(void *p) { if (p) left -= armed; __libc_free(p); }
void fm_test_arm(long fail_at) { left = calls = 0; until = fail_at; armed = 1; }
long fm_test_disarm(long *tried) { armed = 0; *tried = calls; return left; }
"""

CHECK = """
from tests.probe.routing_snapshot import build_failing_at
built, left, calls = build_failing_at(0)
assert (built, left) == (True, 0)
answers = [build_failing_at(n) for n in range(1, calls + 1)]
assert [left for _, left, _ in answers] == [0] * calls
print(sum(not built for built, _, _ in answers), calls)
"""


def test_text_fills_the_blob_to_the_last_byte() -> None:
    assert routing_snapshot.texts(10, [b"hello", b"", b"world", b"", b"!"]) == ([0, 5, 5, 10, None], b"helloworld")
    assert routing_snapshot.texts(4, [b"hello", b"four", b"x"]) == ([None, 0, None], b"four")
    assert routing_snapshot.texts(0, [b"", b"x"]) == ([0, None], b"")


def test_sealing_again_and_freeing_nothing() -> None:
    assert routing_snapshot.seal_again()
    routing_snapshot.free_nothing()


@pytest.mark.skipif("asan" in os.environ.get("LD_PRELOAD", ""), reason="the sanitizer owns malloc")
def test_every_failed_allocation_frees_what_was_there(tmp_path: Path) -> None:
    source, library = tmp_path / "interposer.c", tmp_path / "interposer.so"
    source.write_text(INTERPOSER)
    subprocess.run(["gcc", "-O1", "-fno-builtin", "-shared", "-fPIC", "-o", library, source], check=True, timeout=30)
    done = subprocess.run(
        [sys.executable, "-c", CHECK],
        cwd=ROOT,
        env={**os.environ, "LD_PRELOAD": str(library)},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    refused, tried = map(int, done.stdout.split())
    # Only sorting does without its memory.
    assert tried - refused <= 2
    assert refused >= 20
