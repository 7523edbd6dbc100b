"""What chord players play in one bar: power chords and riffs, strums, chops, broken chords, pads, stabs."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from streamsep.training.clips import Generator
from streamsep.training.songs.harmony import Bar, Chord, placed
from streamsep.training.songs.lines import Ground, Hit, riff

Comping = Callable[[Bar, int, Generator], list[Hit]]
"""(bar, lowest key, rng) -> notes."""


def voicing(chord: Chord, lowest: int, count: int = 6) -> list[int]:
    """`count` keys upwards from the root at or above `lowest`, as a guitarist stacks a chord."""
    root = placed(chord.root, lowest)
    ladder = sorted({root + tone + 12 * octave for octave in range(3) for tone in chord.tones} - {root + 14 - 12})
    return ladder[:count]


def close(chord: Chord, lowest: int) -> list[int]:
    """The chord's tones in the octave above `lowest`, in whatever inversion falls there, as on a keyboard."""
    return sorted(placed(pitch_class, lowest) for pitch_class in chord.classes)


def _power(chord: Chord, lowest: int, full: bool) -> list[int]:
    root = placed(chord.root, lowest)
    return [root, root + 7, root + 12] if full else [root, root + 7]


def _strike(keys: Sequence[int], start: float, length: float, velocity: float, spread: float = 0.0) -> list[Hit]:
    step = spread / max(len(keys), 1)
    return [Hit(start + step * i, length - step * i, key, velocity) for i, key in enumerate(keys)]


def power_chords(bar: Bar, lowest: int, rng: Generator) -> list[Hit]:
    """Power chords in eighths with rests, each held to the next or cut."""
    starts = [i / 2 for i in range(2 * bar.beats) if i == 0 or rng.random() < 0.6]
    return _chords(bar, lowest, starts, float(rng.choice((0.5, 0.95, 1.0))), bool(rng.random() < 0.6))


def driven_eighths(bar: Bar, lowest: int, rng: Generator) -> list[Hit]:
    """Straight eighths of down-strokes, as punk has them."""
    starts = [i / 2 for i in range(2 * bar.beats)]
    return _chords(bar, lowest, starts, float(rng.choice((0.6, 0.95))), True)


def ringing(bar: Bar, lowest: int, rng: Generator) -> list[Hit]:
    """A power chord a chord, let ring."""
    starts = [0.0] if bar.first == bar.second else [0.0, bar.beats / 2]
    return _chords(bar, lowest, starts, 0.98, True)


def gallop(bar: Bar, lowest: int, rng: Generator) -> list[Hit]:
    """Palm-muted gallops on the low string, with accents of open chords."""
    inner = (0.0, 0.5, 0.75) if rng.random() < 0.5 else (0.0, 0.25, 0.5, 0.75)
    notes = []
    for beat in range(bar.beats):
        for part in inner:
            start, accent = beat + part, part == 0 and rng.random() < 0.4
            keys = _power(bar.at(start), lowest, True) if accent else [placed(bar.at(start).root, lowest)]
            notes += _strike(keys, start, 0.45 if accent else 0.14, 0.95 if accent else 0.75)
    return notes


def guitar_riff(bar: Bar, lowest: int, rng: Generator) -> list[Hit]:
    """A riff on the minor pentatonic, in single notes or fifths."""
    notes = riff(Ground(bar, lowest, ()), rng)
    fifths = [hit._replace(pitch=hit.pitch + 7) for hit in notes] if rng.random() < 0.5 else []
    return sorted(notes + fifths)


def strummed(bar: Bar, lowest: int, rng: Generator) -> list[Hit]:
    """Down on the beat, up between, some strokes left out."""
    grid = 2 if rng.random() < 0.75 else 4
    hits = []
    for i in range(grid * bar.beats):
        if i == 0 or rng.random() < (0.85 if i % 2 == 0 else 0.6):
            keys = voicing(bar.at(i / grid), lowest)
            down = i % 2 == 0
            hits += _strike(keys if down else keys[:2:-1], i / grid, 1.0 / grid * 1.8, 0.72 if down else 0.5, 0.05)
    return hits


