"""A device for tests and trials: arrays in, arrays out, with faults to order."""

from __future__ import annotations

import numpy as np

from streamsep.engine.backends.base import LiveProcess, Pump
from streamsep.engine.backends.clocked import ClockedDevice, Clocking, Faults
from streamsep.engine.ring import Audio


class ArraySource:
    """Plays `samples [C, T]`."""

    def __init__(self, samples: Audio) -> None:
        self._samples = samples
        self._index = 0

    def read(self, out: Audio) -> int:
        """See `Source`."""
        piece = self._samples[:, self._index : self._index + out.shape[1]]
        out[:, : piece.shape[1]] = piece
        self._index += piece.shape[1]
        return piece.shape[1]


class ArraySink:
    """Collects what it is given; `frames` is what to reserve before the first block, beyond it the reserve doubles."""

    def __init__(self, channels: int, frames: int) -> None:
        self._data: Audio = np.zeros((channels, max(1, frames)), dtype=np.float32)
        self._index = 0

    def reserve(self, frames: int) -> None:
        """Make room for `frames` in all, if nothing has arrived yet."""
        if not self._index:
            self._data = np.zeros((len(self._data), max(1, frames)), dtype=np.float32)

    @property
    def samples(self) -> Audio:
        """All that has arrived, `[C, T]`, a view."""
        return self._data[:, : self._index]

    def write(self, block: Audio) -> None:
        """See `Sink`."""
        end = self._index + block.shape[1]
        if end > self._data.shape[1]:
            self._data = np.concatenate([self._data, np.zeros_like(self._data, shape=(len(self._data), end))], axis=1)
        self._data[:, self._index : end] = block
        self._index = end


class FakeDevice(ClockedDevice):
    """Plays the array `samples [2, T]` and keeps what comes back in `played [outputs, T + lag, rounded up to a block]`.

    With the same samples, blocks and faults a run in lock step gives the same output, always.
    """

    def __init__(
        self,
        samples: Audio,
        outputs: int = 2,
        *,
        sample_rate: int = 44100,
        clocking: Clocking | None = None,
        faults: Faults | None = None,
    ) -> None:
        self._frames, self._array = samples.shape[1], ArraySink(outputs, 1)
        super().__init__(
            ArraySource(samples), self._array, outputs, sample_rate=sample_rate, clocking=clocking, faults=faults
        )

    def start(self, process: LiveProcess, pump: Pump | None, lag: int) -> None:
        """See `AudioBackend`."""
        self._array.reserve(self._frames + lag + self.max_block)
        super().start(process, pump, lag)

    @property
    def played(self) -> Audio:
        """What has come back so far, a view."""
        return self._array.samples
