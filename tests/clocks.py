"""Two devices whose clocks disagree, as a list of what happens when: for tests of what lies between them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Device:
    """A device that calls back for blocks of `block` frames.

    Attributes:
        rate: that it says it has, in Hz.
        block: frames.
        ppm: by how many millionths it really is faster.
        jitter: seconds by which a callback comes late, at most; each by another amount.
        phase: blocks by which the first comes later.
        stalls: (seconds, seconds): no callback from the first on for so long; those missed follow at once.
    """

    rate: int
    block: int
    ppm: float = 0.0
    jitter: float = 0.0
    phase: float = 0.0
    stalls: tuple[tuple[float, float], ...] = ()

    @property
    def true_rate(self) -> float:
        """In Hz of true seconds."""
        return self.rate * (1 + 1e-6 * self.ppm)

    def calls(self, seconds: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """When each callback should come, and when it comes."""
        length = self.block / self.true_rate
        due = (1 + self.phase + np.arange(int(seconds / length))) * length
        times = due + np.random.default_rng(seed).uniform(0, self.jitter, len(due))
        for start, duration in self.stalls:
            times = np.where((times > start) & (times < start + duration), start + duration, times)
        return due, np.maximum.accumulate(times)


@dataclass(frozen=True)
class Call:
    """A callback: of the input (`capture`) or of the output, at `now` instead of `due`."""

    capture: bool
    due: float
    now: float


def play(source: Device, sink: Device, seconds: float) -> Iterator[Call]:
    """All callbacks of two devices in order."""
    due, times = np.concatenate([source.calls(seconds, 1), sink.calls(seconds, 2)], axis=1)
    inputs = len(source.calls(seconds, 1)[0])
    for number in np.argsort(times, kind="stable"):
        yield Call(bool(number < inputs), float(due[number]), float(times[number]))
