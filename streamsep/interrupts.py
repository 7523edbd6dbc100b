"""Signals that are handled in another way for a while, or have to wait for a moment."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from types import FrameType

# What asks a program to end; not every system has each.
SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]


@contextmanager
def signals_handled(
    numbers: Iterable[int], handler: Callable[[int, FrameType | None], object] | signal.Handlers
) -> Iterator[None]:
    """`handler` for the signals `numbers` while it lasts, in the main thread: no other may set it."""
    main = threading.current_thread() is threading.main_thread()
    before = {number: signal.signal(number, handler) for number in numbers if main}
    try:
        yield
    finally:
        for number, former in before.items():
            signal.signal(number, former)


@contextmanager
def interrupts_held() -> Iterator[None]:
    """What a signal's handler would raise is raised when this is left, the first that came.

    For calls into libraries that swallow what is raised in them. Outside the main thread nothing is ever raised.
    """
    came: list[int] = []
    raising = [number for number in SIGNALS if callable(signal.getsignal(number))]
    try:
        with signals_handled(raising, lambda number, _: came.append(number)):
            yield
    finally:
        for number in came[:1]:
            signal.raise_signal(number)


@contextmanager
def interrupts_kept() -> Iterator[None]:
    """What a signal's handler raised stays what it was where Python made a RuntimeError of it.

    Its own `Condition` does, interrupted as it takes its lock back: as a thread starts or an event is waited for.
    """
    try:
        yield
    except RuntimeError as error:
        if isinstance(error.__context__, KeyboardInterrupt):
            raise error.__context__ from None
        raise
