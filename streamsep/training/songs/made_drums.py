"""Drums that nobody recorded: swept sines, the modes of a struck skin, filtered noise and clusters of metal partials.

A stroke is drawn from its seed, so a song can have a kit that no other has. Modes of an ideal circular membrane: N.
Fletcher and T. Rossing, The Physics of Musical Instruments, table 3.1; the rest is the craft of analogue drum machines.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from streamsep.training.clips import RATE, Generator, Samples
from streamsep.training.practice_samples import Pieces, fade_out
from streamsep.training.songs.made_tones import Wave, band, burst, falling, uneven

_SKIN = np.array([1, 1.59, 2.14, 2.3, 2.65, 2.92])  # frequencies of a membrane's modes, as multiples of the lowest
_TOMS = {"tom1": (150, 260), "tom2": (115, 200), "tom3": (85, 150), "tom4": (60, 115)}  # Hz
_METAL = {  # seconds of decay, and the lowest of the noise in Hz
    "hat": ((0.02, 0.09), (4000, 9000)), "open": ((0.2, 0.7), (3500, 8000)), "crash": ((0.7, 2.2), (2000, 5000)),
    "ride": ((0.6, 1.6), (3000, 7000)),
}  # fmt: skip


@dataclass(frozen=True)
class MadeDrum:
    """One stroke on a drum drawn from a seed; what `load_sample` takes in place of a file."""

    piece: str
    seed: int

    def render(self) -> Samples:
        """The stroke `[1, T]` at 44.1 kHz, peak 0.9."""
        rng = np.random.default_rng([self.seed, sum(self.piece.encode())])
        sound = _MAKERS[self.piece](self.piece, rng)
        return fade_out((sound * (0.9 / max(np.abs(sound).max(), 1e-9))).astype(np.float32)[None], 0.01)


def made_kit(rng: Generator) -> Pieces:
    """A kit of which each piece is drawn anew."""
    return {piece: [(MadeDrum(piece, int(rng.integers(1 << 31))),)] for piece in _MAKERS}


def _kick(_: str, rng: Generator) -> Wave:
    lowest, decay = uneven(34, 75, rng), uneven(0.06, 0.6, rng)
    pitch = lowest * (1 + uneven(0.5, 6, rng) * falling(decay * 5, uneven(0.005, 0.06, rng)))
    body = _struck(pitch, decay, uneven(0.0005, 0.05, rng) if rng.random() < 0.3 else 0.0005)
    drive = uneven(0.5, 5, rng)
    body = np.tanh(drive * body) / np.tanh(drive)
    body[: RATE // 20] += rng.uniform(0, 0.5) * burst(
        0.05, uneven(0.001, 0.01, rng), (uneven(800, 5000, rng), 12000), rng
    )
    return body


def _tom(piece: str, rng: Generator) -> Wave:
    lowest, decay = uneven(*_TOMS[piece], rng), uneven(0.12, 0.6, rng)
    skin = _skin(lowest, decay, uneven(0.3, 1.2, rng), uneven(0.02, 0.5, rng), rng)
    return skin + rng.uniform(0, 0.4) * burst(len(skin) / RATE, uneven(0.005, 0.05, rng), (300, 6000), rng)


def _snare(_: str, rng: Generator) -> Wave:
    skin = _skin(uneven(140, 280, rng), uneven(0.03, 0.15, rng), uneven(0.3, 1.5, rng), uneven(0.02, 0.4, rng), rng)
    wires = burst(0.8, uneven(0.04, 0.22, rng), (uneven(500, 3000, rng), uneven(6000, 16000, rng)), rng)
    wires *= rng.uniform(0.25, 1.2)
    wires[: len(skin)] += skin[: len(wires)]
    return wires


def _metal(piece: str, rng: Generator) -> Wave:
    decays, edges = _METAL[piece]
    decay, edge = uneven(*decays, rng), uneven(*edges, rng)
    seconds = min(5 * decay, 4.0)
    sound = burst(seconds, decay, (edge, 18000), rng)
    time = np.arange(len(sound)) / RATE
    partials = sum(np.sign(np.sin(2 * np.pi * uneven(300, 6000, rng) * time)) for _ in range(int(rng.integers(4, 9))))
    ringing = band(np.asarray(partials) * np.exp(-time / decay), edge, 18000)
    sound += rng.uniform(0, 2) * ringing / max(np.abs(ringing).max(), 1e-9)
    if piece == "ride":
        sound[: RATE // 4] += rng.uniform(0, 0.5) * burst(0.25, uneven(0.01, 0.05, rng), (2000, 9000), rng)
    return sound


def _bell(_: str, rng: Generator) -> Wave:
    decay, lowest = uneven(0.05, 0.5, rng), uneven(450, 1500, rng)
    time = np.arange(round(5 * decay * RATE)) / RATE
    ratios = (1, rng.uniform(1.4, 1.55), rng.uniform(2.5, 2.9))
    return np.asarray(sum(np.sin(2 * np.pi * lowest * ratio * time) for ratio in ratios)) * np.exp(-time / decay)


def _rim(_: str, rng: Generator) -> Wave:
    click = burst(0.2, uneven(0.004, 0.02, rng), (uneven(400, 1500, rng), uneven(3000, 9000, rng)), rng)
    return click + rng.uniform(0, 1.5) * _skin(uneven(350, 1800, rng), uneven(0.008, 0.04, rng), 1, 0, rng, 0.2)


def _clap(_: str, rng: Generator) -> Wave:
    edges = uneven(500, 1200, rng), uneven(2500, 8000, rng)
    sound = burst(0.8, uneven(0.04, 0.2, rng), edges, rng)
    for start in np.cumsum(rng.uniform(0.006, 0.014, 3)):
        first = round(start * RATE)
        sound[first : first + RATE // 10] += burst(0.1, uneven(0.004, 0.01, rng), edges, rng)
    return sound


def _shaker(_: str, rng: Generator) -> Wave:
    sound = burst(0.4, uneven(0.02, 0.08, rng), (uneven(2000, 7000, rng), 16000), rng)
    rise = max(round(uneven(0.004, 0.04, rng) * RATE), 1)
    sound[:rise] *= np.linspace(0, 1, rise)
    return sound


_MAKERS: Mapping[str, Callable[[str, Generator], Wave]] = {
    "kick": _kick, "snare": _snare, "rim": _rim, "clap": _clap, "hat": _metal, "open": _metal, "crash": _metal,
    "ride": _metal, "bell": _bell, "shaker": _shaker, **dict.fromkeys(_TOMS, _tom),
}  # fmt: skip


def _struck(pitch: Wave, decay: float, rise: float) -> Wave:
    """A sine of pitch `[T]` Hz that rises for `rise` s, then decays."""
    time = np.arange(len(pitch)) / RATE
    return np.sin(2 * np.pi * np.cumsum(pitch) / RATE) * np.exp(-time / decay) * np.minimum(time / rise, 1)


def _skin(lowest: float, decay: float, tilt: float, bend: float, rng: Generator, seconds: float = 1.0) -> Wave:
    """A membrane struck off its centre: higher modes are softer and die sooner, and the pitch falls by `bend`."""
    sweep = 1 + bend * falling(seconds, 0.03)
    modes = zip(_SKIN, rng.uniform(0.3, 1, len(_SKIN)), strict=True)
    tones = (part * ratio**-tilt * _struck(lowest * ratio * sweep, decay / ratio, 0.0005) for ratio, part in modes)
    return np.asarray(sum(tones))
