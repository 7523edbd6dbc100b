"""A single-producer, single-consumer ring of audio frames on preallocated memory.

It knows nothing of threads, devices or models. One side only writes, the other only reads; each side moves its own
counter after its copy is done, so neither ever waits for the other.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from streamsep.engine.fence import fence

Audio = NDArray[np.float32]

# The two counters lie on cache lines of their own: the sides do not slow each other down.
_WRITTEN, _READ, _HEADER = 0, 8, 16
_HEADER_BYTES = _HEADER * 8


class Ring:
    """Float32 frames `[channels, capacity]` between one writer and one reader.

    Both counters grow for ever (int64), so they are absolute frame indices and never ambiguous at a wrap.

    Args:
        channels: number of channels.
        capacity: frames the ring can hold.
        memory: bytes to live in (at least `Ring.nbytes(channels, capacity)`, zeroed by its owner, 8-byte aligned), for
            instance of a shared memory block: two rings over the same bytes are two ends of one ring. None: own memory.

    Raises:
        ValueError: a size below one, or too little memory.
    """

    def __init__(self, channels: int, capacity: int, memory: NDArray[np.uint8] | None = None) -> None:
        if channels < 1 or capacity < 1:
            raise ValueError(f"a ring needs channels and frames, got {channels} x {capacity}")
        size = self.nbytes(channels, capacity)
        if memory is None:
            memory = np.zeros(size, dtype=np.uint8)
        if memory.nbytes < size:
            raise ValueError(f"the ring needs {size} bytes, got {memory.nbytes}")
        self.channels = channels
        self.capacity = capacity
        self._counters = memory[:_HEADER_BYTES].view(np.int64)
        self._data: Audio = memory[_HEADER_BYTES:size].view(np.float32).reshape(channels, capacity)

    @property
    def arrays(self) -> tuple[NDArray[np.int64], Audio]:
        """The counters `[16]` (0: written, 8: read) and the frames `[channels, capacity]`, for compiled code."""
        return self._counters, self._data

    @staticmethod
    def nbytes(channels: int, capacity: int) -> int:
        """Bytes of memory that a ring of this size occupies."""
        return _HEADER_BYTES + 4 * channels * capacity

    @property
    def written(self) -> int:
        """Frames written since the start."""
        return int(self._counters[_WRITTEN])

    @property
    def consumed(self) -> int:
        """Frames read or skipped since the start."""
        return int(self._counters[_READ])

    @property
    def readable(self) -> int:
        """Frames waiting for the reader."""
        return self.written - self.consumed

    @property
    def writable(self) -> int:
        """Frames the writer has room for."""
        return self.capacity - self.readable

    def write(self, block: Audio) -> int:
        """Copy in as much of `block [channels, n]` as fits; returns the frames written (fewer than n: overrun)."""
        start, count, split = self._span(_WRITTEN, min(block.shape[1], self.writable))
        self._data[:, start : start + split] = block[:, :split]
        self._data[:, : count - split] = block[:, split:count]
        fence()
        self._counters[_WRITTEN] += count
        return count

    def write_at(self, index: int, block: Audio) -> bool:
        """Write `block` as the frames from absolute `index` on; what earlier found no room becomes silence first.

        Returns:
            False where there is no room for all of it: it is dropped, and silence will stand in its place.
        """
        self.write_silence(index - self.written)
        if self.written != index or self.writable < block.shape[1]:
            return False
        self.write(block)
        return True

    def write_silence(self, frames: int) -> int:
        """Write up to `frames` of silence; returns the frames written."""
        start, count, split = self._span(_WRITTEN, max(0, min(frames, self.writable)))
        self._data[:, start : start + split] = 0.0
        self._data[:, : count - split] = 0.0
        fence()
        self._counters[_WRITTEN] += count
        return count

    def read(self, out: Audio) -> int:
        """Fill `out [channels, n]` from the left; returns the frames read (fewer: underrun, the rest is left)."""
        start, count, split = self._span(_READ, min(out.shape[1], self.readable))
        fence()
        out[:, :split] = self._data[:, start : start + split]
        out[:, split:count] = self._data[:, : count - split]
        fence()
        self._counters[_READ] += count
        return count

    def skip(self, frames: int) -> int:
        """Throw away up to `frames` unread frames; returns how many went."""
        count = max(0, min(frames, self.readable))
        self._counters[_READ] += count
        return count

    def _span(self, counter: int, count: int) -> tuple[int, int, int]:
        """Where a transfer of `count` frames starts, its length, and how much of it lies before the wrap."""
        start = int(self._counters[counter]) % self.capacity
        return start, count, min(count, self.capacity - start)
