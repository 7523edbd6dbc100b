"""Melodies over chords: sung lines in phrases with words, harmonies to them, solos and hooks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from streamsep.training.clips import Generator
from streamsep.training.songs.harmony import Bar, Chord

WORDS = [
    "I",
    "you",
    "we",
    "me",
    "love",
    "night",
    "day",
    "fire",
    "rain",
    "time",
    "run",
    "fall",
    "rise",
    "light",
    "dark",
    "home",
    "road",
    "heart",
    "soul",
    "mind",
    "eyes",
    "hands",
    "world",
    "wall",
    "door",
    "sky",
    "sea",
    "sun",
    "moon",
    "star",
    "wind",
    "stone",
    "gold",
    "blue",
    "red",
    "cold",
    "warm",
    "long",
    "gone",
    "down",
    "up",
    "high",
    "low",
    "on",
    "in",
    "out",
    "now",
    "then",
    "here",
    "there",
    "when",
    "why",
    "who",
    "what",
    "all",
    "one",
    "more",
    "less",
    "no",
    "yes",
    "oh",
    "hey",
    "yeah",
    "la",
    "na",
    "ooh",
    "ah",
    "come",
    "go",
    "stay",
    "leave",
    "take",
    "give",
    "make",
    "break",
    "hold",
    "let",
    "know",
    "see",
    "hear",
    "feel",
    "say",
    "tell",
    "call",
    "cry",
    "sing",
    "dance",
    "wait",
    "try",
    "need",
    "want",
    "dream",
    "sleep",
    "wake",
    "live",
    "die",
    "burn",
    "turn",
    "back",
    "a-way",
    "to-night",
    "be-fore",
    "for-ev-er",
    "nev-er",
    "ev-ery-bod-y",
    "may-be",
    "ba-by",
    "morn-ing",
    "sum-mer",
    "wa-ter",
    "riv-er",
    "cit-y",
    "mir-ror",
    "win-dow",
    "hun-ger",
    "thun-der",
    "si-lence",
    "be-lieve",
    "re-mem-ber",
    "to-mor-row",
]


class Tone(NamedTuple):
    """A melody note: beat of the song, length in beats, MIDI key, velocity 0..1, syllable."""

    start: float
    length: float
    pitch: int
    velocity: float
    syllable: str = ""


class Voice(NamedTuple):
    """What a melody keeps to: its lowest and highest key, the key's pitch class, minor or major, how dense (0..1)."""

    low: int
    high: int
    key: int
    minor: bool
    density: float


def scale(key: int, minor: bool, chord: Chord) -> set[int]:
    """Pitch classes: the pentatonic of the key, and the chord's tones in place of what clashes with them."""
    tones = (0, 3, 5, 7, 10) if minor else (0, 2, 4, 7, 9)
    chord_tones = {(chord.root + tone) % 12 for tone in chord.tones if tone < 12}
    clashes = {(tone + step) % 12 for tone in chord_tones for step in (-1, 1)}
    return ({(key + tone) % 12 for tone in tones} - clashes) | chord_tones


