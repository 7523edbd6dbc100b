"""Wakes the worker when a block has arrived, without making the audio callback wait."""

from __future__ import annotations

import contextlib
import os
import select
import time
from typing import Any, Protocol


class Doorbell(Protocol):
    """`ring` on one side wakes `wait` on the other; rings that nobody waits for are remembered as one.

    Attributes:
        fd: what compiled code writes a byte to in order to ring, or -1 where there is nothing to write to.
    """

    fd: int

    def ring(self) -> None:
        """Wake the waiting side; never blocks."""
        ...

    def wait(self, timeout: float) -> bool:
        """Wait for a ring at most `timeout` seconds; False where none came."""
        ...

    def close(self) -> None:
        """Give back what the system lent."""
        ...


class PipeDoorbell:
    """A doorbell on a pipe that never blocks: one system call to ring. It may be handed to a spawned process."""

    def __init__(self) -> None:
        self._read, self.fd = os.pipe()
        self._set_up()

    def ring(self) -> None:
        """See `Doorbell`."""
        with contextlib.suppress(BlockingIOError, BrokenPipeError):  # full: it rings anyway; closed: nobody is there
            os.write(self.fd, b"!")

    def wait(self, timeout: float) -> bool:
        """See `Doorbell`."""
        if not self._poll.poll(timeout * 1000):
            return False
        with contextlib.suppress(BlockingIOError):
            os.read(self._read, 65536)
        return True

    def close(self) -> None:
        """See `Doorbell`."""
        os.close(self._read)
        os.close(self.fd)

    def __getstate__(self) -> dict[str, Any]:
        from multiprocessing.reduction import DupFd

        return {"read": DupFd(self._read), "write": DupFd(self.fd)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._read, self.fd = state["read"].detach(), state["write"].detach()
        self._set_up()

    def _set_up(self) -> None:
        os.set_blocking(self._read, False)
        os.set_blocking(self.fd, False)
        self._poll = select.poll()
        self._poll.register(self._read, select.POLLIN)


class NapDoorbell:
    """A doorbell for systems whose pipes cannot be waited for: the worker looks every half millisecond."""

    fd = -1
    nap = 5e-4

    def ring(self) -> None:
        """Nobody need be told."""

    def wait(self, timeout: float) -> bool:
        """See `Doorbell`; a nap always ends as if it had rung."""
        time.sleep(min(timeout, self.nap))
        return True

    def close(self) -> None:
        """Nothing was lent."""


def make_doorbell() -> Doorbell:
    """The best doorbell of this system."""
    return PipeDoorbell() if hasattr(select, "poll") and os.name == "posix" else NapDoorbell()
