"""What follows loudness: compressor, ducking by the kick, saturation, and the limiter of the bus."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from streamsep.training.clips import RATE, Samples

_BLOCK = 64  # samples between two values of a gain
Values = NDArray[np.float64]


def compress(sound: Samples, threshold: float, ratio: float, attack: float, release: float) -> Samples:
    """`[C, T]` compressed above `threshold` dBFS; `attack` and `release` in seconds; no make-up gain."""
    return sound * compressor_gain(sound, threshold, ratio, attack, release)


def compressor_gain(sound: Samples, threshold: float, ratio: float, attack: float, release: float) -> Samples:
    """The gain of every sample `[T]` by which a compressor turns `[C, T]` down."""
    over = np.maximum(20 * np.log10(_peaks(sound) + 1e-9) - threshold, 0)
    return _gain(-_follow(over, attack, release) * (1 - 1 / ratio), sound.shape[-1])


def ducking_gain(kick: Samples, depth: float, release: float) -> Samples:
    """The gain `[T]` that falls by `depth` dB at every stroke of `kick [C, T]` and comes back in `release` seconds."""
    level = _peaks(kick)
    loudest = float(level.max(initial=0.0))
    if loudest < 1e-5:
        return np.ones(kick.shape[-1], np.float32)
    struck = np.clip(2 * level / loudest - 0.4, 0, 1)
    return _gain(-depth * _follow(struck, 0.003, release), kick.shape[-1])


def saturate(sound: Samples, amount: float) -> Samples:
    """`[C, T]` bent as tape and transformers bend it, at about its own RMS; 0 leaves it alone, 4 is distortion."""
    level = float(np.sqrt(np.mean(np.square(sound))))
    if amount <= 0 or level < 1e-6:
        return sound
    unit = np.float32(amount / (6 * level))
    bent = np.tanh(sound * unit)
    return bent * np.float32(level / max(float(np.sqrt(np.mean(np.square(bent)))), 1e-9))


def limiter_gain(sound: Samples, ceiling: float) -> Samples:
    """The gain `[T]`, at most 1, that keeps every sample of `[C, T]` within `ceiling`; smooth over some milliseconds.

    The needed gain is spread by a running minimum over the same width over which it is smoothed, so that the smoothed
    gain is nowhere above the needed one.
    """
    from scipy.ndimage import minimum_filter1d

    needed = np.minimum(1.0, ceiling / np.maximum(_peaks(sound), 1e-9))
    reach = 4  # blocks to each side, 6 ms
    spread = minimum_filter1d(needed, 2 * reach + 3, mode="nearest")
    window = np.hanning(2 * reach + 3)[1:-1]
    smooth = np.convolve(np.pad(spread, reach, mode="edge"), window / window.sum(), mode="valid")
    return np.minimum(_spread(smooth, sound.shape[-1]), 1).astype(np.float32)


def _peaks(sound: Samples) -> Values:
    """Largest amplitude of each block."""
    peak = np.abs(sound).max(0)
    padded = np.pad(peak, (0, -len(peak) % _BLOCK))
    return padded.reshape(-1, _BLOCK).max(1).astype(np.float64)


def _follow(level: Values, attack: float, release: float) -> Values:
    """An envelope that rises within `attack` and falls within `release` seconds."""
    up, down = (1 - np.exp(-_BLOCK / (RATE * max(seconds, 1e-4))) for seconds in (attack, release))
    out, now = [], 0.0
    for value in level.tolist():
        now += (up if value > now else down) * (value - now)
        out.append(now)
    return np.array(out)


def _gain(decibels: Values, frames: int) -> Samples:
    return _spread(10 ** (decibels / 20), frames).astype(np.float32)


def _spread(values: Values, frames: int) -> Values:
    """A value for every sample, on straight lines between the middles of the blocks."""
    middles = np.arange(len(values)) * _BLOCK + (_BLOCK - 1) / 2
    return np.interp(np.arange(frames), middles, values)
