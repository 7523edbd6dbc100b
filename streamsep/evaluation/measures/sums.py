"""Measures that add up sample by sample: each takes pieces `[n, C]` in order, and holds a few numbers.

A second is one value of a curve. "Silent" means below -80 dB of full scale in the mean square over a second.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from streamsep.evaluation.metrics import StemTotals

Array = NDArray[np.float64]
SILENT = 1e-8


def decibels(signal: float, error: float) -> float:
    """The ratio in dB; nan of nothing, inf of a perfect match, -inf of no signal beside an error."""
    if error <= 0:
        return math.inf if signal > 0 else math.nan
    return 10 * math.log10(signal / error) if signal > 0 else -math.inf


@dataclass
class Seconds:
    """Sums over seconds of the truth `s`, the estimate `e` and the mixture `m`, from which several measures follow.

    Args:
        rate: samples of a second; the last, shorter one counts as one.
    """

    rate: int
    _open: list[Array] = field(default_factory=list)
    _rows: list[Array] = field(default_factory=list)
    _filled: int = 0

    def update(self, s: Array, e: Array, m: Array) -> None:
        """Add a piece `[n, 2]` of each."""
        at = 0
        while at < len(s):
            take = min(self.rate - self._filled, len(s) - at)
            part = slice(at, at + take)
            self._open.append(_products(s[part], e[part], m[part]))
            at, self._filled = at + take, self._filled + take
            if self._filled == self.rate:
                self._close()

    def _close(self) -> None:
        if self._filled:
            self._rows.append(np.concatenate([np.sum(self._open, axis=0), [self._filled]]))
        self._open, self._filled = [], 0

    def table(self) -> Array:
        """A row a second: the columns of `_products`, and the number of samples."""
        self._close()
        return np.stack(self._rows) if self._rows else np.zeros((0, 13))


def _products(s: Array, e: Array, m: Array) -> Array:
    error = s - e
    pairs = (s, s), (error, error), (e, e), (m, m), (s, e), (s, m)
    sums = [float((a * b).sum()) for a, b in pairs]
    return np.array([*sums, *(float((x[:, a] * x[:, b]).sum()) for x in (s, e) for a, b in ((0, 0), (1, 1), (0, 1)))])


def second_measures(table: Array) -> dict[str, list[float]]:
    """SDR and SI-SDR of each second in which the truth sounds, nan in the others; and `level`, the estimate's RMS over
    both channels in dB of full scale, -120 at least."""
    totals = [totals_of(row) if row[0] > SILENT * row[-1] else StemTotals() for row in table]
    levels = 10 * np.log10(np.maximum(table[:, 2] / (2 * table[:, -1]), 1e-12))
    return {"sdr": [each.sdr for each in totals], "si_sdr": [each.si_sdr for each in totals], "level": levels.tolist()}


def totals_of(row: Array) -> StemTotals:
    """The totals of a row of a table, or of the sum of its rows."""
    reference, error, estimate, mix, *products = (float(value) for value in row[:6])
    return StemTotals.from_sums(reference, error, estimate, mix, (products[0], products[1]))


def leakage(table: Array) -> float:
    """Energy of the estimate over that of the mixture, in dB, in the seconds where the true stem is silent.

    nan where the stem is never silent while the mixture sounds.
    """
    silent = (table[:, 0] <= SILENT * table[:, -1]) & (table[:, 3] > SILENT * table[:, -1])
    if not silent.any():
        return math.nan
    return decibels(float(table[silent, 2].sum()), float(table[silent, 3].sum()))


def stereo_error(table: Array) -> dict[str, float]:
    """How far the stereo image is off, over the seconds in which truth and estimate sound, louder ones counting more.

    Returns:
        level_db: mean distance of the levels' difference between left and right, at most 40 dB.
        correlation: mean distance of the correlation of left and right, 0 to 2.
    """
    sounds = (table[:, 0] > SILENT * table[:, -1]) & (table[:, 2] > SILENT * table[:, -1])
    if not sounds.any():
        return {"level_db": math.nan, "correlation": math.nan}
    rows, weight = table[sounds], table[sounds, 0]
    levels = [_level(rows[:, a], rows[:, a + 1]) for a in (6, 9)]
    likeness = [_correlation(*rows[:, a : a + 3].T) for a in (6, 9)]
    return {
        "level_db": float(np.average(np.minimum(np.abs(levels[0] - levels[1]), 40), weights=weight)),
        "correlation": float(np.average(np.abs(likeness[0] - likeness[1]), weights=weight)),
    }


def _level(left: Array, right: Array) -> Array:
    quiet = 1e-4 * (left + right) + 1e-20  # beyond 40 dB a channel is as good as silent
    return 10 * np.log10((left + quiet) / (right + quiet))


def _correlation(left: Array, right: Array, cross: Array) -> Array:
    return cross / np.sqrt(np.maximum(left * right, 1e-30))


@dataclass
class Peaks:
    """The highest sample of each channel, and how many samples lie at it: a clipped stem has many.

    A value counts as "at the peak" within 0.01 % of it; a louder peak starts the count anew.
    """

    _top: Array = field(default_factory=lambda: np.zeros(2))
    _count: NDArray[np.int64] = field(default_factory=lambda: np.zeros(2, np.int64))
    _length: int = 0

    def update(self, piece: Array) -> None:
        """Add a piece `[n, 2]`."""
        size = np.abs(piece)
        top = size.max(axis=0, initial=0)
        self._count[top > self._top * 1.0001] = 0
        self._top = np.maximum(self._top, top)
        self._count += (size > 0.9999 * self._top).sum(axis=0) * (self._top > 0)
        self._length += len(piece)

    @property
    def peak(self) -> float:
        """The highest sample."""
        return float(self._top.max())

    @property
    def clipped(self) -> float:
        """The share of samples that lie at their channel's peak."""
        return float(self._count.max()) / max(self._length, 1)


