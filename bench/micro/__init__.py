"""Nanoseconds per operation of the core's parts, timed inside the compiled probes of the tests."""
