"""File descriptors whose reading and writing can be given up while they wait."""

from __future__ import annotations

import os
import queue
import select
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable

# How soon a wait notices that it is to be given up.
_GLANCE = 0.05


class Descriptor(ABC):
    """A pipe or a file that is open already; it stays open.

    Args:
        number: of the file descriptor.
        cancelled: once it is set nothing waits any longer: reading ends early, writing drops the rest.
    """

    def __init__(self, number: int, cancelled: threading.Event) -> None:
        self._number, self._cancelled = number, cancelled

    def read(self, count: int) -> bytes:
        """The next `count` bytes; fewer where the stream ends or is cancelled.

        Raises:
            OSError: the system refuses to read.
        """
        data = bytearray()
        while len(data) < count and (piece := self._read_some(count - len(data))):
            data += piece
        return bytes(data)

    def write(self, data: bytes) -> None:
        """Write all of `data`, unless cancelled.

        Raises:
            BrokenPipeError: who read the pipe has gone.
            OSError: the system refuses to write.
        """
        left = memoryview(data)
        while left and (count := self._write_some(left)):
            left = left[count:]

    @abstractmethod
    def _read_some(self, count: int) -> bytes: ...

    @abstractmethod
    def _write_some(self, data: memoryview) -> int: ...


class PolledDescriptor(Descriptor):
    """Asks the system whether there is anything to read, or room to write (POSIX)."""

    def _read_some(self, count: int) -> bytes:
        return os.read(self._number, count) if self._wait(select.POLLIN) else b""

    def _write_some(self, data: memoryview) -> int:
        # So much goes into a pipe with room without waiting. (A pipe that never waits would never wait for its other
        # users either, who did not ask for that.)
        return os.write(self._number, data[: select.PIPE_BUF]) if self._wait(select.POLLOUT) else 0

    def _wait(self, event: int) -> bool:
        poll = select.poll()
        poll.register(self._number, event)
        while not self._cancelled.is_set():
            if poll.poll(1000 * _GLANCE):
                return True
        return False


class ThreadedDescriptor(Descriptor):
    """Lets a thread wait, which is left behind when its answer is no longer needed (where pipes cannot be polled)."""

    def __init__(self, number: int, cancelled: threading.Event) -> None:
        super().__init__(number, cancelled)
        self._calls: queue.SimpleQueue[Callable[[], bytes | int]] = queue.SimpleQueue()
        self._answers: queue.SimpleQueue[bytes | int | OSError] = queue.SimpleQueue()
        threading.Thread(target=self._serve, name="streamsep-pipe", daemon=True).start()

    def _read_some(self, count: int) -> bytes:
        answer = self._ask(lambda: os.read(self._number, count))
        return answer if isinstance(answer, bytes) else b""

    def _write_some(self, data: memoryview) -> int:
        answer = self._ask(lambda: os.write(self._number, data))
        return answer if isinstance(answer, int) else 0

    def _ask(self, call: Callable[[], bytes | int]) -> bytes | int | None:
        self._calls.put(call)
        while not self._cancelled.is_set():
            try:
                answer = self._answers.get(timeout=_GLANCE)
            except queue.Empty:
                continue
            if isinstance(answer, OSError):
                raise answer
            return answer
        return None

    def _serve(self) -> None:
        while not self._cancelled.is_set():
            try:
                call = self._calls.get(timeout=1.0)
            except queue.Empty:
                continue
            try:
                self._answers.put(call())
            except OSError as error:
                self._answers.put(error)


def open_descriptor(number: int, cancelled: threading.Event) -> Descriptor:
    """The kind of `Descriptor` that this system can have."""
    return (PolledDescriptor if hasattr(select, "poll") else ThreadedDescriptor)(number, cancelled)