class LogSpectra:
    """Log-spectral distance by second: the root of the mean square, over frequency, of the difference in dB of two
    spectra, averaged over frames (Gray and Markel, "Distance measures for speech processing", 1976).

    Hann windows of 2048 samples every 1024, the mid of both channels' powers, a floor of -80 dB of full scale.
    """

    SIZE, HOP, FLOOR = 2048, 1024, 1e-8

    def __init__(self, rate: int) -> None:
        self.rate = rate
        self._past: tuple[Array, Array] | None = None
        self._window = np.hanning(self.SIZE + 1)[:-1]
        self._frames: list[float] = []

    def update(self, s: Array, e: Array) -> None:
        """Add a piece `[n, 2]` of truth and estimate."""
        if self._past is not None:
            s, e = (np.concatenate(pair) for pair in zip(self._past, (s, e), strict=True))
        count = max(0, (len(s) - self.SIZE) // self.HOP + 1)
        self._past = s[count * self.HOP :], e[count * self.HOP :]
        if count:
            a, b = (self._log_power(x, count) for x in (s, e))
            self._frames += np.sqrt(np.square(a - b).mean(axis=1)).tolist()

    def _log_power(self, samples: Array, count: int) -> Array:
        frames = np.lib.stride_tricks.sliding_window_view(samples, self.SIZE, axis=0)[:: self.HOP][:count]
        power = np.square(np.abs(np.fft.rfft(frames * self._window))).mean(axis=1) / self._window.sum() ** 2
        return 10 * np.log10(power + self.FLOOR)

    def seconds(self) -> list[float]:
        """The mean of the frames that begin in each second."""
        at = np.arange(len(self._frames)) * self.HOP // self.rate
        frames = np.array(self._frames)
        return [float(frames[at == second].mean()) for second in np.unique(at)]

    @property
    def mean(self) -> float:
        """Over all frames, in dB; nan of a sound shorter than a window."""
        return float(np.mean(self._frames)) if self._frames else math.nan
