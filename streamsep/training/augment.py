"""What is done to one stem's crop `[2, T]`, float32: speed, pan, doubling, a small room, polarity, swap, gain."""

from __future__ import annotations

import numpy as np
import soxr

from streamsep.training.clips import BLOCK, Clip, Generator, Samples


def crop_start(clip: Clip, frames: int, prefer_active: bool, rng: Generator) -> int:
    """A random start; with `prefer_active` among those whose crop sounds for a good part of its time."""
    last = max(clip.length - frames, 0)
    blocks = max(frames // BLOCK, 1)
    if not prefer_active or len(clip.envelope) <= blocks:
        return int(rng.integers(0, last + 1))
    total = np.concatenate(([0], np.cumsum(clip.active)))
    sounding = (total[blocks:] - total[:-blocks]) / blocks
    starts = np.flatnonzero(sounding >= min(0.4, 0.9 * sounding.max()))
    start = int(rng.choice(starts)) * BLOCK + int(rng.integers(0, BLOCK))
    return min(start, last)


def read_at_speed(clip: Clip, start: int, frames: int, speed: float) -> Samples:
    """`frames` samples played `speed` times as fast (pitch and tempo together)."""
    if speed == 1.0:
        return clip.read(start, frames)
    source = clip.read(start, int(np.ceil(frames * speed)) + 64)
    fast = soxr.resample(source.T, speed, 1.0, quality="LQ").T[:, :frames]
    return np.pad(fast, ((0, 0), (0, frames - fast.shape[1])))


def decibels(low: float, high: float, rng: Generator) -> float:
    """A gain factor drawn evenly between two levels in dB."""
    return float(10 ** (rng.uniform(low, high) / 20))


def flip_and_swap(stem: Samples, rng: Generator) -> Samples:
    """Invert the polarity, and exchange left and right, each every second time."""
    stem = stem[::-1] if rng.random() < 0.5 else stem
    return -stem if rng.random() < 0.5 else stem


def place_voice(voice: Samples, rng: Generator) -> Samples:
    """A dry solo recording as it may stand in a song: near the middle, sometimes doubled, sometimes in a room."""
    placed = pan(voice, float(rng.uniform(-0.3, 0.3)))
    if rng.random() < 0.3:
        side = float(rng.choice((-0.8, 0.8)))
        for position, delay in ((side, 0.012), (-side, 0.021)):
            copy = pan(_delay(voice, int(44100 * delay * rng.uniform(0.8, 1.3))), position)
            placed = placed + np.float32(rng.uniform(0.3, 0.7)) * copy
    if rng.random() < 0.6:
        placed = placed + _room(placed, float(rng.uniform(0.1, 0.5)), rng)
    return placed


def pan(stem: Samples, position: float) -> Samples:
    """Turn the balance to `position`, -1 left to 1 right, at constant power."""
    angle = (position + 1) * np.pi / 4
    return stem * (2**0.5 * np.array([[np.cos(angle)], [np.sin(angle)]])).astype(np.float32)


def _room(stem: Samples, wet: float, rng: Generator, taps: int = 8) -> Samples:
    """Sparse decaying echoes, different left and right: far cheaper than a convolution, enough to lose dryness."""
    out = np.zeros_like(stem)
    for delay in rng.uniform(0.011, 0.22, taps):
        gain = wet * 10 ** (-delay / 0.2) * float(rng.choice((-1.0, 1.0)))
        for channel in (0, 1):
            shift = int(44100 * delay * rng.uniform(0.93, 1.07))
            out[channel, shift:] += np.float32(gain) * stem[channel, : max(stem.shape[1] - shift, 0)]
    return out


def _delay(stem: Samples, shift: int) -> Samples:
    return np.pad(stem, ((0, 0), (shift, 0)))[:, : stem.shape[1]]
