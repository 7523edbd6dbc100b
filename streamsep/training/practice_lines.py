"""Bass lines, chords, arpeggios and riffs over random chord progressions, for sampled instruments."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from streamsep.training.clips import RATE, Generator, Samples
from streamsep.training.practice_samples import Instrument, fade_out

PROGRESSIONS = (  # (semitones above the tonic, chord) for each bar
    ((0, "minor"), (0, "minor"), (5, "seventh"), (5, "seventh")),
    ((0, "seventh"), (0, "seventh"), (0, "seventh"), (0, "seventh")),
    ((0, "major"), (7, "major"), (9, "minor"), (5, "major")),
    ((0, "minor"), (8, "major"), (3, "major"), (10, "major")),
    ((2, "minor"), (7, "seventh"), (0, "major"), (9, "minor")),
    ((0, "seventh"), (5, "seventh"), (0, "seventh"), (7, "seventh")),
    ((0, "minor"), (10, "major"), (8, "major"), (7, "seventh")),
)
CHORDS = {"major": (0, 4, 7), "minor": (0, 3, 7, 10), "seventh": (0, 4, 7, 10)}
SCALES = {"major": (0, 2, 4, 7, 9), "minor": (0, 3, 5, 7, 10), "seventh": (0, 2, 4, 7, 10)}


class Bar(NamedTuple):
    """The harmony of one bar: the root as a MIDI key in the part's lowest octave, its chord, and the next root."""

    root: int
    chord: str
    following: int


class Note(NamedTuple):
    """A note in beats: onset in its bar, length, MIDI key, velocity 0..1, semitones of glide up into it."""

    start: float
    length: float
    pitch: int
    velocity: float
    slide: float = 0.0


Style = Callable[[Bar, Generator], list[Note]]


def play_notes(
    instrument: Instrument, style: Style, harmony: tuple[Bar, ...], tempo: float, seconds: float, rng: Generator
) -> Samples:
    """`[2, seconds]` of a style over a harmony that repeats, at `tempo` beats a minute; no level is kept."""
    out = np.zeros((2, round((seconds + 6) * RATE)), np.float32)
    beat, loose = 60 / tempo, float(rng.uniform(0.001, 0.008))
    for bar in range(int(seconds / (4 * beat))):
        for note in style(harmony[bar % len(harmony)], rng):
            time = (4 * bar + note.start) * beat + float(rng.normal(0, loose))
            velocity = float(np.clip(note.velocity * rng.normal(1, 0.1), 0.08, 1.0))
            sound = instrument.note(note.pitch, velocity, min(note.length * beat, 5.0), rng, note.slide)
            start = max(round(time * RATE), 0)
            out[:, start : start + sound.shape[1]] += sound
    return fade_out(out[:, : round(seconds * RATE)].copy(), 0.3)


def draw_harmony(lowest: int, rng: Generator) -> tuple[Bar, ...]:
    """A progression in a random key, its roots within an octave above the MIDI key `lowest`."""
    tonic, chords = int(rng.integers(12)), PROGRESSIONS[int(rng.integers(len(PROGRESSIONS)))]
    roots = [lowest + (tonic + step - lowest) % 12 for step, _ in chords]
    names = [name for _, name in chords]
    return tuple(map(Bar, roots, names, [*roots[1:], roots[0]]))


def root_fifth(bar: Bar, rng: Generator) -> list[Note]:
    """Root and fifth on one and three, with a pick-up now and then."""
    notes = [Note(0, 1.6, bar.root, 0.8), Note(2, 1.4, bar.root + 7, 0.7)]
    return notes + ([Note(3.5, 0.45, bar.root + 7, 0.6)] if rng.random() < 0.5 else [])


def walking(bar: Bar, rng: Generator) -> list[Note]:
    """Four quarters: root, chord tones, and a half step into the next root."""
    chord = CHORDS[bar.chord]
    inner = [bar.root + int(chord[int(rng.integers(len(chord)))]) for _ in range(2)]
    lead = bar.following + (1 if rng.random() < 0.5 else -1)
    skips = [Note(beat + 0.67, 0.25, inner[0], 0.4) for beat in (1, 2) if rng.random() < 0.15]
    return [Note(i, 0.92, pitch, 0.75) for i, pitch in enumerate((bar.root, *inner, lead))] + skips


def funk_bass(bar: Bar, rng: Generator) -> list[Note]:
    """Sixteenths with rests around a strong one: roots, octaves, sevenths, short ghost notes, octave slides."""
    notes = [Note(0, float(rng.choice((0.3, 0.7))), bar.root, 0.95)]
    tones = (0, 0, 12, 12, 7, SCALES[bar.chord][-1], 5)
    for step in range(2, 16):
        if rng.random() < (0.5 if step % 4 in (2, 3) else 0.3):
            ghost = rng.random() < 0.2
            tone = int(tones[int(rng.integers(len(tones)))])
            slide = 12.0 if tone == 12 and rng.random() < 0.12 else 0.0
            length = 0.07 if ghost else float(rng.choice((0.15, 0.22, 0.4)))
            notes.append(Note(step / 4, length, bar.root + tone, 0.35 if ghost else 0.8, slide))
    return notes


