"""Is a stem where it should be: its delay against the truth, whether that grows, and whose truth it is most like."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Waves = NDArray[np.float32]

REACH = 8192  # samples a delay may have, either way
MIN_DRIFT = 1.5e-4  # six samples a second
_FFT = 1 << 16
_WINDOWS = 24
_EXCERPT = 11025
_FAR = 27000  # samples that a window looks to either side
_LEAST_SPAN = 44100  # samples from the first window to the last; within less a delay cannot be seen to grow


@dataclass(frozen=True)
class Alignment:
    """Estimated stems `i` beside true stems `j`, both as mono.

    Attributes:
        likeness: `[S, S]`, the highest normalised correlation of estimate i with truth j over all delays, 0 to 1.
        delays: of estimate i against its own truth, in samples; positive where it is late.
        drifts: growth of each delay, in samples a sample; 0 below MIN_DRIFT, nan where none can be told.
    """

    likeness: Array
    delays: NDArray[np.int64]
    drifts: Array


def align(truth: Waves, estimates: Waves) -> Alignment:
    """Compare `estimates [T, S, C]` with `truth [T, S, C]`, both possibly mapped from files."""
    likeness, delays = _correlate(truth, estimates)
    drifts = np.array([_drift(truth, estimates, stem) for stem in range(truth.shape[1])])
    return Alignment(likeness, delays, drifts)


def _correlate(truth: Waves, estimates: Waves) -> tuple[Array, NDArray[np.int64]]:
    """Cross-correlations over the whole song for delays up to REACH, added up piece by piece."""
    step, stems = _FFT - 2 * REACH, truth.shape[1]
    spectra = np.zeros((stems, stems, _FFT // 2 + 1), complex)
    powers = np.zeros((2, stems))
    for start in range(0, len(truth), step):
        wide = _mono(truth, start - REACH, step + 2 * REACH)
        e = _mono(estimates, start, step)
        powers += np.square(wide[:, REACH : REACH + step]).sum(1), np.square(e).sum(1)
        spectra += np.fft.rfft(e, _FFT)[:, None].conj() * np.fft.rfft(wide, _FFT)[None]
    # An estimate at t that fits the truth at t - d correlates best where the wide piece begins REACH - d.
    lags = np.abs(np.fft.irfft(spectra)[..., : 2 * REACH + 1])
    best = lags.argmax(-1)
    likeness = lags.max(-1) / np.sqrt(np.maximum(powers[1][:, None] * powers[0][None], 1e-30))
    delays = np.where(np.diagonal(likeness) > 0, REACH - np.diagonal(best), 0)
    return likeness, delays


def _mono(samples: Waves, start: int, length: int) -> Array:
    """`[S, length]` from `start`, silence outside the song."""
    inside = np.asarray(samples[max(start, 0) : max(start + length, 0)], np.float64).mean(axis=2).T
    left = max(0, -start)
    return np.pad(inside, ((0, 0), (left, length - left - inside.shape[1])))


def _drift(truth: Waves, estimates: Waves, stem: int) -> float:
    """Growth of the delay, from short windows spread over the song; the median of all slopes (Theil and Sen)."""
    places = [(at, delay) for at, delay in _local_delays(truth[:, stem : stem + 1], estimates[:, stem : stem + 1])]
    if len(places) < 4:
        return math.nan
    at, delay = np.array(places, float).T
    if np.ptp(at) < _LEAST_SPAN:
        return math.nan
    first, second = np.triu_indices(len(at), 1)
    slope = float(np.median((delay[second] - delay[first]) / (at[second] - at[first])))
    rest = delay - slope * at
    # A stem of several samples lost or added a second, and nearly all windows agree; else the delay is what it is.
    steady = np.abs(rest - np.median(rest)) < 30
    return slope if steady.mean() > 0.7 and abs(slope) > MIN_DRIFT else 0.0


def _local_delays(truth: Waves, estimate: Waves) -> Iterator[tuple[int, int]]:
    """(place, delay) of each window whose estimate is much like the truth at some delay."""
    for start in np.unique(np.linspace(0, max(len(truth) - _EXCERPT, 0), _WINDOWS).astype(int)):
        e = _mono(estimate, int(start), _EXCERPT)[0]
        if not e.any():
            continue
        wide = _mono(truth, int(start) - _FAR, _EXCERPT + 2 * _FAR)[0]
        lags = np.abs(np.fft.irfft(np.fft.rfft(e, _FFT).conj() * np.fft.rfft(wide, _FFT))[: 2 * _FAR + 1])
        sums = np.concatenate([[0.0], np.cumsum(np.square(wide))])
        powers = sums[_EXCERPT:] - sums[:-_EXCERPT]
        scores = lags / np.sqrt(np.maximum(powers * np.square(e).sum(), 1e-12))
        best = int(scores.argmax())
        if 0.5 < scores[best] < 1.01:
            yield int(start), _FAR - best
