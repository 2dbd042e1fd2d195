"""Waiting with a deadline: for a condition that no file descriptor announces."""

import threading
import time
from collections.abc import Callable
from typing import TypeVar

DEADLINE_S = 10.0  # of one wait; generous because the machine may be busy, reached only by a failure
_TICK_S = 0.002
T = TypeVar("T")


class Deadline:
    """A moment after which waiting is a failure. `left()` raises TimeoutError when it has passed."""

    def __init__(self, seconds: float = DEADLINE_S, what: str = "something") -> None:
        self._end = time.monotonic() + seconds
        self._what = what

    def left(self) -> float:
        """Seconds that remain, always > 0."""
        left = self._end - time.monotonic()
        if left <= 0:
            raise TimeoutError(f"waited too long for {self._what}")
        return left

    def passed(self) -> bool:
        return time.monotonic() >= self._end


def until(probe: Callable[[], T], what: str, seconds: float = DEADLINE_S) -> T:
    """Calls `probe` until it answers something true, and answers that; TimeoutError with the last answer otherwise."""
    pause = threading.Event()
    end = time.monotonic() + seconds
    while True:
        answer = probe()
        if answer:
            return answer
        if time.monotonic() >= end:
            raise TimeoutError(f"waited {seconds:g} s for {what}; last answer: {answer!r}")
        pause.wait(_TICK_S)
