"""What a bass plays in one bar: lines that follow the kick, drive, walk, bounce, slap or hold."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from streamsep.training.clips import Generator
from streamsep.training.songs.harmony import Bar, Chord, placed


class Hit(NamedTuple):
    """A note inside a bar: onset and length in beats, MIDI key, velocity 0..1."""

    start: float
    length: float
    pitch: float
    velocity: float


class Ground(NamedTuple):
    """What a bass line stands on: the bar, the lowest key it may play, and the beats on which the kick falls."""

    bar: Bar
    lowest: int
    kicks: Sequence[float]

    def root(self, beat: float) -> int:
        """The root under a beat."""
        return placed(self.bar.at(beat).root, self.lowest)

    @property
    def approach(self) -> int:
        """A half or whole step below the root that follows, within the octave above `lowest`."""
        return placed(self.bar.following.root, self.lowest)


BassLine = Callable[[Ground, Generator], list[Hit]]


def with_kick(ground: Ground, rng: Generator) -> list[Hit]:
    """A note on every kick, held to the next; fifths and octaves now and then."""
    starts = sorted({0.0, *ground.kicks})
    ends = [*starts[1:], float(ground.bar.beats)]
    short = float(rng.choice((0.5, 0.9, 1.0)))
    return [
        Hit(s, (e - s) * short, _coloured(ground.root(s), s, ground.bar.at(s), rng), 0.85 if s % 1 == 0 else 0.7)
        for s, e in zip(starts, ends, strict=True)
    ]


def eighths(ground: Ground, rng: Generator) -> list[Hit]:
    """Driving eighths on the root, with a step into the next chord."""
    count, lead = 2 * ground.bar.beats, ground.approach + int(rng.choice((-2, -1, 2)))
    led = rng.random() < 0.35
    pitches = [lead if led and i == count - 1 else ground.root(i / 2) for i in range(count)]
    length = float(rng.choice((0.3, 0.44, 0.48)))
    return [Hit(i / 2, length, p, 0.88 if i % 2 == 0 else 0.72) for i, p in enumerate(pitches)]


def sixteenths(ground: Ground, rng: Generator) -> list[Hit]:
    """Metal gallops: an eighth and two sixteenths a beat, or sixteen of them."""
    inner = (0.0, 0.5, 0.75) if rng.random() < 0.6 else (0.0, 0.25, 0.5, 0.75)
    starts = [beat + part for beat in range(ground.bar.beats) for part in inner]
    return [Hit(s, 0.22, ground.root(s), 0.9 if s % 1 == 0 else 0.75) for s in starts]


def root_fifth(ground: Ground, rng: Generator) -> list[Hit]:
    """Root and fifth by turns on one and three, with a pick-up."""
    half = ground.bar.beats / 2
    low = ground.root(half)
    notes = [Hit(0, half * 0.8, ground.root(0), 0.8), Hit(half, half * 0.7, low + int(rng.choice((0, 7, -5))), 0.72)]
    return notes + ([Hit(2 * half - 0.5, 0.45, ground.approach - 1, 0.6)] if rng.random() < 0.4 else [])


def walking(ground: Ground, rng: Generator) -> list[Hit]:
    """Quarters: root, chord and scale tones, and a step into the next root; a skipped eighth now and then."""
    beats = ground.bar.beats
    pitches = [ground.root(0)]
    for beat in range(1, beats - 1):
        chord = ground.bar.at(beat)
        tones = [placed((chord.root + tone) % 12, ground.lowest) + 12 * o for tone in chord.tones for o in (0, 1)]
        near = sorted(tones, key=lambda tone: abs(tone - pitches[-1]) + 99 * (tone == pitches[-1]))[:3]
        pitches.append(near[int(rng.integers(len(near)))])
    pitches.append(ground.approach + int(rng.choice((-1, 1))))
    skips = [Hit(b + 0.5, 0.3, pitches[b], 0.45) for b in range(beats) if rng.random() < 0.12]
    return sorted([Hit(i, 0.93, p, 0.78) for i, p in enumerate(pitches)] + skips)


def funk(ground: Ground, rng: Generator) -> list[Hit]:
    """Sixteenths with rests around a strong one: roots, octaves, sevenths, dead notes."""
    notes = [Hit(0, float(rng.choice((0.3, 0.7))), ground.root(0), 0.98)]
    for step in range(2, 4 * ground.bar.beats):
        start = step / 4
        if rng.random() < (0.55 if start in ground.kicks else 0.4 if step % 4 in (2, 3) else 0.2):
            dead = rng.random() < 0.2
            tone = int(rng.choice((0, 0, 12, 12, 7, 10, 5, 3)))
            notes.append(Hit(start, 0.06 if dead else float(rng.choice((0.15, 0.22, 0.4))), ground.root(start) + tone,
                             0.3 if dead else float(rng.uniform(0.7, 0.95))))  # fmt: skip
    return notes


def held(ground: Ground, rng: Generator) -> list[Hit]:
    """One long note a chord."""
    half = ground.bar.beats / 2
    if ground.bar.first == ground.bar.second:
        return [Hit(0, 2 * half * 0.96, ground.root(0), 0.75)]
    return [Hit(0, half * 0.95, ground.root(0), 0.78), Hit(half, half * 0.95, ground.root(half), 0.74)]


def octaves(ground: Ground, rng: Generator) -> list[Hit]:
    """Low and high by turns in eighths, as disco does."""
    length = float(rng.choice((0.25, 0.42)))
    return [Hit(i / 2, length, ground.root(i / 2) + 12 * (i % 2), 0.8) for i in range(2 * ground.bar.beats)]


def off_the_one(ground: Ground, rng: Generator) -> list[Hit]:
    """Reggae: sparse, round, of chord tones, often silent on the one."""
    slots = [s for s in (0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5) if s < ground.bar.beats]
    starts = [s for s in slots if rng.random() < (0.25 if s == 0 else 0.55)] or [2.0]
    tones = ground.bar.first.tones[:3]
    return [Hit(s, 0.5, ground.root(s) + int(tones[int(rng.integers(len(tones)))]), 0.85) for s in starts]


def off_beat(ground: Ground, rng: Generator) -> list[Hit]:
    """Between the kicks of four on the floor: eighths or sixteenths off the beat."""
    inner = (0.5,) if rng.random() < 0.5 else (0.25, 0.5, 0.75)
    return [Hit(b + part, 0.22, ground.root(b), 0.85) for b in range(ground.bar.beats) for part in inner]


def riff(ground: Ground, rng: Generator) -> list[Hit]:
    """A rhythm of eighths and rests on the minor pentatonic, for unisons with a guitar."""
    steps, notes, start = (0, 0, 0, 3, 5, 7, 10, 12, -2), [], 0.0
    while start < ground.bar.beats - 0.01:
        length = float(rng.choice((0.5, 0.5, 1.0, 0.25, 0.75)))
        length = min(length, ground.bar.beats - start)
        if start == 0 or rng.random() < 0.82:
            tone = 0 if start == 0 else int(rng.choice(steps))
            notes.append(Hit(start, length * 0.85, max(ground.root(start) + tone, ground.lowest - 2), 0.85))
        start += length
    return notes


def sub(ground: Ground, rng: Generator) -> list[Hit]:
    """Hip-hop: long low notes with the kick, a few of them an octave up at the end."""
    starts = sorted({0.0, *[kick for kick in ground.kicks if rng.random() < 0.6]})
    ends = [*starts[1:], float(ground.bar.beats)]
    return [Hit(s, (e - s) * 0.9, ground.root(s), 0.9) for s, e in zip(starts, ends, strict=True)]


def _coloured(root: int, start: float, chord: Chord, rng: Generator) -> int:
    if start == 0 or rng.random() < 0.7:
        return root
    return root + int(rng.choice((7, 12, chord.third, 10 if 10 in chord.tones else 7)))


BASS_LINES: dict[str, BassLine] = {
    "with kick": with_kick, "eighths": eighths, "sixteenths": sixteenths, "root fifth": root_fifth, "walking": walking,
    "funk": funk, "held": held, "octaves": octaves, "off the one": off_the_one, "off beat": off_beat, "riff": riff,
    "sub": sub,
}  # fmt: skip
