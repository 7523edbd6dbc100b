"""The desk's equalisers: second-order shelves and bells (Bristow-Johnson, "Audio EQ Cookbook"), and their chains."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from streamsep.errors import missing
from streamsep.training.clips import RATE, Generator, Samples


class Band(NamedTuple):
    """One knob of an equaliser: a shelf or bell of `gain` dB at `hertz`, or a cut of all that lies beyond it."""

    kind: Literal["low", "high", "bell", "low_cut", "high_cut"]
    hertz: float
    gain: float = 0.0
    q: float = 0.707


def equalise(sound: Samples, bands: Sequence[Band]) -> Samples:
    """`[C, T]` through all bands, one after the other.

    Raises:
        StreamsepError: scipy is missing.
    """
    if not bands:
        return sound
    try:
        from scipy.signal import sosfilt
    except ImportError:
        raise missing("scipy", "songs") from None
    return np.asarray(sosfilt(np.stack([section(band) for band in bands]), sound, axis=-1), np.float32)


def section(band: Band) -> NDArray[np.float64]:
    """The second-order section `[6]` of a band, as scipy writes it."""
    omega = 2 * np.pi * min(band.hertz, 0.45 * RATE) / RATE
    cos, alpha = np.cos(omega), np.sin(omega) / (2 * band.q)
    a = 10 ** (band.gain / 40)
    root = 2 * np.sqrt(a) * alpha
    match band.kind:
        case "bell":
            top, bottom = (1 + alpha * a, -2 * cos, 1 - alpha * a), (1 + alpha / a, -2 * cos, 1 - alpha / a)
        case "low_cut":
            top, bottom = ((1 + cos) / 2, -1 - cos, (1 + cos) / 2), (1 + alpha, -2 * cos, 1 - alpha)
        case "high_cut":
            top, bottom = ((1 - cos) / 2, 1 - cos, (1 - cos) / 2), (1 + alpha, -2 * cos, 1 - alpha)
        case _:
            sign = 1 if band.kind == "low" else -1
            up, down = a + 1, a - 1
            top = (
                a * (up - sign * down * cos + root),
                sign * 2 * a * (down - sign * up * cos),
                a * (up - sign * down * cos - root),
            )
            bottom = (
                up + sign * down * cos + root,
                -sign * 2 * (down + sign * up * cos),
                up + sign * down * cos - root,
            )
    return np.array([*top, *bottom]) / bottom[0]


def random_tone(rng: Generator, strength: float = 3.0) -> list[Band]:
    """Two shelves and two bells, each of `strength` dB in the root mean square."""
    gains = rng.normal(0, strength, 4)
    return [
        Band("low", float(rng.uniform(80, 250)), float(gains[0])),
        Band(
            "bell", float(np.exp(rng.uniform(np.log(200), np.log(900)))), float(gains[1]), float(rng.uniform(0.5, 1.5))
        ),
        Band(
            "bell", float(np.exp(rng.uniform(np.log(900), np.log(5000)))), float(gains[2]), float(rng.uniform(0.5, 1.5))
        ),
        Band("high", float(rng.uniform(4000, 10000)), float(gains[3])),
    ]
