"""Programs that become another user on a machine whose Python lies where only root may go (below /root, say)."""

import functools
import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]


@functools.cache
def for_everyone() -> tuple[str, ...]:
    """Words before a command that let every user reach Python and this repository; none where they can anyway.

    They give the command a view of the file system of its own, in which the closed folder holds only what is needed.
    """
    needed = sorted({pathlib.Path(path).resolve() for path in (sys.base_prefix, sys.prefix, ROOT)})
    closed = {parent for path in needed for parent in path.parents if not parent.stat().st_mode & 0o001}
    if not closed:
        return ()
    top = min(closed, key=lambda path: len(path.parts))
    inside = [path for path in needed if top in path.parents]
    lines = ["set -e", "hold=$(mktemp -d)"]
    for number, path in enumerate(inside):
        lines += [f"mkdir $hold/{number}", f"mount --bind '{path}' $hold/{number}"]
    lines.append(f"mount -t tmpfs -o mode=755 none '{top}'")
    for number, path in enumerate(inside):
        lines += [f"mkdir -p '{path}'", f"mount --bind $hold/{number} '{path}'", f"umount $hold/{number}"]
        lines.append(f"rmdir $hold/{number}")
    lines += ["rmdir $hold", 'exec "$@"']
    return ("unshare", "--mount", "sh", "-c", "\n".join(lines), "sh")
