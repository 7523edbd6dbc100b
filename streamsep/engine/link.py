"""What the audio callback, the worker and the knobs share: rings and rows of numbers, in one block of memory."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from streamsep.engine.ring import Ring


class Counter(IntEnum):
    """Whole numbers of a stream; each has one writer, named first."""

    POSITION = 0  # callback: frames the device has delivered
    XRUNS = 1  # callback: blocks that the device flagged
    FADES = 2  # callback: times the separated sound had to give way
    DRY_BLOCKS = 3  # callback: blocks that did not hold the separated sound alone
    LOST_FRAMES = 4  # callback: input frames for which the ring had no room
    MIX_GAPS = 5  # callback: frames that the recording's ring had no room for
    STEPS = 8  # worker: steps run
    LATE_HOPS = 9  # worker: hops finished after their deadline
    SKIPPED_HOPS = 10  # worker: hops never run, because they were hopelessly late
    RECOVERIES = 11  # worker: times a non-finite output was silenced
    DEVICE_BYTES = 12  # worker: memory taken on a GPU
    BLIND = 13  # worker: it knows nothing of the input before this frame, since another worker died there; 0: it does
    SEAM = 14  # worker: frames of output that were there before it came
    STEM_GAPS = 15  # worker: frames that the recording's ring had no room for
    STOP = 16  # stream: 1 once the worker is to end
    BYPASS = 17  # stream: 1 while the dry mix is to be heard
    RECORD_FROM = 18  # stream: one more than the first input frame of the recording; 0: nothing is recorded
    RECORD_MIX = 19  # stream: where that frame stands in the ring `mix`
    RECORD_STEMS = 20  # stream: where the stems of the hop from that frame on stand in the ring `stems`


COUNTERS = 32
KNOBS = 64
METERS = 16
STEP_TIMES = 1 << 16
_ROWS = (COUNTERS, KNOBS, METERS, 2 + STEP_TIMES)


@dataclass(frozen=True)
class LinkShape:
    """Sizes of a link.

    Attributes:
        inputs: channels from the device.
        outputs: channels to the device.
        input_frames: capacity of the input ring.
        output_frames: capacity of the output ring.
        stems: channels of all stems together, for the recording.
        record_frames: capacity of the rings that are recorded from.
    """

    inputs: int
    outputs: int
    input_frames: int
    output_frames: int
    stems: int = 1
    record_frames: int = 1

    @property
    def rings(self) -> tuple[tuple[int, int], ...]:
        """Channels and capacity of the rings input, output, mix and stems."""
        recorded = ((self.inputs, self.record_frames), (self.stems, self.record_frames))
        return ((self.inputs, self.input_frames), (self.outputs, self.output_frames), *recorded)

    @property
    def nbytes(self) -> int:
        """Bytes of memory that such a link occupies."""
        return 8 * sum(_ROWS) + sum(_aligned(Ring.nbytes(*ring)) for ring in self.rings)


class Link:
    """The rings between a device and a worker, and what is counted, set and measured beside them.

    Args:
        shape: sizes.
        memory: bytes to live in (`shape.nbytes` of them, zeroed by their owner); None: own memory.

    Attributes:
        counters: int64, see `Counter`.
        knobs: float64, see `Desk`.
        meters: float64, peak of each stem after its gain; the worker raises them, the reader takes them back to 0.
        times: float64, see `StepRecorder`.
        input: what the device delivers, for the worker.
        output: what the worker has made of it, for the device.
        mix: the input again, for a recording.
        stems: all stems before their gains, for a recording.
    """

    def __init__(self, shape: LinkShape, memory: NDArray[np.uint8] | None = None) -> None:
        if memory is None:
            memory = np.zeros(shape.nbytes, dtype=np.uint8)
        self.shape = shape
        rows, start = [], 0
        for length in _ROWS:
            rows.append(memory[start : start + 8 * length])
            start += 8 * length
        self.counters: NDArray[np.int64] = rows[0].view(np.int64)
        self.knobs, self.meters, self.times = (row.view(np.float64) for row in rows[1:])
        rings = []
        for ring in shape.rings:
            stop = start + _aligned(Ring.nbytes(*ring))
            rings.append(Ring(*ring, memory[start:stop]))
            start = stop
        self.input, self.output, self.mix, self.stems = rings


def _aligned(size: int) -> int:
    return (size + 63) // 64 * 64
