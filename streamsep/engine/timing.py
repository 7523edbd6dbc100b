"""Where every frame of delay comes from, declared before the stream starts and added up."""

from __future__ import annotations

import math
from dataclasses import dataclass

from streamsep.engine.reblock import blocking_latency


@dataclass(frozen=True)
class LatencyBudget:
    """The delay of a stream, in frames at the model's rate; device and resampling may be fractions.

    Attributes:
        sample_rate: in Hz.
        hop: frames of a step.
        model: lag of the separator's output behind its input by index (`Separator.latency`).
        blocking: see `blocking_latency`.
        queue: whole blocks granted to the worker.
        fade: separated sound held back, so that there is something to fade with when the worker is late.
        device: from the air to the callback and back, the input block included.
        resampling: in the filters between the device's rate and the model's, and what a second clock needs.
    """

    sample_rate: int
    hop: int
    model: int
    blocking: int
    queue: int
    fade: int
    device: float
    resampling: float = 0

    @property
    def path(self) -> int:
        """Frames by which the separator's output index lags in the device's count."""
        return self.blocking + self.queue + self.fade

    @property
    def deadline(self) -> int:
        """A hop whose first frame is f must be done while the device has delivered at most f + deadline frames."""
        return self.blocking + self.queue

    @property
    def lag(self) -> int:
        """Frames by which the engine's output lags behind its input by index: all but device and resampling."""
        return self.path + self.model

    @property
    def algorithmic(self) -> int:
        """The model's lag with the hop that must be collected first.

        It is shown, and is no term of the sum: the device's input block and the blocking collect the hop already.
        """
        return self.model + self.hop

    @property
    def total(self) -> float:
        """End-to-end latency."""
        return self.lag + self.device + self.resampling

    def milliseconds(self, frames: float) -> float:
        """Duration of `frames`."""
        return 1000.0 * frames / self.sample_rate

    def rows(self) -> list[tuple[str, float]]:
        """The terms of the sum, and the sum."""
        terms = ("model", "blocking", "queue", "fade", "resampling", "device", "total")
        return [(name, getattr(self, name)) for name in terms]

    def to_dict(self) -> dict[str, float]:
        """All terms in frames and in milliseconds, and the algorithmic latency."""
        rows = [*self.rows(), ("algorithmic", self.algorithmic)]
        plain: dict[str, float] = {f"{name}_frames": frames for name, frames in rows}
        return plain | {f"{name}_ms": self.milliseconds(frames) for name, frames in rows}


def budget(
    *, sample_rate: int, hop: int, model: int, block: int | None, max_block: int, queue: int, fade: int, device: int
) -> LatencyBudget:
    """The budget of a stream whose worker is granted `queue` blocks of at most `max_block` frames."""
    return LatencyBudget(sample_rate, hop, model, blocking_latency(hop, block), queue * max_block, fade, device)


def queue_blocks(seconds: float, hop: int, block: int, sample_rate: int) -> int:
    """Whole blocks that cover the bundle of steps which one block releases, at `seconds` (a high percentile) a step.

    >>> queue_blocks(0.009, hop=512, block=256, sample_rate=44100)
    2
    """
    bundle = math.ceil(block / hop) * seconds
    return max(1, math.ceil(bundle * sample_rate / block))
