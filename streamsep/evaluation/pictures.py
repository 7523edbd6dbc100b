"""A spectrogram with as much room for each octave, for pictures."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Waves = NDArray[np.float32]
Picture = NDArray[np.float64]

_WINDOW = 4096
_COLUMNS = 900
_BANDS = 160
_LOWEST = 40.0  # Hz
_BATCH = 64  # windows at a time


def spectrogram(samples: Waves, rate: int) -> Picture:
    """Mean power of `[T, C]`'s channels in bands of equal width in octaves, `[160, n]`, from 40 Hz to half the rate.

    Hann windows of 4096 samples, at most 900 of them, evenly over the sound.
    """
    frames = max(1, min(_COLUMNS, len(samples) // (_WINDOW // 8)))
    starts = np.linspace(0, len(samples), frames, endpoint=False).astype(int)
    padded = np.pad(samples, ((_WINDOW // 2, _WINDOW // 2), (0, 0)))
    views = np.lib.stride_tricks.sliding_window_view(padded, _WINDOW, axis=0)
    window, edges = np.hanning(_WINDOW), np.geomspace(_LOWEST, rate / 2, _BANDS + 1) * _WINDOW / rate
    bands = [_bands(views[starts[at : at + _BATCH]] * window, edges) for at in range(0, frames, _BATCH)]
    return np.concatenate(bands).T


def _bands(windowed: Picture, edges: Picture) -> Picture:
    """Power density in each band: differences of the cumulated spectrum, so that no narrow line falls between bands."""
    power = np.square(np.abs(np.fft.rfft(windowed))).mean(axis=1)
    cumulated = np.pad(np.cumsum(power, axis=1), ((0, 0), (1, 0)))
    places = np.arange(cumulated.shape[1]) - 0.5
    return np.diff([np.interp(edges, places, each) for each in cumulated], axis=1) / np.diff(edges)