def held(bar: Bar, rng: Generator) -> list[Note]:
    """One long note, sometimes slid into, sometimes with its fifth or octave late in the bar."""
    slide = float(rng.choice((0, 0, 0, 2, 5)))
    later = [Note(3, 0.9, bar.root + int(rng.choice((7, 12))), 0.6)] if rng.random() < 0.4 else []
    return [Note(0, 2.9 if later else 3.9, bar.root, 0.75, slide), *later]


def eighths(bar: Bar, rng: Generator) -> list[Note]:
    """Driving eighth notes on the root, with a run to the next."""
    last = bar.following + int(rng.choice((-2, -1, 2)))
    pitches = [bar.root] * 7 + [last if rng.random() < 0.5 else bar.root]
    return [Note(i / 2, 0.46, pitch, 0.85 if i % 2 == 0 else 0.7) for i, pitch in enumerate(pitches)]


def octaves(bar: Bar, rng: Generator) -> list[Note]:
    """Low and high by turns in eighths."""
    length = float(rng.choice((0.25, 0.42)))
    return [Note(i / 2, length, bar.root + 12 * (i % 2), 0.8) for i in range(8)]


def reggae_bass(bar: Bar, rng: Generator) -> list[Note]:
    """Sparse and off the one, of chord tones."""
    starts = [start for start in (0.0, 0.75, 1.5, 2.0, 2.5, 3.25) if rng.random() < 0.6] or [2.0]
    chord = CHORDS[bar.chord]
    return [Note(s, 0.5, bar.root + int(chord[int(rng.integers(3))]), 0.8) for s in starts]


def _strike(bar: Bar, start: float, length: float, velocity: float, rng: Generator, spread: float) -> list[Note]:
    """A chord from the root's octave up, its notes one after the other within `spread` beats, up or down."""
    tones = [bar.root + tone for tone in CHORDS[bar.chord]] + [bar.root + 12, bar.root + 12 + CHORDS[bar.chord][1]]
    order = tones if rng.random() < 0.6 else tones[::-1]
    return [Note(start + spread * i / len(order), length, pitch, velocity) for i, pitch in enumerate(order)]


def strummed(bar: Bar, rng: Generator) -> list[Note]:
    """Eighth-note strumming with gaps."""
    starts = [i / 2 for i in range(8) if i == 0 or rng.random() < 0.65]
    hits = [_strike(bar, s, 0.6, 0.75 if s % 1 == 0 else 0.5, rng, 0.05) for s in starts]
    return [note for hit in hits for note in hit]


def chopped(bar: Bar, rng: Generator) -> list[Note]:
    """Sixteenth-note chops, high and short, some of them hardly sounding."""
    high = bar._replace(root=bar.root + 12)
    hits = [
        _strike(high, step / 4, 0.05 if rng.random() < 0.4 else 0.18, float(rng.choice((0.35, 0.8))), rng, 0.015)
        for step in range(16) if rng.random() < 0.55
    ]  # fmt: skip
    return [note for hit in hits for note in hit[:3]]


def arpeggio(bar: Bar, rng: Generator) -> list[Note]:
    """Broken chords in eighths or sixteenths, ringing into each other."""
    tones = [bar.root + tone for tone in (*CHORDS[bar.chord], 12, 16 if bar.chord != "minor" else 15)]
    walk, grid = (tones + tones[-2:0:-1]), int(rng.choice((2, 2, 4)))
    return [Note(i / grid, 1.2, walk[i % len(walk)], 0.65) for i in range(4 * grid)]


def power_riff(bar: Bar, rng: Generator) -> list[Note]:
    """Root, fifth and octave in eighths, held or cut short; meant for an overdriven guitar."""
    starts = [i / 2 for i in range(8) if i == 0 or rng.random() < 0.7]
    length = float(rng.choice((0.2, 0.45, 1.5)))
    return [Note(s, length, bar.root + tone, 0.9) for s in starts for tone in (0, 7, 12)]


def pad(bar: Bar, rng: Generator) -> list[Note]:
    """One chord a bar, let ring."""
    return _strike(bar, 0, 3.9, 0.6, rng, float(rng.choice((0.02, 0.1, 0.5))))


def off_beat(bar: Bar, rng: Generator) -> list[Note]:
    """Short chords between the beats."""
    high = bar._replace(root=bar.root + 12)
    return [note for beat in range(4) for note in _strike(high, beat + 0.5, 0.2, 0.7, rng, 0.01)[:4]]


def melody(bar: Bar, rng: Generator) -> list[Note]:
    """A lead line on the pentatonic scale in the second and third octave, with rests and slides."""
    scale = [bar.root + 12 * octave + step for octave in (1, 2) for step in SCALES[bar.chord]]
    place, start, notes = int(rng.integers(len(scale))), 0.0, []
    while start < 3.9:
        length = float(rng.choice((0.25, 0.5, 0.5, 1.0)))
        place = int(np.clip(place + rng.integers(-2, 3), 0, len(scale) - 1))
        if rng.random() < 0.8:
            notes.append(Note(start, length, scale[place], 0.75, float(rng.choice((0, 0, 0, 2)))))
        start += length
    return notes


BASS_STYLES: tuple[Style, ...] = (root_fifth, walking, funk_bass, eighths, funk_bass, held, octaves, reggae_bass)
CHORD_STYLES: tuple[Style, ...] = (strummed, chopped, arpeggio, pad, off_beat, melody, chopped)
