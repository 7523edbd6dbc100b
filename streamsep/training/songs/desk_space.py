"""Where a track stands: rooms and plates, echoes, left and right, and how wide."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from streamsep.training.clips import RATE, Generator, Samples


class Space(NamedTuple):
    """A room's answer `[2, N]`, of energy 1 in each channel."""

    response: Samples


def draw_space(rng: Generator, shortest: float = 0.2, longest: float = 2.5) -> Space:
    """A random room or plate: early reflections, then noise whose highs decay faster than its lows.

    `shortest` and `longest` are seconds in which the lows fall by 60 dB.
    """
    decay = float(np.exp(rng.uniform(np.log(shortest), np.log(longest))))
    pause = int(RATE * rng.uniform(0.0, 0.03 if decay < 0.8 else 0.08))
    count = int(min(1.1 * decay, 2.5) * RATE)
    time = np.arange(count) / RATE
    noise = rng.normal(size=(2, count)).astype(np.float32)
    shared = rng.normal(size=count).astype(np.float32)
    noise = noise + shared * np.float32(rng.uniform(0, 0.7))
    tail = sum(_band(noise, low, high) * 10 ** (-3 * time / (decay * part)) for low, high, part in _bands(rng))
    early = np.zeros((2, count), np.float32)
    for _ in range(int(rng.integers(4, 14))):
        at = int(RATE * rng.uniform(0.002, 0.06))
        if at + 12 < count:
            early[:, at : at + 12] += rng.normal(0, 0.3, (2, 1)) * np.hanning(12) * np.exp(-at / (0.03 * RATE))
    tail = np.asarray(tail * np.clip(time / 0.01, 0, 1), np.float32)
    both = tail / _energy(tail) + np.float32(rng.uniform(0, 1.2)) * early / _energy(early)
    response = np.pad(both, ((0, 0), (pause, 0))).astype(np.float32)
    return Space(response / np.float32(_energy(response)))


def reverberate(sound: Samples, space: Space) -> Samples:
    """The room's answer alone to `[2, T]`, cut at T."""
    from scipy.signal import oaconvolve

    return oaconvolve(sound, space.response, axes=1)[:, : sound.shape[1]].astype(np.float32)


def echo(sound: Samples, seconds: float, feedback: float, *, crossed: bool) -> Samples:
    """The echoes alone of `[2, T]`, each `feedback` times the last and duller; `crossed` exchanges left and right."""
    out = np.zeros_like(sound)
    step, copy, gain = int(seconds * RATE), sound, feedback
    for number in range(1, 7):
        if step * number >= sound.shape[1] or gain < 0.02:
            break
        copy = 0.6 * copy + 0.4 * np.roll(copy, 2, axis=1)
        turned = copy[::-1] if crossed and number % 2 else copy
        out[:, step * number :] += np.float32(gain) * turned[:, : sound.shape[1] - step * number]
        gain *= feedback
    return out


def balance(sound: Samples, position: float) -> Samples:
    """`[2, T]` moved to `position`, -1 left to 1 right: one side falls silent, the other takes half of it over."""
    if position > 0:
        return balance(sound[::-1], -position)[::-1]
    left, right = sound
    away = np.float32(-position)
    return np.stack([left + away * np.float32(0.5) * right, (1 - away) * right])


def widen_sides(sound: Samples, width: float) -> Samples:
    """`[2, T]` with its difference of left and right times `width`: 0 is mono, 1 as it was."""
    middle, side = sound.mean(0), (sound[0] - sound[1]) * np.float32(0.5 * width)
    return np.stack([middle + side, middle - side])


def _bands(rng: Generator) -> list[tuple[float, float, float]]:
    """(low, high, part of the decay) of the bands of a tail."""
    damping = float(rng.uniform(0.25, 0.9))
    return [(100.0, 800.0, 1.0), (800.0, 4000.0, 0.5 + 0.5 * damping), (4000.0, 14000.0, damping)]


def _band(noise: Samples, low: float, high: float) -> Samples:
    spectrum = np.fft.rfft(noise)
    hertz = np.fft.rfftfreq(noise.shape[1], 1 / RATE)
    spectrum *= np.clip((hertz - 0.7 * low) / (0.3 * low), 0, 1) * np.clip((1.3 * high - hertz) / (0.3 * high), 0, 1)
    return np.fft.irfft(spectrum, noise.shape[1]).astype(np.float32)


def _energy(response: NDArray[np.floating]) -> float:
    return max(float(np.sqrt(np.square(response, dtype=np.float64).sum(1).mean())), 1e-9)
