"""A device without hardware: blocks from a source to a sink, at the pace of a clock or in lock step with the worker."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from streamsep.engine.backends.base import AudioBackend, LiveProcess, Pump, Sink, Source
from streamsep.engine.ring import Audio


@dataclass(frozen=True)
class Faults:
    """What goes wrong, by number of the block (from 0).

    Attributes:
        stalled: blocks after which the worker does not get to run (lock step only).
        dropped: blocks that the device loses; the next one is flagged, and silence is played instead.
        corrupted: blocks that arrive as NaN.
    """

    stalled: frozenset[int] = frozenset()
    dropped: frozenset[int] = frozenset()
    corrupted: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Clocking:
    """How blocks are cut and paced.

    Attributes:
        blocks: frames of every block, or a pattern of sizes that repeats.
        realtime: deliver blocks at their time by the monotonic clock; otherwise as fast as the worker allows.
    """

    blocks: int | tuple[int, ...] = 256
    realtime: bool = False


class ClockedDevice(AudioBackend):
    """Delivers `source` block by block, then silence for the lag; plays into `sink`.

    In real time a block is delivered when its last frame would have been heard, so input block and output block are one
    block apart. A device thread that wakes more than a block late counts an xrun and moves its timeline: no sound is
    lost, as in an interface that stops and starts.

    Attributes:
        stalls: times the device's own thread woke more than a block late (real time only).
    """

    def __init__(
        self,
        source: Source,
        sink: Sink,
        outputs: int,
        *,
        sample_rate: int = 44100,
        clocking: Clocking | None = None,
        faults: Faults | None = None,
    ) -> None:
        clocking = clocking or Clocking()
        pattern = (clocking.blocks,) if isinstance(clocking.blocks, int) else clocking.blocks
        if not pattern or min(pattern) < 1:
            raise ValueError(f"blocks must be positive, got {pattern}")
        self.sample_rate, self.inputs, self.outputs = sample_rate, 2, outputs
        self.block = pattern[0] if len(set(pattern)) == 1 else None
        self.max_block = max(pattern)
        self.latency = self.max_block
        self.lock_step = not clocking.realtime
        self.stalls = 0
        self._pattern: Sequence[int] = pattern
        self._source, self._sink, self._faults = source, sink, faults or Faults()
        self._stopping, self._ended = threading.Event(), threading.Event()
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None

    def start(self, process: LiveProcess, pump: Pump | None, lag: int) -> None:
        """See `AudioBackend`."""
        self._thread = threading.Thread(
            target=self._run, args=(process, pump, lag), name="streamsep-device", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """See `AudioBackend`."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()

    def wait(self, timeout: float) -> bool:
        """See `AudioBackend`."""
        ended = self._ended.wait(timeout)
        if self._error is not None:
            raise self._error
        return ended

    def _run(self, process: LiveProcess, pump: Pump | None, lag: int) -> None:
        try:
            self._deliver(process, pump, lag)
        except BaseException as error:
            self._error = error
        self._ended.set()

    def _deliver(self, process: LiveProcess, pump: Pump | None, lag: int) -> None:
        outbuffer: Audio = np.zeros((self.outputs, self.max_block), dtype=np.float32)
        xrun = False
        for number, (block, late) in enumerate(self._paced(lag)):
            out = outbuffer[:, : block.shape[1]]
            if number in self._faults.dropped:
                out[:] = 0.0
                xrun = True
            else:
                if number in self._faults.corrupted:
                    block.fill(np.nan)
                process(block, out, xrun or late)
                xrun = False
                if pump is not None and number not in self._faults.stalled:
                    pump()
            self._sink.write(out)
            if process.ended:
                return

    def _paced(self, lag: int) -> Iterator[tuple[Audio, bool]]:
        """The blocks, each at its time, and whether the timeline had to be moved for it."""
        due = time.monotonic()
        for block in self._blocks(lag):
            length = block.shape[1] / self.sample_rate
            due += length
            late = 0.0
            if not self.lock_step:
                late = self._sleep_until(due)
                if late > length:
                    due += late
                    self.stalls += 1
            yield block, late > length

    def _blocks(self, lag: int) -> Iterator[Audio]:
        """The source, cut into blocks, then at least `lag` frames of silence."""
        buffer: Audio = np.zeros((self.inputs, self.max_block), dtype=np.float32)
        left = lag
        for frames in itertools.cycle(self._pattern):
            block = buffer[:, :frames]
            got = self._source.read(block)
            left -= frames - got
            block[:, got:] = 0.0
            if self._stopping.is_set():
                return
            yield block
            if left <= 0 and got < frames:
                return

    def _sleep_until(self, due: float) -> float:
        """Sleep; returns the seconds by which `due` has passed on waking."""
        left = due - time.monotonic()
        if left > 0:
            time.sleep(left)
        return time.monotonic() - due
