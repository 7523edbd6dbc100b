"""Chords by function: progressions written in Roman numerals, drawn for a style, laid out over half bars."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from streamsep.training.clips import Generator

_DEGREES = {"I": 0, "II": 2, "III": 4, "IV": 5, "V": 7, "VI": 9, "VII": 11}
_NUMERAL = re.compile(r"([b#]?)(VII|VI|IV|V|III|II|I|vii|vi|iv|v|iii|ii|i)(maj7|sus4|sus2|add9|dim|aug|6|7|9|5)?")
_TONES = {
    "": (0, 4, 7), "m": (0, 3, 7), "7": (0, 4, 7, 10), "m7": (0, 3, 7, 10), "maj7": (0, 4, 7, 11), "9": (0, 4, 7, 10,
    14),
    "m9": (0, 3, 7, 10, 14), "6": (0, 4, 7, 9), "m6": (0, 3, 7, 9), "sus4": (0, 5, 7), "sus2": (0, 2, 7),
    "add9": (0, 4, 7, 14), "madd9": (0, 3, 7, 14), "dim": (0, 3, 6), "mdim": (0, 3, 6), "aug": (0, 4, 8), "5": (0, 7),
    "m5": (0, 7), "mmaj7": (0, 3, 7, 11), "msus4": (0, 5, 7), "msus2": (0, 2, 7),
}  # fmt: skip

# Loops of pop and rock, cadences of jazz, turns of metal; upper case major, lower case minor.
PROGRESSIONS: dict[str, tuple[str, ...]] = {
    "major": (
        "I V vi IV", "vi IV I V", "I vi IV V", "I IV V IV", "I bVII IV I", "I IV vi V", "IV I V vi", "I iii IV V",
        "I V IV IV", "I ii IV V", "I V6 vi iii IV I ii V", "I I IV V", "IV V vi I", "I bIII IV I", "I II IV I",
    ),
    "minor": (
        "i bVI bIII bVII", "i bVII bVI bVII", "i iv bVI V", "i bVII bVI V", "i i iv v", "bVI bVII i i",
        "i bIII bVII iv",
        "i v bVI iv", "i bVI iv V", "i iv bVII bIII bVI iv V V", "i bIII iv bVI",
    ),
    "blues": (
        "I7 I7 I7 I7 IV7 IV7 I7 I7 V7 IV7 I7 V7", "I7 IV7 I7 I7 IV7 IV7 I7 I7 V7 IV7 I7 I7", "i7 i7 iv7 i7",
        "I7 I7 IV7 I7", "I5 I5 bIII5 IV5",
    ),
    "metal": (
        "i5 i5 bVI5 bVII5", "i5 bII5 i5 bII5", "i5 i5 i5 bV5", "i5 bIII5 iv5 bVI5", "i5 bVI5 bIII5 bVII5",
        "i5 i5 bVII5 bVI5",
        "i5 bVI5 iv5 v5", "i5 bIII5 bII5 i5",
    ),
    "power": ("I5 IV5 V5 IV5", "I5 V5 vi5 IV5", "I5 bVII5 IV5 I5", "I5 bIII5 IV5 I5", "I5 I5 IV5 V5", "vi5 IV5 I5 V5"),
    "vamp": ("i7 IV7", "i9 i9", "I9 I9", "i7 bVII", "i7 iv7", "I7 IV9", "i7 i7 iv7 iv7", "I9 bVII9"),
    "seventh": (
        "ii7 V7 Imaj7 vi7", "Imaj7 vi7 ii7 V7", "Imaj7 IVmaj7", "ii7 V7 Imaj7 Imaj7", "iii7 vi7 ii7 V7",
        "Imaj7 iii7 IVmaj7 V7", "i7 iv7 bVII7 bIIImaj7", "IVmaj7 iii7 ii7 Imaj7", "i9 IV9", "Imaj7 I7 IVmaj7 iv6",
    ),
    "folk": ("I IV I V", "I V I IV", "I vi ii V", "i bVII i V", "I Iadd9 IV I", "i bIII bVII i", "I IV V I",
    "vi IV I V"),
    "drone": ("i i i i", "i i bVII i", "isus2 isus2 bVIadd9 bVII", "i bVI", "i bVImaj7 i bVII", "Isus2 IVadd9"),
}  # fmt: skip


class Chord(NamedTuple):
    """A chord: pitch class of its root (0 = C) and its tones in semitones above the root."""

    root: int
    tones: tuple[int, ...]

    @property
    def third(self) -> int:
        """Semitones of the third, or of what stands for it; a fifth chord has a fourth of none and gives 4."""
        return next((tone for tone in self.tones if tone in (3, 4, 5, 2)), 4)

    @property
    def classes(self) -> frozenset[int]:
        """Pitch classes that sound."""
        return frozenset((self.root + tone) % 12 for tone in self.tones)


class Bar(NamedTuple):
    """The harmony of one bar: its two halves and the chord that follows."""

    first: Chord
    second: Chord
    following: Chord
    beats: int = 4

    def at(self, beat: float) -> Chord:
        """The chord that sounds at a beat of the bar."""
        return self.first if beat < self.beats / 2 else self.second


def read_chord(numeral: str, key: int) -> Chord:
    """The chord of a Roman numeral such as "bVII", "ii7" or "i5" in the key of pitch class `key`.

    Raises:
        ValueError: no such numeral.
    """
    match = _NUMERAL.fullmatch(numeral)
    if match is None:
        raise ValueError(f"{numeral!r} is no chord")
    sign, degree, kind = match.group(1), match.group(2), match.group(3) or ""
    shift = {"b": -1, "#": 1, "": 0}[sign]
    tones = _TONES[("m" if degree.islower() else "") + kind]
    return Chord((key + _DEGREES[degree.upper()] + shift) % 12, tones)


def draw_progression(kinds: Sequence[str], key: int, rng: Generator) -> tuple[Chord, ...]:
    """A loop of chords, one for each half bar, in one of the kinds of `PROGRESSIONS`."""
    loops = PROGRESSIONS[kinds[int(rng.integers(len(kinds)))]]
    chords = [read_chord(numeral, key) for numeral in loops[int(rng.integers(len(loops)))].split()]
    halves = int(rng.choice((1, 2, 2, 2, 2, 4) if len(chords) <= 4 else (2,)))
    return tuple(chord for chord in chords for _ in range(halves))


def lay_out(loop: Sequence[Chord], bars: int, beats: int = 4) -> list[Bar]:
    """The loop repeated over so many bars."""
    chords = [loop[i % len(loop)] for i in range(2 * bars + 1)]
    return [Bar(chords[2 * i], chords[2 * i + 1], chords[2 * i + 2], beats) for i in range(bars)]


def placed(pitch_class: int, lowest: int) -> int:
    """The MIDI key of a pitch class within the octave above `lowest`."""
    return lowest + (pitch_class - lowest) % 12
