"""What a stream did: durations of steps, misses, xruns, and the report that people and programs read."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from streamsep.engine.link import STEP_TIMES
from streamsep.engine.timing import LatencyBudget


@dataclass(frozen=True)
class StepTimes:
    """Durations of steps, per hop, in seconds; `rtf` is the median over the duration of a hop."""

    steps: int
    p50: float
    p99: float
    p999: float
    longest: float
    rtf: float


class StepRecorder:
    """Remembers the last step times on preallocated memory, and the longest of all.

    Args:
        memory: float64 to live in: the number of steps, the longest, then as many times as fit; None: own memory.
    """

    def __init__(self, memory: NDArray[np.float64] | None = None) -> None:
        self._memory = np.zeros(2 + STEP_TIMES) if memory is None else memory
        self._times = self._memory[2:]

    @property
    def count(self) -> int:
        """Steps recorded so far."""
        return int(self._memory[0])

    def add(self, seconds: float, hops: int = 1) -> None:
        """Record a step of `hops` hops."""
        each = seconds / hops
        self._times[self.count % len(self._times)] = each
        self._memory[1] = max(self._memory[1], each)
        self._memory[0] += 1

    def summary(self, hop: int, sample_rate: int) -> StepTimes:
        """Percentiles (nearest rank above) of what is remembered; all zero where nothing is."""
        times = self._times[: min(self.count, len(self._times))]
        if len(times) == 0:
            return StepTimes(0, 0.0, 0.0, 0.0, 0.0, 0.0)
        p50, p99, p999 = (float(p) for p in np.percentile(times, (50, 99, 99.9), method="higher"))
        return StepTimes(self.count, p50, p99, p999, float(self._memory[1]), p50 * sample_rate / hop)


@dataclass(frozen=True)
class StreamReport:
    """The figures of a stream so far.

    Attributes:
        budget: declared delays.
        times: step times.
        hop: frames of a step.
        seconds: audio delivered by the device.
        late_hops: misses: hops done after their deadline.
        skipped_hops: hops given up in an overload.
        fades: times the separated sound gave way to dry or mute.
        dry_blocks: blocks that did not hold the separated sound alone.
        lost_frames: input frames that found no room.
        xruns: blocks that the device flagged.
        recoveries: times a non-finite output was silenced.
        worker_restarts: times a dead worker was started anew.
        device_losses: times the device was gone.
        device_bytes: memory taken on a GPU.
        error: what killed the worker, or None.
    """

    budget: LatencyBudget
    times: StepTimes
    hop: int
    seconds: float
    late_hops: int
    skipped_hops: int
    fades: int
    dry_blocks: int
    lost_frames: int
    xruns: int
    recoveries: int
    worker_restarts: int = 0
    device_losses: int = 0
    device_bytes: int = 0
    error: str | None = None

    def to_dict(self) -> dict[str, object]:
        """Plain data for json."""
        plain = asdict(self)
        plain["budget"] = self.budget.to_dict()
        return plain

    def to_text(self) -> str:
        """The report as aligned lines of text."""
        lines = ["latency           frames       ms"]
        for name, frames in self.budget.rows():
            lines.append(f"  {name:<12}{frames:>10.6g}{self.budget.milliseconds(frames):>9.2f}")
        frames = self.budget.algorithmic
        lines.append(f"  (algorithmic, hop included: {frames} frames, {self.budget.milliseconds(frames):.2f} ms)")
        return "\n".join([*lines, *self._time_lines(), *self._event_lines()])

    def _time_lines(self) -> list[str]:
        t = self.times
        deadline = self.budget.milliseconds(self.hop)
        shown = (("p50", t.p50), ("p99", t.p99), ("p99.9", t.p999), ("max", t.longest))
        figures = "  ".join(f"{name} {1000 * value:.2f}" for name, value in shown)
        lines = [f"step time (ms)    {figures}  of {deadline:.2f} a hop, {t.steps} steps"]
        return [*lines, f"RTF               {t.rtf:.3f}"]

    def _event_lines(self) -> list[str]:
        lines = [
            f"misses            {self.late_hops} late hops, {self.skipped_hops} skipped, in {self.seconds:.1f} s",
            f"heard             {self.fades} fades, {self.dry_blocks} blocks not fully separated",
            f"device            {self.xruns} xruns, {self.lost_frames} frames lost",
        ]
        rare = {"recoveries": self.recoveries, "worker restarts": self.worker_restarts}
        rare["device lost"] = self.device_losses
        lines += [f"{name:<18}{times}" for name, times in rare.items() if times]
        return [*lines, f"worker died       {self.error}"] if self.error else lines
