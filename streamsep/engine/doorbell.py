"""Wakes the worker when a block has arrived, without making the audio callback wait."""

from __future__ import annotations

import os
import select
import threading
from typing import Protocol


class Doorbell(Protocol):
    """`ring` from one thread wakes `wait` in another; rings that nobody waits for are remembered as one."""

    def ring(self) -> None:
        """Wake the waiting side; never blocks."""
        ...

    def wait(self, timeout: float) -> bool:
        """Wait for a ring at most `timeout` seconds; False where none came."""
        ...

    def close(self) -> None:
        """Give back what the system lent."""
        ...


class EventDoorbell:
    """A doorbell on Linux' eventfd: one system call, no lock; other processes may share the descriptor."""

    def __init__(self) -> None:
        self._fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._poll = select.poll()
        self._poll.register(self._fd, select.POLLIN)

    def ring(self) -> None:
        """See `Doorbell`."""
        os.eventfd_write(self._fd, 1)

    def wait(self, timeout: float) -> bool:
        """See `Doorbell`."""
        if not self._poll.poll(timeout * 1000):
            return False
        os.eventfd_read(self._fd)
        return True

    def close(self) -> None:
        """See `Doorbell`."""
        os.close(self._fd)


class ThreadDoorbell:
    """A doorbell for systems without eventfd."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def ring(self) -> None:
        """See `Doorbell`."""
        self._event.set()

    def wait(self, timeout: float) -> bool:
        """See `Doorbell`."""
        rung = self._event.wait(timeout)
        self._event.clear()
        return rung

    def close(self) -> None:
        """Nothing was lent."""


def make_doorbell() -> Doorbell:
    """The best doorbell of this system."""
    return EventDoorbell() if hasattr(os, "eventfd") else ThreadDoorbell()
