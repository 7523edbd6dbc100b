"""Signals that have to wait for a moment."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_NAMES = ("SIGINT", "SIGTERM", "SIGHUP")  # not every system has each


@contextmanager
def interrupts_held() -> Iterator[None]:
    """What a signal's handler would raise is raised when this is left, the first that came.

    For calls into libraries that swallow what is raised in them. Outside the main thread nothing is ever raised.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    numbers = [getattr(signal, name) for name in _NAMES if hasattr(signal, name)]
    raising = [number for number in numbers if callable(signal.getsignal(number))]
    before = {number: signal.signal(number, lambda which, _: came.append(which)) for number in raising}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for number in came[:1]:
            signal.raise_signal(number)
