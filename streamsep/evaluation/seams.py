"""Seams: is a separated stem rougher where its chunks meet than elsewhere?

A model that works chunk by chunk may leave a small step wherever two chunks meet: a click, hundreds of times a second,
heard as a buzz. Roughness is the energy of the third difference `e[t] - 3 e[t-1] + 3 e[t-2] - e[t-3]`, which all but
silences music (-51 dB at 1 kHz) and keeps a step whole. Its logarithm is averaged over all samples of the same phase
in the period of the chunks, so that neither a loud passage nor a single drum hit decides. The **seam figure** is the
highest of those means at the border over the mean of all other phases:

    figure = max_{p at the border} L[p] - mean_{other p} L[p],   L[p] = mean_{t = p mod period} 10 log10 d[t]^2

0 dB is no seam at all; the spread of the other phases says how far chance goes.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

# A step between the samples border - 1 and border is in the third differences of these three samples.
BORDER = (0, 1, 2)
FLOOR = 1e-14  # of squared differences: far below what 24 bits can hold


@dataclass(frozen=True)
class Seam:
    """What was found at the borders of the chunks.

    Attributes:
        figure: in dB; 0 is no seam. nan where there was nothing to measure.
        sigma: the figure in standard deviations of the phases that are no border.
        phase: samples from the expected border to the roughest phase near it.
    """

    period: int
    figure: float
    sigma: float
    phase: int = 0

    @property
    def heard(self) -> bool:
        """Whether this is a seam and not chance: 3 dB over the rest, and eight standard deviations."""
        return self.figure > 3 and self.sigma > 8


@dataclass
class SeamTotals:
    """Sums by phase; feed it a stem piece by piece, in order.

    Args:
        period: samples from border to border.
        offset: index of a border in the stem: `-latency` for a stream whose latency was taken out.
    """

    period: int
    offset: int = 0
    _sums: NDArray[np.float64] = field(init=False)
    _counts: NDArray[np.int64] = field(init=False)
    _past: NDArray[np.float64] | None = None
    _position: int = 0

    def __post_init__(self) -> None:
        if self.period < 8:
            raise ValueError(f"a period has at least 8 samples, got {self.period}")
        self._sums, self._counts = np.zeros(self.period), np.zeros(self.period, np.int64)

    def update(self, piece: NDArray[np.floating]) -> None:
        """Add a piece `[n, C]`."""
        samples = np.asarray(piece, np.float64)
        if self._past is not None:
            samples = np.concatenate([self._past, samples])
        first = self._position - (0 if self._past is None else len(self._past)) + 3
        self._position += len(piece)
        self._past = samples[-3:]
        rough = np.square(np.diff(samples, 3, axis=0)).mean(axis=1)
        if len(rough):
            phases = (np.arange(first, first + len(rough)) - self.offset) % self.period
            self._sums += np.bincount(phases, 10 * np.log10(rough + FLOOR), self.period)
            self._counts += np.bincount(phases, minlength=self.period)

    def result(self, anywhere: bool = False) -> Seam:
        """The seam; with `anywhere`, at whichever phase is the roughest, for borders of unknown place."""
        if self._counts.min() < 2:
            return Seam(self.period, np.nan, np.nan)
        levels = self._sums / self._counts
        border = [int(levels.argmax())] if anywhere else [phase % self.period for phase in BORDER]
        phase = max(border, key=lambda each: float(levels[each]))
        around = {(phase + step) % self.period for step in (-2, -1, 0, 1, 2)} | set(border)
        others = np.delete(levels, list(around))
        figure = float(levels[phase] - others.mean())
        return Seam(self.period, figure, figure / max(float(others.std()), 1e-9), phase)


def seam_figure(samples: NDArray[np.floating], period: int, offset: int = 0) -> float:
    """The seam figure of a stem `[T, C]` in dB, with borders at `offset` and every `period` samples from there."""
    return find_seam([samples], period, offset).figure


def find_seam(pieces: Iterable[NDArray[np.floating]], period: int, offset: int = 0) -> Seam:
    """The seam of a stem that comes in pieces `[n, C]`."""
    totals = SeamTotals(period, offset)
    for piece in pieces:
        totals.update(piece)
    return totals.result()
