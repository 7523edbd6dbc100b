"""Which syllables of a voice sing which notes: consonants keep their time before the beat, vowels fill the notes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from streamsep.training.clips import RATE, Generator, Samples
from streamsep.training.songs.melody import Sung
from streamsep.training.songs.resinging import STEP, Passage, own_period
from streamsep.training.songs.voices import Voice

_BREAK = 0.3  # seconds of rest that part two phrases
_LEGATO = 0.1  # shorter rests are sung through
_HEAD, _TAIL = 0.07, 0.05  # seconds of a vowel's beginning and end that are never stretched
_CANDIDATES = 8


def phrases(notes: list[Sung], longest: int = 14) -> list[list[Sung]]:
    """The notes, parted at rests and where a phrase would be longer than a breath."""
    found: list[list[Sung]] = []
    for note in notes:
        if not found or note.start - found[-1][-1].stop > _BREAK or len(found[-1]) >= longest:
            found.append([])
        found[-1].append(note)
    return found


def near_take(voice: Voice, hertz: float, rng: Generator) -> int:
    """A random take with syllables whose pitch lies near `hertz`: the less it is shifted, the truer it sounds."""
    able = np.unique(voice.take)
    drawn = rng.choice(able, min(_CANDIDATES, len(able)), replace=False)
    distance = np.abs(np.log2(np.maximum(voice.pitch[drawn], 1.0) / hertz))
    return int(drawn[np.argmin(distance + rng.uniform(0, 0.1, len(drawn)))])


def syllable_units(phrase: list[Sung]) -> list[Sung]:
    """The notes with every tied one joined to the note before it."""
    units: list[Sung] = []
    for note in phrase:
        if note.tied and units:
            units[-1] = replace(units[-1], stop=note.stop)
        else:
            units.append(note)
    return units


def place(units: list[Sung], voice: Voice, rng: Generator) -> list[Passage]:
    """The passages that sing one phrase, a syllable for each unit, in the order in which a take holds them."""
    middle = _hertz(float(np.median([unit.pitch for unit in units])))
    chosen = _run_of_syllables(len(units), voice, middle, rng)
    passages: list[Passage] = []
    room = 0.25  # seconds before the first note
    for number, unit in enumerate(units):
        start, vowel, end = (float(edge) for edge in voice.syllables[chosen[number]])
        lead = min((vowel - start) / RATE, room)
        if number and passages:
            _shorten(passages, unit.start - lead)
        passages.append(Passage(unit.start - lead, unit.start, vowel - lead * RATE, 1.0))
        following = units[number + 1] if number + 1 < len(units) else None
        stop = following.start if following and following.start - unit.stop < _LEGATO else unit.stop
        passages += _vowel(unit.start, stop, vowel, end)
        room = 0.6 * (stop - unit.start) + (following.start - stop if following else 0)
    return [passage for passage in passages if passage.stop > passage.start]


def _hertz(pitch: float) -> float:
    return float(440 * 2 ** ((pitch - 69) / 12))


def _run_of_syllables(count: int, voice: Voice, hertz: float, rng: Generator) -> list[int]:
    chosen: list[int] = []
    while len(chosen) < count:
        members = np.flatnonzero(voice.take == near_take(voice, hertz, rng))
        first = int(rng.integers(0, max(len(members) - (count - len(chosen)), 0) + 1))
        chosen += members[first : first + count - len(chosen)].tolist()
    return chosen


def _shorten(passages: list[Passage], stop: float) -> None:
    """Let the last passages end at `stop`, where the next consonant begins."""
    while passages and passages[-1].start >= stop:
        passages.pop()
    if passages and passages[-1].stop > stop:
        passages[-1] = passages[-1]._replace(stop=stop)


def _vowel(start: float, stop: float, vowel: float, end: float) -> list[Passage]:
    """A vowel from `vowel` to `end` of the source, stretched or hurried in its middle."""
    wanted, there = stop - start, (end - vowel) / RATE
    if wanted <= there:
        return [Passage(start, stop, vowel, min(there / wanted, 1.25))]
    head = min(_HEAD, there / 3)
    tail = min(_TAIL, there / 4)
    rate = (there - head - tail) / (wanted - head - tail)
    return [
        Passage(start, start + head, vowel, 1.0),
        Passage(start + head, stop - tail, vowel + head * RATE, rate),
        Passage(stop - tail, stop, end - tail * RATE, 1.0),
    ]


def pasted(phrase: list[Sung], voice: Voice, rng: Generator) -> list[Passage]:
    """A stretch of one take in its own time, from a syllable on, for as long as the phrase and the take last."""
    middle = _hertz(float(np.median([note.pitch for note in phrase])))
    take = near_take(voice, middle, rng)
    members = voice.syllables[voice.take == take]
    start, vowel, _ = members[int(rng.integers(0, max(len(members) // 2, 1)))].tolist()
    lead = min((vowel - start) / RATE, 0.2)
    last = (min(int(members[-1, 2]) + RATE // 30, int(voice.bounds[take, 1])) - vowel) / RATE
    first = phrase[0].start
    return [Passage(first - lead, first + min(phrase[-1].stop - first, last), vowel - lead * RATE, 1.0)]


def spoken_pitch(pitch: Samples, passages: list[Passage], voice: Voice, phrase: list[Sung]) -> None:
    """Write the recording's own melody into `pitch` (Hz every 2 ms), moved as a whole to the phrase's middle note."""
    spans = [slice(max(int(p.start / STEP), 0), min(int(p.stop / STEP), len(pitch))) for p in passages]
    for span, passage in zip(spans, passages, strict=True):
        time = np.arange(span.start, span.stop) * STEP - passage.start
        period, voiced = own_period(voice.source.marks, passage.source + passage.rate * time * RATE)
        pitch[span] = np.where(voiced, RATE / period, 0.0)
    own = np.concatenate([pitch[span] for span in spans])
    if (own > 0).any():
        middle = 69 + 12 * np.log2(float(np.median(own[own > 0])) / 440)
        moved = float(np.median([note.pitch for note in phrase])) - middle
        moved -= 12 * round(moved / 12)  # a voice far from its own octave sounds like a toy
        for span in spans:
            pitch[span] *= np.float32(2 ** (moved / 12))
