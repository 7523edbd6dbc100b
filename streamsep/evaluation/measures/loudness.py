"""Integrated loudness by ITU-R BS.1770-4, with pyloudnorm's filters, piece by piece."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamsep.errors import missing

Array = NDArray[np.float64]
_ABSOLUTE, _RELATIVE = -70.0, -10.0  # gates: LUFS, and LU below the mean of what passed the first


class Loudness:
    """Loudness in LUFS of a stereo sound that comes in pieces.

    Equal to `pyloudnorm.Meter(rate).integrated_loudness` for a whole number of steps of 0.1 s; a last block that is cut
    short is left out, as BS.1770 has it.

    Raises:
        StreamsepError: pyloudnorm is not installed.
    """

    def __init__(self, rate: int) -> None:
        try:
            import pyloudnorm
        except ImportError:
            raise missing("pyloudnorm", "evaluation") from None
        filters = pyloudnorm.Meter(rate)._filters.values()
        self._filters = [(each.b, each.a) for each in filters]
        self._states = [np.zeros((max(len(b), len(a)) - 1, 2)) for b, a in self._filters]
        self._block, self._step = round(0.4 * rate), 0.1 * rate
        self._past, self._start = np.zeros((0, 2)), 0  # weighted samples, and the place of the first
        self._powers: list[float] = []

    def update(self, piece: Array) -> None:
        """Add a piece `[n, 2]`."""
        from scipy.signal import lfilter

        weighted: Any = piece
        for index, (b, a) in enumerate(self._filters):
            weighted, self._states[index] = lfilter(b, a, weighted, axis=0, zi=self._states[index])
        self._past = np.concatenate([self._past, weighted])
        while (begin := int(len(self._powers) * self._step) - self._start) + self._block <= len(self._past):
            self._powers.append(float(np.square(self._past[begin : begin + self._block]).sum()) / self._block)
        spent = int(len(self._powers) * self._step) - self._start
        self._past, self._start = self._past[spent:], self._start + spent

    @property
    def integrated(self) -> float:
        """In LUFS; -inf of silence, nan of less than a block of 0.4 s."""
        if not self._powers:
            return math.nan
        powers = np.array(self._powers)
        powers = powers[_lufs(powers) >= _ABSOLUTE]
        if len(powers):
            powers = powers[_lufs(powers) > float(_lufs(powers.mean())) + _RELATIVE]
        return float(_lufs(powers.mean())) if len(powers) else -math.inf


def _lufs(power: Any) -> Any:
    with np.errstate(divide="ignore"):
        return -0.691 + 10 * np.log10(power)