def chopped(bar: Bar, lowest: int, rng: Generator) -> list[Hit]:
    """Sixteenth chops high up, half of them dead."""
    hits = []
    for step in range(4 * bar.beats):
        if rng.random() < 0.55:
            dead = rng.random() < 0.4
            keys = close(bar.at(step / 4), lowest + 19)[-3:]
            hits += _strike(keys, step / 4, 0.05 if dead else 0.18, 0.35 if dead else 0.8, 0.015)
    return hits


def off_beats(bar: Bar, lowest: int, rng: Generator) -> list[Hit]:
    """Short chords between the beats."""
    return [h for b in range(bar.beats) for h in _strike(close(bar.at(b), lowest + 12), b + 0.5, 0.2, 0.75, 0.01)]


def broken(bar: Bar, lowest: int, rng: Generator) -> list[Hit]:
    """Broken chords in eighths or sixteenths that ring into each other."""
    grid, order = int(rng.choice((2, 2, 4))), rng.random()
    hits = []
    for i in range(grid * bar.beats):
        keys = voicing(bar.at(i / grid), lowest, 5)
        walk = keys + keys[-2:0:-1] if order < 0.6 else [keys[0], *keys[:0:-1]]
        hits.append(Hit(i / grid, 1.1, walk[i % len(walk)], 0.72 if i % grid == 0 else 0.58))
    return hits


def pad(bar: Bar, lowest: int, rng: Generator) -> list[Hit]:
    """A held chord a chord, in close position."""
    if bar.first == bar.second:
        return _strike(close(bar.first, lowest + 8), 0, bar.beats * 0.99, 0.6)
    half = bar.beats / 2
    return [h for i, c in enumerate(bar[:2]) for h in _strike(close(c, lowest + 8), i * half, half * 0.98, 0.6)]


def block(bar: Bar, lowest: int, rng: Generator) -> list[Hit]:
    """Piano: the root below, chords above in quarters or syncopated."""
    starts = [float(i) for i in range(bar.beats)]
    if rng.random() < 0.5:
        starts = [s for s in (0, 0.75, 1.5, 2.5, 3, 3.5) if s < bar.beats and (s == 0 or rng.random() < 0.75)]
    hits = [h for s in starts for h in _strike(close(bar.at(s), lowest + 12), s, 0.8, 0.68 if s % 1 == 0 else 0.55)]
    return sorted(
        hits + [Hit(s, bar.beats / 2 * 0.95, placed(bar.at(s).root, lowest - 5), 0.62) for s in (0, bar.beats / 2)]
    )


def stabs(bar: Bar, lowest: int, rng: Generator) -> list[Hit]:
    """Two or three short accents a bar, as horns have them."""
    starts = [s for s in (0.0, 0.75, 1.5, 2.0, 2.5, 3.25, 3.5) if s < bar.beats and rng.random() < 0.35]
    length = float(rng.choice((0.2, 0.4)))
    return [h for s in starts for h in _strike(close(bar.at(s), lowest + 15), s, length, 0.9)]


def sequence(bar: Bar, lowest: int, rng: Generator) -> list[Hit]:
    """A synthesiser's sixteenths: chord tones in a fixed order over two octaves."""
    order = rng.integers(0, 6, 8)
    return [
        Hit(i / 4, 0.2, voicing(bar.at(i / 4), lowest + 12)[int(order[i % 8]) % len(voicing(bar.at(i / 4),
        lowest + 12))],
            0.75 if i % 4 == 0 else 0.55)
        for i in range(4 * bar.beats)
    ]  # fmt: skip


def _chords(bar: Bar, lowest: int, starts: Sequence[float], filled: float, full: bool) -> list[Hit]:
    ends = [*starts[1:], float(bar.beats)]
    return [
        hit
        for s, e in zip(starts, ends, strict=True)
        for hit in _strike(_power(bar.at(s), lowest, full), s, (e - s) * filled, 0.92 if s % 1 == 0 else 0.8, 0.015)
    ]


COMPING: dict[str, Comping] = {
    "power": power_chords, "driven": driven_eighths, "ringing": ringing, "gallop": gallop, "riff": guitar_riff,
    "strummed": strummed, "chopped": chopped, "off beats": off_beats, "broken": broken, "pad": pad, "block": block,
    "stabs": stabs, "sequence": sequence,
}  # fmt: skip
