# Every target installs what it misses (Debian packages as root, Python packages into .venv), so that a fresh machine
# needs nothing but make and Python 3.11. A second call finds the stamps and is quick.
#
#   make run      build, and run fastmesh before a small upstream of its own
#   make test     build with the test probes and run every test
#   make check    linters, types, and the rules of the core (tools/check_*), the generated C without a warning
#   make asan     the suite on a build with AddressSanitizer and UBSan
#   make fuzz     every fuzz target for FUZZ_SECONDS
#   make bench    the benchmark against nginx, HAProxy, nghttpx, Envoy and a bare forwarder (bench/README.md)
#   make conformance  grpc-go's, connectconformance's and net/http's peers, direct and through fastmesh (needs Go)
#   make micro    nanoseconds per operation of the core's parts, beside httptools
#   make build    the core, in place
#   make wheel    a manylinux wheel in dist/
#   make clean    away with everything that was built

SHELL := /bin/bash
PYTHON ?= python3
PY := .venv/bin/python
FUZZ_SECONDS ?= 60
TESTS ?=
BENCH ?=
CONFORMANCE ?=
MICRO ?=
BUILD_LOCK ?= build/.lock
CHECKS := check-ruff check-layers check-nogil check-warnings check-types
export PYTHON

SETUP = mkdir -p build && flock $(BUILD_LOCK) env

.PHONY: run test check $(CHECKS) asan fuzz conformance bench micro build probes wheel clean

build: .venv/.has-build
	@$(SETUP) $(PY) setup.py -q build_ext --inplace

probes: .venv/.has-test
	@$(SETUP) FASTMESH_PROBES=1 $(PY) setup.py -q build_ext --inplace

run: build
	@exec $(PY) -m tools.demo

test: probes
	$(PY) -m pytest -q $(TESTS)

check: .venv/.has-check .venv/.has-test
	@$(MAKE) -k --no-print-directory $(CHECKS)

check-ruff:
	$(PY) -m ruff check .

check-layers:
	$(PY) -m tools.check_layers

check-nogil:
	@$(SETUP) $(PY) -m tools.check_nogil

check-warnings:
	@$(SETUP) FASTMESH_WERROR=1 $(PY) setup.py -q build_ext

check-types:
	$(PY) -m mypy

asan: .venv/.has-test
	@$(SETUP) $(PY) -m tools.asan --build
	$(PY) -m tools.asan $(TESTS)

fuzz: .venv/.has-fuzz
	$(PY) -m tools.fuzz --seconds $(FUZZ_SECONDS)

conformance: .venv/.has-conformance build
	$(PY) -m tools.conformance $(CONFORMANCE)

bench: .venv/.has-bench build
	$(PY) -m bench.macro run $(BENCH)

micro: probes
	$(PY) -m bench.micro $(MICRO)

wheel: .venv/.has-wheel
	$(PY) -m tools.wheel

clean:
	rm -rf build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find fastmesh tests -name '*.so' -delete
	find fastmesh/_core -name '*.c' -delete
	rm -f tests/probe/*.c

# .venv/.has-GROUP: the Debian packages and the Python packages of a group are there.
.venv/.has-%: pyproject.toml tools/need tools/requirements.py
	@tools/need build $(filter-out build check wheel,$*)
	@test -x $(PY) || $(PYTHON) -m venv .venv
	@$(PY) tools/requirements.py $(filter-out build fuzz conformance,$*) | \
		$(PY) -m pip install -q --disable-pip-version-check -r /dev/stdin
	@touch $@
