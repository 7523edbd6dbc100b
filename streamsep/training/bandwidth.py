"""Where a recording ends in frequency: the steep edge of resampling or lossy coding, not a sound's own fall."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_SIZE = 4096
_FRAMES = 400  # spectra that are looked at, spread over the recording
_GUARD, _NEAR, _SPAN = 300.0, 300.0, 1200.0  # Hz from the edge; and over which levels beside it and above it are taken
_DROP, _RANGE = 25.0, (4000.0, 16000.0)  # dB; Hz: above it there is little to ask
_NOTHING = 60.0  # dB below the loudest part of the spectrum
_FLOOR = -5.0  # dB in these units, of 16 bits rounded twice, with dither: nothing too, however quiet the recording

MEASURE = 2  # raised where the same recording would be measured otherwise


def measure_bandwidth(samples: NDArray[np.int16], rate: int) -> float:
    """The frequency in Hz above which the recording `[T, C]` holds nothing, infinite where there is no such edge.

    An edge is where the mean spectrum falls by more than 25 dB within 600 Hz, to next to nothing, and stays down. A
    bass, a singer or an amplifier has no treble either, but loses it slowly: there its silence is the truth.
    """
    spectrum = _mean_spectrum(samples)
    if spectrum is None:
        return np.inf
    width = rate / _SIZE
    guard, near, span = (round(hertz / width) for hertz in (_GUARD, _NEAR, _SPAN))
    beside, far = _levels(spectrum, near), _levels(spectrum, span)
    edges = np.arange(round(_RANGE[0] / width), round(_RANGE[1] / width))
    above = np.maximum.accumulate(far[::-1])[::-1][edges + guard]
    drops = beside[edges - guard - near] - np.maximum(above, beside[edges + guard])
    drops[above > max(far.max() - _NOTHING, _FLOOR)] = 0.0
    return float(edges[drops.argmax()] * width) - _GUARD if drops.max() > _DROP else np.inf


def _levels(spectrum: NDArray[np.float64], bins: int) -> NDArray[np.float64]:
    """Mean power in dB of so many bins from each on."""
    total = np.concatenate(([0.0], np.cumsum(spectrum)))
    levels: NDArray[np.float64] = 10 * np.log10((total[bins:] - total[:-bins]) / bins + 1e-9)
    return levels


def _mean_spectrum(samples: NDArray[np.int16]) -> NDArray[np.float64] | None:
    """Mean power of the bins over the louder half of the frames looked at; None for silence."""
    count = len(samples) // _SIZE
    if not count:
        return None
    starts = np.linspace(0, count - 1, min(count, _FRAMES)).astype(int) * _SIZE
    window = np.hanning(_SIZE)[:, None]
    powers = np.array([_power(samples[start : start + _SIZE] * window) for start in starts])
    loud = powers.sum(1) >= np.median(powers.sum(1))
    return powers[loud].mean(0) if powers.sum() > 0 else None


def _power(frame: NDArray[np.float64]) -> NDArray[np.float64]:
    power: NDArray[np.float64] = np.square(np.abs(np.fft.rfft(frame, axis=0))).mean(1) / _SIZE
    return power
