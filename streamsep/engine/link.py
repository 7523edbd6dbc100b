"""What the audio callback and the worker share: two rings and a row of counters, in one block of memory."""

from __future__ import annotations

from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from streamsep.engine.ring import Ring


class Counter(IntEnum):
    """Counters of a stream; each has one writer, named first."""

    POSITION = 0  # callback: frames the device has delivered
    XRUNS = 1  # callback: blocks that the device flagged
    FADES = 2  # callback: times the separated sound had to give way
    DRY_BLOCKS = 3  # callback: blocks that did not hold the separated sound alone
    LOST_FRAMES = 4  # callback: input frames for which the ring had no room
    STEPS = 8  # worker: steps run
    LATE_HOPS = 9  # worker: hops finished after their deadline
    SKIPPED_HOPS = 10  # worker: hops never run, because they were hopelessly late


_SLOTS = 16


class Link:
    """The rings between a device and a worker, and their counters.

    Args:
        inputs: channels from the device.
        outputs: channels to the device.
        input_frames: capacity of the input ring.
        output_frames: capacity of the output ring.
        memory: bytes to live in (`Link.nbytes` of them, zeroed); None: own memory.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        input_frames: int,
        output_frames: int,
        memory: NDArray[np.uint8] | None = None,
    ) -> None:
        if memory is None:
            memory = np.zeros(self.nbytes(inputs, outputs, input_frames, output_frames), dtype=np.uint8)
        middle = 8 * _SLOTS + _aligned(Ring.nbytes(inputs, input_frames))
        self.counters: NDArray[np.int64] = memory[: 8 * _SLOTS].view(np.int64)
        self.input = Ring(inputs, input_frames, memory[8 * _SLOTS : middle])
        self.output = Ring(outputs, output_frames, memory[middle:])

    @staticmethod
    def nbytes(inputs: int, outputs: int, input_frames: int, output_frames: int) -> int:
        """Bytes of memory that a link of this size occupies."""
        rings = Ring.nbytes(inputs, input_frames), Ring.nbytes(outputs, output_frames)
        return 8 * _SLOTS + sum(_aligned(size) for size in rings)


def _aligned(size: int) -> int:
    return (size + 63) // 64 * 64
