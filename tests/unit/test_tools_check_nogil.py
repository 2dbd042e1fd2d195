"""tools/check_nogil refuses every way back to the GIL, and nothing else."""

import subprocess
import sys
from pathlib import Path

import pytest

from tools.check_nogil import check_c, check_messages, check_source, core_functions

GOOD = '''
"""raise, assert and def in a docstring are words."""
from libc.stdint cimport uint32_t  # with gil would be wrong
cdef extern from "x.h" noexcept nogil:
    int far(int a)
    ctypedef struct pair:
        int left
cdef extern from "y.h" nogil:
    int near(const char* a) noexcept
ctypedef void (*Handler)(int) noexcept nogil
cdef struct Box:
    void (*handler)(int) noexcept nogil
    uint32_t cells[4]
cdef int plain(
    int a,
    void (*go)(int) noexcept nogil,
) noexcept nogil:
    cdef int b = near("raise")
    cdef uint32_t* p = <uint32_t*>malloc(sizeof(int))
    go(b)
    return a + b
cdef inline uint32_t* twice(const uint32_t* a, size_t n) noexcept nogil:
    return a + n
cdef void forward(void* object) noexcept nogil
'''


def refused(source: str, below_bridge: bool = True) -> list[str]:
    return [finding.text for finding in check_source(source, "x.pyx", below_bridge)]


def test_lawful_source_passes() -> None:
    assert refused(GOOD) == []


@pytest.mark.parametrize(
    "line",
    [
        "cdef int f(int a):",
        "cdef int f(int a) nogil:",
        "cdef int f(int a) noexcept:",
        "cdef int f(int a) except -1 nogil:",
        "cdef int f(\n    int a,\n) nogil:",
        "cdef inline void f() noexcept:",
        "cdef void f()",
        "ctypedef void (*Handler)(int)",
        "ctypedef void (*Handler)(int) nogil",
        "cdef int f(void (*go)(int)) noexcept nogil:",
        "cdef struct Box:\n    void (*go)(int) nogil",
        'cdef extern from "x.h":\n    int far(int a)',
        'cdef extern from "x.h" nogil:\n    int far(int a)',
        'cdef extern from "x.h" noexcept nogil:\n    int far(int a)\ncdef int f(int a):',
    ],
)
def test_signature_without_noexcept_nogil(line: str) -> None:
    assert [text for text in refused(line) if "noexcept nogil" in text]


@pytest.mark.parametrize(
    "line",
    [
        "    raise ValueError",
        "    assert a",
        "    try:",
        "    with gil:",
        "cdef int f(int[:] a) noexcept nogil:",
        "cdef int f(double[:, ::1] a) noexcept nogil:",
        "cdef class Box:",
        "ctypedef fused number:",
        "cpdef int f() noexcept nogil:",
        "def f():",
        "class Box:",
        "import os",
        "from os import path",
        "cdef object a",
        "    a = <object>p",
        "cdef void f(object a) noexcept nogil:",
        "    print(a)",
    ],
)
def test_banned_word(line: str) -> None:
    assert refused(line)
    assert not refused(line, below_bridge=False)


@pytest.mark.parametrize("below_bridge", [True, False])
def test_directive_header_is_refused_everywhere(below_bridge: bool) -> None:
    assert refused("# cython: boundscheck=True\n", below_bridge)
    assert not refused("# cython is the language\n", below_bridge)


C = """
static int __pyx_f_8fastmesh_4base_take(int); /*proto*/
/* PyErr_Clear is only said here */
static int __pyx_f_8fastmesh_4base_take(int __pyx_v_a) {
  /* PyObject */
  return %s;
}
static PyObject *__pyx_pf_8fastmesh_give(PyObject *self) {
  PyErr_Clear();
}
"""


def test_c_outside_core_functions_may_use_python() -> None:
    assert check_c(C % "__pyx_v_a", "x.c") == []
    assert [name for name, _, _ in core_functions(C)] == ["__pyx_f_8fastmesh_4base_take"]


@pytest.mark.parametrize(
    "call",
    [
        "__Pyx_ErrOccurredWithGIL()",
        "PyGILState_Ensure()",
        '__Pyx_WriteUnraisable("x")',
        "PyErr_Occurred() != 0",
        "((PyObject *)0) != 0",
    ],
)
def test_c_that_enters_the_interpreter(call: str) -> None:
    (finding,) = check_c(C % call, "x.c")
    assert finding.line == 6


def test_performance_hint_is_an_error() -> None:
    said = "[1/2] Cythonizing a.pyx\nperformance hint: a.pyx:3:5: Exception check will always require the GIL.\n"
    (finding,) = check_messages(said)
    assert (finding.path, finding.line) == ("a.pyx", 3)
    assert check_messages("[1/1] Cythonizing a.pyx\n") == []


def test_what_cython_really_makes_of_a_bad_signature(tmp_path: Path) -> None:
    source = tmp_path / "bad.pyx"
    source.write_text("cdef void take(int a) nogil:\n    pass\ncdef void use(int a) noexcept nogil:\n    take(a)\n")
    command = [sys.executable, "-m", "cython", "-3", "-X", "show_performance_hints=True", "bad.pyx"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True, timeout=60)
    assert check_messages(done.stdout + done.stderr)
    words = {finding.text for finding in check_c((tmp_path / "bad.c").read_text(), "bad.c")}
    assert any("__Pyx_ErrOccurredWithGIL" in word for word in words)