def sung(bars: Sequence[Bar], first: int, voice: Voice, seed: Sequence[int]) -> list[Tone]:
    """A sung melody over a section that begins in bar `first`: phrases of two bars as A A B A, each with a rest.

    Args:
        seed: the same seed gives the same rhythm and contour, so that a verse returns with its tune.
    """
    tones: list[Tone] = []
    for pair in range(0, len(bars), 2):
        letter = (0, 0, 1, 0)[(pair // 2) % 4]
        rng = np.random.default_rng([*seed, letter])
        words = np.random.default_rng([*seed, 7, first, pair])
        rhythm = _rhythm(2 * 4 if pair + 1 < len(bars) else 4, voice.density, rng)
        tones += _pitched(rhythm, bars[pair : pair + 2], 4.0 * (first + pair), voice, rng, tones[-1:])[: len(rhythm)]
        tones[-len(rhythm) :] = _worded(tones[-len(rhythm) :], words)
    return tones


def rapped(bars: Sequence[Bar], first: int, voice: Voice, rng: Generator) -> list[Tone]:
    """Speech on sixteenths with rests at the ends of lines; the pitch is only a hint."""
    tones = []
    for bar in range(len(bars)):
        steps = [s for s in range(14) if rng.random() < 0.72 or s in (0, 4, 8)]
        for step, following in zip(steps, [*steps[1:], 14], strict=True):
            pitch = voice.low + 4 + int(rng.integers(0, 6))
            tones.append(Tone(4.0 * (first + bar) + step / 4, (following - step) / 4 * 0.95, pitch, 0.8))
    return _worded(tones, rng)


def improvised(bars: Sequence[Bar], first: int, voice: Voice, rng: Generator) -> list[Tone]:
    """A solo: runs, held notes and rests on the pentatonic, moving mostly by step."""
    tones: list[Tone] = []
    grid = (0.25, 0.25, 0.5, 0.5, 0.5, 1.0) if voice.density > 0.5 else (0.5, 0.5, 1.0, 1.0, 2.0)
    beat, end = 0.0, 4.0 * len(bars)
    pitch = (voice.low + voice.high) // 2
    while beat < end - 0.2:
        length = min(float(rng.choice(grid)), end - beat)
        if rng.random() < 0.86:
            ladder = _ladder(voice, bars[int(beat // 4)].at(beat % 4))
            pitch = _step(pitch, ladder, rng, 2 if length < 1 else 1)
            tones.append(Tone(4.0 * first + beat, length * 0.95, pitch, float(rng.uniform(0.65, 0.95))))
        beat += length
    return tones


def harmonised(tones: Sequence[Tone], bars: Sequence[Bar], first: int, voice: Voice, third: int) -> list[Tone]:
    """A second voice `third` scale steps above (or below) the tune, in the chord where it holds notes."""
    out = []
    for tone in tones:
        place = tone.start - 4.0 * first
        index = int(np.clip(place // 4, 0, len(bars) - 1))
        ladder = _ladder(voice._replace(low=voice.low - 12, high=voice.high + 12), bars[index].at(place % 4))
        nearest = int(np.argmin([abs(key - tone.pitch) for key in ladder]))
        out.append(
            tone._replace(pitch=ladder[int(np.clip(nearest + third, 0, len(ladder) - 1))], velocity=tone.velocity * 0.8)
        )
    return out


def held(bars: Sequence[Bar], first: int, voice: Voice, place: int) -> list[Tone]:
    """Backing "oohs": one chord tone a chord, the `place`-th from below."""
    out = []
    for index, bar in enumerate(bars):
        halves = [(0.0, 4.0)] if bar.first == bar.second else [(0.0, 2.0), (2.0, 2.0)]
        for start, length in halves:
            keys = [key for key in range(voice.low, voice.high + 1) if key % 12 in bar.at(start).classes]
            pitch = keys[min(place, len(keys) - 1)]
            out.append(Tone(4.0 * (first + index) + start, length * 0.9, pitch, 0.5, "ooh" if start == 0 else "-ooh"))
    return out


def _rhythm(beats: int, density: float, rng: Generator) -> list[tuple[float, float]]:
    """(start, length) in beats of one phrase, that begins a little before or after the one and ends early."""
    start = float(rng.choice((0.0, 0.0, 0.5, 1.0, 1.5)))
    end = beats - float(rng.choice((0.5, 1.0, 1.5, 2.0)))
    lengths = (0.5, 0.5, 0.5, 1.0, 0.25, 0.75) if density > 0.5 else (0.5, 1.0, 1.0, 1.5, 2.0)
    notes = []
    while start < end - 0.2:
        length = min(float(rng.choice(lengths)), end - start)
        notes.append((start, length))
        start += length + (0.5 if rng.random() < 0.06 else 0.0)
    begin, length = notes[-1]
    notes[-1] = (begin, min(length + float(rng.choice((0.0, 0.5, 1.0))), beats - 0.35 - begin))
    return notes


def _pitched(
    rhythm: list[tuple[float, float]],
    bars: Sequence[Bar],
    offset: float,
    voice: Voice,
    rng: Generator,
    before: list[Tone],
) -> list[Tone]:
    pitch = before[0].pitch if before else int(rng.integers(voice.low + 3, voice.high - 3))
    arch = float(rng.normal(0, 1.2))
    tones = []
    for index, (start, length) in enumerate(rhythm):
        chord = bars[min(int(start // 4), len(bars) - 1)].at(start % 4)
        strong = length >= 1 or start % 2 == 0
        ladder = _ladder(voice, chord, only_chord=strong)
        pull = arch * (1 - 2 * index / max(len(rhythm), 1))
        pitch = _step(pitch, ladder, rng, 1 if rng.random() < 0.75 else 2, pull)
        tones.append(Tone(offset + start, length * 0.96, pitch, float(np.clip(rng.normal(0.75, 0.08), 0.3, 1))))
    return tones


def _ladder(voice: Voice, chord: Chord, only_chord: bool = False) -> list[int]:
    classes = set(chord.classes) if only_chord else scale(voice.key, voice.minor, chord)
    return [key for key in range(voice.low, voice.high + 1) if key % 12 in classes]


def _step(pitch: int, ladder: list[int], rng: Generator, most: int, pull: float = 0.0) -> int:
    nearest = int(np.argmin([abs(key - pitch) for key in ladder]))
    move = round(float(np.clip(rng.normal(pull * 0.5, 0.9), -most, most)))
    # At the ends of the range a tune turns back.
    if not 0 <= nearest + move < len(ladder):
        move = -move
    return ladder[int(np.clip(nearest + move, 0, len(ladder) - 1))]


def _worded(tones: list[Tone], rng: Generator) -> list[Tone]:
    """Words dealt out over the notes; a note in nine goes on with the syllable before."""
    queue: list[str] = []
    out: list[Tone] = []
    for tone in tones:
        if out and rng.random() < 0.11 and abs(tone.start - out[-1].start - out[-1].length) < 0.3:
            out.append(tone._replace(syllable="-" + out[-1].syllable.lstrip("-")))
            continue
        queue = queue or WORDS[int(rng.integers(len(WORDS)))].split("-")
        out.append(tone._replace(syllable=queue.pop(0)))
    return out
