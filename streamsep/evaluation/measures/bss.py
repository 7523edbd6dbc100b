"""BSS eval version 4: SDR, ISR, SIR and SAR in frames of a second (Stöter, Liutkus and Ito, "The 2018 Signal Separation
Evaluation Campaign", 2018; the decomposition is of Vincent et al., "First stereo audio source separation evaluation
campaign", 2007, equations 5 to 12).

An estimate is split into truth, spatial error, interference and artifacts by two projections: on the true stem's
channels under filters of 512 taps, and on all stems' channels under such filters. The filters are those of the whole
song.

The numbers are those of the package museval on the same arrays. What differs is the memory: correlations add up piece
by piece, so that a song of any length takes that of a minute. Where stems leave parts of the spectrum empty (lossy
coding, or a mono stem in two channels) the filters are not unique; SIR and SAR then depend on rounding alone, in either
program: museval's own move by some tenths of a dB when the stems are named in another order.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Waves = NDArray[np.float32]

TAPS = 512
_FFT = 1 << 16
MEASURES = ("sdr", "isr", "sir", "sar")


@dataclass(frozen=True)
class BssFrames:
    """Measures by frame, each `[stems, frames]` in dB; nan in frames where a stem or an estimate is silent."""

    sdr: Array
    isr: Array
    sir: Array
    sar: Array

    def medians(self) -> list[dict[str, float]]:
        """The standard summary of a song: for each stem the median over its frames that have a value."""
        rows = []
        for stem in range(len(self.sdr)):
            values = {name: getattr(self, name)[stem] for name in MEASURES}
            rows.append({name: _median(frames[~np.isnan(frames)]) for name, frames in values.items()})
        return rows


def bss_frames(truth: Waves, estimates: Waves, frame: int = 44100, taps: int = TAPS) -> BssFrames:
    """Measures of `estimates [T, S, C]` against `truth [T, S, C]`, which may be mapped from files.

    Only stems that sound belong here: where one is silent throughout there is no answer, and all measures are nan.

    Args:
        frame: samples of a frame; the rest at the end is left out, as is usual.
        taps: of the distortion filters.
    """
    length, stems, _ = truth.shape
    slices = list(_frames(length, frame))
    values = np.full((4, stems, len(slices)), np.nan)
    if _sounding(truth, slices[0].stop) and _sounding(estimates, slices[0].stop):
        projections = _Projections(truth, estimates, taps)
        for index, each in enumerate(slices):
            s, e = _channels(truth[each]), _channels(estimates[each])
            if not _any_silent(s) and not _any_silent(e):
                values[:, :, index] = projections.measure(s, e)
    return BssFrames(*values)


def _frames(length: int, frame: int) -> Iterator[slice]:
    if frame >= length:
        yield slice(0, length)
        return
    for start in range(0, length - frame + 1, frame):
        yield slice(start, start + frame)


def _channels(samples: Waves) -> Array:
    """`[n, S, C]` as `[S, C, n]` in double precision."""
    return np.ascontiguousarray(np.moveaxis(samples, 0, 2), np.float64)


def _any_silent(samples: Array) -> bool:
    """Whether a stem of `[S, C, n]` is silent in the sense of museval: its channels add up to nothing throughout."""
    return bool((samples.sum(1) == 0).all(1).any())


def _sounding(samples: Waves, piece: int) -> bool:
    """Whether every stem of `[T, S, C]` sounds somewhere."""
    heard = np.zeros(samples.shape[1], bool)
    for start in range(0, len(samples), piece):
        heard |= (_channels(samples[start : start + piece]).sum(1) != 0).any(1)
        if heard.all():
            return True
    return False


class _Projections:
    """The filters that project estimates onto one true stem, and onto all of them."""

    def __init__(self, truth: Waves, estimates: Waves, taps: int) -> None:
        self.taps, stems, channels = taps, truth.shape[1], truth.shape[2]
        own, cross = _correlations(truth, estimates, taps)
        size = stems * channels
        gram = np.block([[_toeplitz(own[i, j], own[j, i]) for j in range(size)] for i in range(size)])
        gram += np.finfo(float).eps * np.eye(len(gram))
        targets = cross.transpose(0, 2, 1).reshape(size * taps, -1)  # [(channel of truth, tap), channel of estimate]
        everyone = _solve(gram, targets).reshape(size, taps, stems, channels)
        # [estimate, its channel, channel of truth, tap]
        self.everyone = everyone.transpose(2, 3, 0, 1)
        self.alone = np.empty((stems, channels, channels, taps))
        for stem in range(stems):
            rows = slice(stem * channels * taps, (stem + 1) * channels * taps)
            columns = slice(stem * channels, (stem + 1) * channels)
            filters = _solve(gram[rows, rows], targets[rows, columns])
            self.alone[stem] = filters.reshape(channels, taps, channels).transpose(2, 0, 1)

    def measure(self, s: Array, e: Array) -> Array:
        """SDR, ISR, SIR, SAR `[4, S]` of one frame `[S, C, n]`."""
        stems, channels, length = s.shape
        padded = length + self.taps - 1
        size = 1 << (padded - 1).bit_length()
        spectra = np.fft.rfft(s, size)
        flat = spectra.reshape(stems * channels, -1)
        values = np.empty((4, stems))
        for j in range(stems):
            everyone = np.einsum("crf,rf->cf", np.fft.rfft(self.everyone[j], size), flat)
            alone = np.einsum("crf,rf->cf", np.fft.rfft(self.alone[j], size), spectra[j])
            on_all, on_own = (np.fft.irfft(each, size)[:, :padded] for each in (everyone, alone))
            true, estimate = np.zeros_like(on_all), np.zeros_like(on_all)
            true[:, :length], estimate[:, :length] = s[j], e[j]
            energy = [_energy(each) for each in (true, on_own, on_all)]
            errors = (estimate - true, on_own - true, on_all - on_own, estimate - on_all)
            signals = (energy[0], energy[0], energy[1], energy[2])
            values[:, j] = [_decibels(a, _energy(b)) for a, b in zip(signals, errors, strict=True)]
        return values


def _correlations(truth: Waves, estimates: Waves, taps: int) -> tuple[Array, Array]:
    """`r[x, y, l] = sum_t x[t - l] y[t]` for lags below `taps`: of true channels with true ones, and with estimates."""
    step = _FFT - (taps - 1)
    size = truth.shape[1] * truth.shape[2]
    both = np.zeros((size, 2 * size, _FFT // 2 + 1), complex)
    past = np.zeros((size, taps - 1))
    for start in range(0, len(truth), step):
        s = _channels(truth[start : start + step]).reshape(size, -1)
        e = _channels(estimates[start : start + step]).reshape(size, -1)
        delayed = np.concatenate([past, s], axis=1)
        past = delayed[:, -(taps - 1) :]
        ahead = np.zeros((2 * size, delayed.shape[1]))
        ahead[:size, taps - 1 :], ahead[size:, taps - 1 :] = s, e
        x, y = np.fft.rfft(delayed, _FFT).conj(), np.fft.rfft(ahead, _FFT)
        for row in range(size):
            both[row] += x[row] * y
    lags = np.fft.irfft(both)[..., :taps]
    return lags[:, :size], lags[:, size:]


def _toeplitz(down: Array, right: Array) -> Array:
    """The matrix `m[a, b] = down[a - b]` on and below the diagonal, `right[b - a]` above it."""
    taps = len(down)
    line = np.concatenate([down[::-1], right[1:]])
    return np.lib.stride_tricks.sliding_window_view(line, taps)[::-1]


def _solve(gram: Array, targets: Array) -> Array:
    try:
        solution = np.linalg.solve(gram, targets)
    except np.linalg.LinAlgError:
        solution = np.linalg.lstsq(gram, targets, rcond=None)[0]
    return np.asarray(solution, np.float64)


def _energy(samples: Array) -> float:
    return float(np.square(samples).sum())


def _decibels(signal: float, error: float) -> float:
    if error == 0:
        return np.inf
    return float(10 * np.log10(signal / error)) if signal > 0 else -np.inf


def _median(values: Array) -> float:
    return float(np.median(values)) if len(values) else np.nan
