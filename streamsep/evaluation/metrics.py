"""Signal-to-distortion measures in float64. `s` is the true stem, `e` its estimate, `m` the mixture, <.,.> the sum over
channels and samples, |x|^2 = <x, x>.

    SDR      = 10 log10 (|s|^2 / |s - e|^2)
    SI-SDR   = 10 log10 (|a s|^2 / |a s - e|^2),  a = <e, s> / |s|^2     (Le Roux et al. 2019, equations 2 and 3)
    baseline = 10 log10 (|s|^2 / |s - g m|^2),    g = <s, m> / |m|^2     (the best that a volume knob could do)
             = -10 log10 (1 - <s, m>^2 / (|s|^2 |m|^2))

A silent true stem has no SDR: the result is nan. A perfect estimate has an SDR of +inf.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Self

from torch import Tensor

_ALONE = 1e-10  # of a stem's power: what the mixture holds beside it is rounding


def sdr(reference: Tensor, estimate: Tensor) -> float:
    """Signal-to-distortion ratio of the whole signal `[C, T]` in dB."""
    return _totals(reference, estimate).sdr


def si_sdr(reference: Tensor, estimate: Tensor) -> float:
    """Scale-invariant SDR of `[C, T]` in dB; the means are not removed."""
    return _totals(reference, estimate).si_sdr


def baseline_sdr(reference: Tensor, mix: Tensor) -> float:
    """SDR of the mixture `[C, T]` times the gain that fits the stem best, in dB."""
    return _totals(reference, mix).baseline


def frame_sdr(reference: Tensor, estimate: Tensor, frame: int = 44100) -> float:
    """Median SDR over whole frames (of one second by default) in which the true stem sounds, in dB."""
    totals = StemTotals(frame=frame)
    totals.update(reference, estimate, reference)
    return totals.median


@dataclass
class StemTotals:
    """Running sums from which every measure of one stem follows; feed it piece by piece, in order.

    Attributes:
        frame: samples a frame of `median`.
        reference: |s|^2 so far.
        error: |s - e|^2 so far.
    """

    frame: int = 44100
    reference: float = 0.0
    error: float = 0.0
    _estimate: float = 0.0
    _mix: float = 0.0
    _cross: float = 0.0  # <s, e>
    _share: float = 0.0  # <s, m>
    _frames: list[float] = field(default_factory=list)
    _open: tuple[int, float, float] = (0, 0.0, 0.0)  # samples, |s|^2, |s - e|^2 of the frame begun

    @classmethod
    def from_sums(
        cls, reference: float, error: float, estimate: float, mix: float, products: tuple[float, float]
    ) -> Self:
        """Totals of a signal whose sums are known: |s|^2, |s - e|^2, |e|^2, |m|^2, and (<s, e>, <s, m>)."""
        totals = cls(reference=reference, error=error)
        totals._estimate, totals._mix, (totals._cross, totals._share) = estimate, mix, products
        return totals

    def update(self, reference: Tensor, estimate: Tensor, mix: Tensor) -> None:
        """Add a piece `[C, T]` of the stem, its estimate and the mixture."""
        s, e, m = reference.double(), estimate.double(), mix.double()
        powers, errors = s.square().sum(0), (s - e).square().sum(0)
        self.reference += float(powers.sum())
        self.error += float(errors.sum())
        self._estimate += float(e.square().sum())
        self._mix += float(m.square().sum())
        self._cross += float((s * e).sum())
        self._share += float((s * m).sum())
        self._add_frames(powers, errors)

    def _add_frames(self, powers: Tensor, errors: Tensor) -> None:
        position = 0
        while position < len(powers):
            filled, power, error = self._open
            take = min(self.frame - filled, len(powers) - position)
            piece = slice(position, position + take)
            filled, power, error = filled + take, power + float(powers[piece].sum()), error + float(errors[piece].sum())
            position += take
            self._open = (filled, power, error)
            if filled == self.frame:
                self._frames.append(_decibels(power, error) if power > 1e-8 * self.frame else math.nan)
                self._open = (0, 0.0, 0.0)

    @property
    def sounds(self) -> bool:
        """Whether the stem is above -40 dB of the mixture: below, its SDR tells of coding noise and luck."""
        return self.reference > 1e-4 * self._mix

    @property
    def sdr(self) -> float:
        """SDR in dB."""
        return _decibels(self.reference, self.error)

    @property
    def si_sdr(self) -> float:
        """SI-SDR in dB: with c = <s, e>, the ratio of c^2 / |s|^2 to |e|^2 - c^2 / |s|^2."""
        if self.reference <= 0:
            return math.nan
        target = self._cross**2 / self.reference
        return _decibels(target, max(self._estimate - target, 0.0)) if target > 0 else -math.inf

    @property
    def baseline(self) -> float:
        """SDR of the best constant gain on the mixture, in dB; nan where the stem is all of it: nothing to separate."""
        if self.reference <= 0 or self._mix <= 0:
            return math.nan
        error = self.reference - self._share**2 / self._mix
        return _decibels(self.reference, error) if error > _ALONE * self.reference else math.nan

    @property
    def median(self) -> float:
        """Median of the SDR of the finished frames in which the true stem sounds (over -80 dB), in dB."""
        values = sorted(value for value in self._frames if not math.isnan(value))
        if not values:
            return math.nan
        middle = len(values) // 2
        return values[middle] if len(values) % 2 else (values[middle - 1] + values[middle]) / 2


def _totals(reference: Tensor, estimate: Tensor) -> StemTotals:
    totals = StemTotals()
    totals.update(reference, estimate, estimate)
    return totals


def _decibels(signal: float, error: float) -> float:
    if signal <= 0:
        return math.nan
    return math.inf if error <= 0 else 10 * math.log10(signal / error)
