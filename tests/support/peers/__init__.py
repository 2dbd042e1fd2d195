"""Programs that the tests command over their standard input and output: see `tests.support.peer`."""
