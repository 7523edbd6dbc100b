"""Instruments that nobody recorded: plucked strings and struck bars by their partials, and synthesisers.

What an instrument is like is drawn from its seed; each of its keys is made once, when it is first played.
Partials of a stiff plucked string: N. Fletcher and T. Rossing, The Physics of Musical Instruments, sections 2.8, 2.18.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from streamsep.training.clips import RATE, Generator, Samples
from streamsep.training.practice_samples import fade_out
from streamsep.training.songs.made_tones import Wave, band, burst, saw, uneven

LONGEST = 4.0  # seconds of a key
_BAR = np.array([1, 2.76, 5.4, 8.93])  # the modes of a free bar
_SLOW = ("synth pad", "strings", "synth strings")
_STRUCK = ("piano", "electric piano", "mallets", "harpsichord", "synth keys")
_PLUCKED = ("guitar", "bass", "banjo")

Make = Callable[[float, Generator], Wave]


class MadeInstrument:
    """An instrument of a family of sounds, drawn from a seed.

    Args:
        family: a key of `sounds.PROGRAMS`; says what kind of instrument it is.
        seed: of all that makes it this one.
    """

    def __init__(self, family: str, seed: int) -> None:
        self.seed, kind = seed, kind_of(family)
        rng = np.random.default_rng(seed)
        self.release = uneven(0.03, 0.4 if family in _SLOW else 0.12, rng)
        self._make = _KINDS[kind](rng, family)
        self._keys: dict[int, Samples] = {}

    def note(self, pitch: int, velocity: float, seconds: float, rng: Generator) -> Samples:
        """A note `[2, T]`; pitch is a MIDI key, velocity 0..1. Notes longer than `LONGEST` end there."""
        if pitch not in self._keys:
            sound = self._make(440 * 2 ** ((pitch - 69) / 12), np.random.default_rng([self.seed, pitch]))
            stereo = np.broadcast_to(sound, (2, sound.shape[-1])) / max(float(np.abs(sound).max()), 1e-9)
            self._keys[pitch] = stereo.astype(np.float32)
        note = self._keys[pitch][:, : round((seconds + self.release) * RATE)].copy()
        return fade_out(note, self.release) * np.float32((0.35 + 0.65 * velocity) * rng.uniform(0.9, 1.0))


def kind_of(family: str) -> str:
    """What makes the sound of a family: "string", "bar" or "synth"."""
    if family.startswith("synth bass"):
        return "synth"
    if family in _STRUCK:
        return "bar"
    return "string" if family.endswith(_PLUCKED) else "synth"


def _string(rng: Generator, family: str) -> Make:
    """A plucked string: where it is plucked and picked up, how stiff it is, and how soon its overtones die."""
    pluck, pickup = rng.uniform(0.06, 0.45), rng.uniform(0.03, 0.3) if rng.random() < 0.7 else 0.0
    tilt, stiffness = rng.uniform(0.7, 2.0), 10 ** rng.uniform(-5, -3.4)
    ringing, damping = uneven(0.3, 4, rng), uneven(3, 25, rng)
    noise, edge = rng.uniform(0, 0.3), uneven(1000, 6000, rng)

    def make(pitch: float, drawn: Generator) -> Wave:
        number = np.arange(1, max(int(min(9000 / pitch, 50)), 2) + 1)
        loud = np.abs(np.sin(np.pi * number * pluck)) / number**tilt
        loud *= np.abs(np.sin(np.pi * number * pickup)) if pickup else 1
        decays = ringing * (100 / pitch) ** 0.4 / (1 + (number / damping) ** 1.5)
        sound = _partials(pitch * number * np.sqrt(1 + stiffness * number**2), loud, decays, drawn)
        sound /= np.abs(sound).max()
        sound[: RATE // 10] += noise * burst(0.1, 0.006, (edge / 3, edge), drawn)
        return sound

    return make


def _bar(rng: Generator, family: str) -> Make:
    """A struck string or bar: harmonic partials, or those of a bar, or neither."""
    number = np.arange(1, 25)
    shape = rng.random()
    ratios = number * np.sqrt(1 + 10 ** rng.uniform(-5, -3) * number**2)
    if family == "mallets" or shape < 0.15:
        ratios = np.concatenate([[1], _BAR[1:] * rng.uniform(0.97, 1.03, len(_BAR) - 1)])
    elif shape < 0.3:
        ratios = np.concatenate([[1], np.sort(rng.uniform(1.5, 9, 6))])
    loud = rng.uniform(0.3, 1, len(ratios)) / ratios ** rng.uniform(0.5, 2.2)
    ringing, slope = uneven(0.15, 3, rng), rng.uniform(0.3, 1.2)

    def make(pitch: float, drawn: Generator) -> Wave:
        decays = ringing * (200 / pitch) ** 0.3 / ratios**slope
        sound = _partials(pitch * ratios, loud, decays, drawn)
        return np.asarray(sound * np.minimum(np.arange(len(sound)) / (0.001 * RATE), 1))

    return make


def _partials(frequency: Wave, loud: Wave, decays: Wave, rng: Generator) -> Wave:
    """A sum of decaying sines `[T]`, of those below 18 kHz."""
    time = np.arange(round(min(LONGEST, 6 * float(decays.max())) * RATE)) / RATE
    sound = np.zeros(len(time))
    for hertz, part, decay in zip(frequency, loud, decays, strict=True):
        if hertz < 18000:
            count = min(round(7 * decay * RATE), len(time))
            tone = np.sin(2 * np.pi * hertz * time[:count] + rng.uniform(0, 2 * np.pi))
            sound[:count] += part * tone * np.exp(-time[:count] / decay)
    return sound


def _synth(rng: Generator, family: str) -> Make:
    """A subtractive or frequency-modulating synthesiser: voices beside each other, a filter that closes, vibrato."""
    slow = family in _SLOW
    voices, spread = (int(rng.integers(1, 6)), rng.uniform(0.02, 0.12)) if "bass" not in family else (1, 0.0)
    width = float(rng.choice([0.0, 0.0, 0.5, rng.uniform(0.1, 0.4)]))
    modulation = (float(rng.choice([0.5, 1, 2, 3, 3.5])), rng.uniform(0.3, 4)) if rng.random() < 0.25 else None
    rise = uneven(0.08, 0.8, rng) if slow else uneven(0.002, 0.08, rng)
    bright, dark, closing = uneven(4, 40, rng), uneven(1.5, 6, rng), uneven(0.05, 2, rng)
    rate, depth, late = rng.uniform(4, 6.5), rng.uniform(0, 0.35) * (rng.random() < 0.5), rng.uniform(0.1, 0.6)
    sustain, fading = rng.uniform(0.4, 1), uneven(0.1, 1.5, rng)

    def make(pitch: float, drawn: Generator) -> Wave:
        time = np.arange(round(LONGEST * RATE)) / RATE
        bend = depth * np.minimum(time / late, 1) ** 2 * np.sin(2 * np.pi * rate * time)
        out = np.zeros((2, len(time)))
        for voice in range(voices):
            away = spread * (voice - (voices - 1) / 2)
            hertz = pitch * 2 ** ((bend + away) / 12)
            tone = _modulated(hertz, modulation, time) if modulation else saw(hertz, drawn.random(), width)
            place = 0.5 + (0.4 * (-1) ** voice * voice / voices if voices > 1 else 0)
            out += np.array([[1 - place], [place]]) * tone
        closed = np.exp(-time / closing)
        open_, shut = (np.stack([band(side, 20, min(pitch * edge, 16000)) for side in out]) for edge in (bright, dark))
        swell = np.minimum(time / rise, 1) * (sustain + (1 - sustain) * np.exp(-time / fading))
        return np.asarray((open_ * closed + shut * (1 - closed)) * swell)

    return make


def _modulated(hertz: Wave, modulation: tuple[float, float], time: Wave) -> Wave:
    ratio, index = modulation
    turn = 2 * np.pi * np.cumsum(hertz) / RATE
    return np.asarray(np.sin(turn + index * np.exp(-time) * np.sin(ratio * turn)))


_KINDS: Mapping[str, Callable[[Generator, str], Make]] = {"string": _string, "bar": _bar, "synth": _synth}
