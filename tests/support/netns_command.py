"""Runs commands of fastmesh inside a namespace without starting Python for each: a line in, a line out.

In: a JSON list of the command's words and of the PATH it finds programs by. Out: exit code, standard output and error.
"""

import json
import os
import sys
import tempfile

from fastmesh.cli import main
from fastmesh.redirect import tools


def child(words: list[str], path: str) -> int:
    tools._PATH = path
    try:
        code = main(words, {})
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 1
    sys.stdout.flush()
    sys.stderr.flush()
    return code


for line in sys.stdin:
    words, path = json.loads(line)
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        pid = os.fork()
        if pid == 0:
            os.dup2(out.fileno(), 1)
            os.dup2(err.fileno(), 2)
            os._exit(child(words, path))
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        texts = []
        for file in (out, err):
            file.seek(0)
            texts.append(file.read().decode())
    sys.stdout.write(json.dumps([code, *texts]) + "\n")
    sys.stdout.flush()
