"""How a voice moves between the notes: portamento, scoops, vibrato, drift, and the loudness of a phrase."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from streamsep.training.clips import Generator, Samples
from streamsep.training.songs.resinging import STEP

MIDDLE_A = 440.0


@dataclass(frozen=True)
class Sung:
    """A sung note: seconds of start and stop, MIDI pitch, velocity 0 to 1; `tied`: on the last one's syllable."""

    start: float
    stop: float
    pitch: float
    velocity: float
    tied: bool = False


@dataclass(frozen=True)
class Delivery:
    """How a singer sings.

    Attributes:
        glide: seconds from one note to the next.
        scoop: semitones below a phrase's first note from which it is reached.
        vibrato: cents to either side, in held notes.
        rate: Hz of the vibrato.
        wait: seconds before a held note begins to tremble.
        drift: cents of slow wandering.
        swell: dB between a phrase's middle and its ends.
        tuned: pitch in steps, without glide, drift and vibrato, as a pitch corrector leaves it.
    """

    glide: float = 0.07
    scoop: float = 0.0
    vibrato: float = 30.0
    rate: float = 5.5
    wait: float = 0.25
    drift: float = 8.0
    swell: float = 3.0
    tuned: bool = False


def draw_delivery(rng: Generator) -> Delivery:
    """A random singer's way."""
    return Delivery(
        glide=float(rng.uniform(0.03, 0.14)),
        scoop=float(rng.choice((0.0, 0.0, 0.5, 1.5, 3.0))),
        vibrato=float(rng.choice((0.0, 12.0, 25.0, 40.0, 70.0))),
        rate=float(rng.uniform(4.6, 6.6)),
        wait=float(rng.uniform(0.1, 0.5)),
        drift=float(rng.uniform(3, 14)),
        swell=float(rng.uniform(0, 6)),
        tuned=bool(rng.random() < 0.15),
    )


def contour(notes: list[Sung], seconds: float, delivery: Delivery, rng: Generator) -> Samples:
    """Hz of every 2 ms of `seconds`: the notes, joined and alive. `notes` in order of time, at least one."""
    time = np.arange(int(seconds / STEP) + 1) * STEP
    starts = np.array([note.start for note in notes])
    place = np.maximum(np.searchsorted(starts, time, "right") - 1, 0)
    pitch = np.array([note.pitch for note in notes], np.float64)[place]
    if delivery.tuned:
        return _hertz(pitch)
    for before, after in pairwise(notes):
        _glide(pitch, before, after, delivery.glide)
    if delivery.scoop:
        for number, note in enumerate(notes):
            if number == 0 or note.start - notes[number - 1].stop > 0.15:
                _scoop(pitch, note, delivery.scoop)
    since = time - starts[place]
    length = np.array([note.stop - note.start for note in notes])[place]
    pitch += _vibrato(time, since, length, delivery) + _drift(len(time), delivery.drift, rng)
    return _hertz(pitch)


def loudness(notes: list[Sung], seconds: float, delivery: Delivery) -> Samples:
    """Gain of every 2 ms: the notes' velocities, gliding, and an arch over the phrase that the notes are."""
    time = np.arange(int(seconds / STEP) + 1) * STEP
    middles = [(note.start + note.stop) / 2 for note in notes]
    level = np.interp(time, middles, [12 * (note.velocity - 0.8) for note in notes])
    first, last = notes[0].start, notes[-1].stop
    arch = np.sin(np.pi * np.clip((time - first) / max(last - first, 0.1), 0, 1)) - 1
    return (10 ** ((level + delivery.swell * arch) / 20)).astype(np.float32)


def _hertz(pitch: np.ndarray) -> Samples:
    return (MIDDLE_A * 2 ** ((pitch - 69) / 12)).astype(np.float32)


def _glide(pitch: np.ndarray, before: Sung, after: Sung, seconds: float) -> None:
    """A smooth step that is through two thirds of its way when the note begins."""
    seconds = min(seconds, 0.5 * (after.start - before.start))
    first = max(int((after.start - 0.6 * seconds) / STEP), 0)
    last = min(int((after.start + 0.4 * seconds) / STEP) + 1, len(pitch))
    if last - first > 1:
        way = 0.5 - 0.5 * np.cos(np.pi * np.linspace(0, 1, last - first))
        pitch[first:last] = before.pitch + (after.pitch - before.pitch) * way


def _scoop(pitch: np.ndarray, note: Sung, semitones: float) -> None:
    first = max(int((note.start - 0.15) / STEP), 0)
    last = min(int((note.start + 0.3) / STEP), len(pitch))
    time = np.arange(first, last) * STEP - note.start
    pitch[first:last] -= semitones * np.clip(np.exp(-(time + 0.02) / 0.05), 0, 1)


def _vibrato(time: np.ndarray, since: np.ndarray, length: np.ndarray, delivery: Delivery) -> np.ndarray:
    depth = delivery.vibrato / 100 * np.clip((since - delivery.wait) / 0.3, 0, 1) * (length > delivery.wait + 0.2)
    return np.asarray(depth * np.sin(2 * np.pi * delivery.rate * np.maximum(since - delivery.wait, 0)))


def _drift(count: int, cents: float, rng: Generator) -> np.ndarray:
    """Noise of about 2 Hz, of `cents` RMS."""
    knots = rng.normal(0, cents / 100, int(count * STEP * 4) + 3)
    return np.interp(np.arange(count) * STEP * 4, np.arange(len(knots)), knots)
