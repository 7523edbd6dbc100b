"""What made sounds are made of: decays, bursts of noise, saws without mirrored overtones."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from streamsep.training.clips import RATE, Generator

Wave = NDArray[np.float64]  # made in double precision, heard in single


def uneven(low: float, high: float, rng: Generator) -> float:
    """A number between two, drawn evenly in its logarithm."""
    return float(low * (high / low) ** rng.random())


def falling(seconds: float, decay: float) -> Wave:
    """`[T]` from 1 down, by a factor of e in `decay` seconds."""
    return np.exp(-np.arange(round(seconds * RATE)) / (decay * RATE))


def band(sound: Wave, low: float, high: float) -> Wave:
    """A sound `[T]` between two frequencies in Hz, with slopes of 12 dB an octave."""
    frequency = np.maximum(np.fft.rfftfreq(2 * len(sound), 1 / RATE), 1.0)
    slopes = 1 / (1 + (low / frequency) ** 2) / (1 + (frequency / high) ** 2)
    return np.fft.irfft(np.fft.rfft(sound, 2 * len(sound)) * slopes)[: len(sound)]


def burst(seconds: float, decay: float, edges: tuple[float, float], rng: Generator) -> Wave:
    """Noise `[T]` between two frequencies that decays; peak 1."""
    noise = band(rng.standard_normal(round(seconds * RATE)), *edges) * falling(seconds, decay)
    return noise / max(np.abs(noise).max(), 1e-9)


def saw(frequency: Wave, phase: float, width: float) -> Wave:
    """A saw `[T]` of a frequency in Hz `[T]`; with `width` above 0 a pulse that is high for this part of a period.

    Steps are rounded over two samples (PolyBLEP; V. Välimäki and A. Huovilainen 2007, IEEE SPM 24(2)).
    """
    turn = frequency / RATE
    place = phase + np.cumsum(turn)
    return _ramp(place % 1, turn) - (_ramp((place + width) % 1, turn) if width else 0)


def _ramp(place: Wave, turn: Wave) -> Wave:
    after = np.minimum(place / turn, 1) - 1
    before = np.maximum((place - 1) / turn, -1) + 1
    return 2 * place - 1 + np.square(after) - np.square(before)
