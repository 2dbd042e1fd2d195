"""The running proxy: the only place where the parts are wired together, and the only one that ends the process."""

from collections.abc import Mapping


def run(environ: Mapping[str, str]) -> int:
    """Runs the proxy in the foreground until it is told to end; answers the exit code.

    0: drained, or stopped by a second signal; 1: an address could not be bound, or a worker failed; 64: the
    configuration cannot be used.
    """
    from fastmesh.app.lean import import_loop

    import_loop()
    from fastmesh.app.process import run_process

    return run_process(environ)
