"""Who sings a part and how: a voice drawn and altered at random, its doubles, harmonies and choirs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np

from streamsep.training.clips import RATE, Generator
from streamsep.training.songs.melody import Delivery, Sung, draw_delivery
from streamsep.training.songs.resinging import Manner
from streamsep.training.songs.score import Part
from streamsep.training.songs.voices import Voice

_HARD = ("rock", "metal", "punk")


@dataclass(frozen=True)
class Singer:
    """Who sings a part, and how.

    Attributes:
        voice: the recordings.
        manner: of the throat.
        delivery: of the melody.
        paste: probability that a phrase keeps the recording's own timing.
        breathes: gain of the breaths between phrases, 0 for none.
        drive: of an overdriven microphone, 0 for none.
        spoken: the recording's own pitch is kept, as in rap.
    """

    voice: Voice
    manner: Manner = field(default_factory=Manner)
    delivery: Delivery = field(default_factory=Delivery)
    paste: float = 0.5
    breathes: float = 0.0
    drive: float = 0.0
    spoken: bool = False


class Line(NamedTuple):
    """One voice of a part: who sings what, with which seed of the `words`, at which pan `position` and `gain`."""

    singer: Singer
    notes: list[Sung]
    words: int
    position: float
    gain: float


def draw_ensemble(voices: Sequence[Voice], part: Part, notes: list[Sung], style: str, rng: Generator) -> list[Line]:
    """All voices of a part."""
    words = int(rng.integers(1 << 31))
    singer = draw_singer(voices, part.manner, style, rng)
    if part.role.startswith("backing"):
        return _group(voices, singer, part, notes, words, rng)
    lines = [Line(singer, notes, words, float(rng.normal(0, 0.04)), 1.0)]
    if rng.random() < 0.3:
        gain, wide = float(rng.uniform(0.3, 0.9)), float(rng.uniform(0.3, 1.0))
        lines += [Line(singer, _loose(notes, rng), words, side * wide, gain) for side in (-1.0, 1.0)]
    if part.manner != "rap" and rng.random() < 0.12:
        moved = _loose(_moved(notes, rng), rng)
        lines.append(Line(singer, moved, words, float(rng.uniform(-0.6, 0.6)), float(rng.uniform(0.3, 0.7))))
    return lines


def _group(
    voices: Sequence[Voice], first: Singer, part: Part, notes: list[Sung], words: int, rng: Generator
) -> list[Line]:
    """One to five singers around the part's place; now and then the same one again and again."""
    count = int(rng.choice((1, 2, 3, 5), p=(0.35, 0.35, 0.2, 0.1)))
    alike = rng.random() < 0.5
    lines = []
    for number in range(count):
        singer = first if alike or number == 0 else draw_singer(voices, part.manner, "", rng)
        position = float(np.clip(part.pan + (rng.uniform(-0.8, 0.8) if count > 1 else 0), -1, 1))
        # Together they need their words at the same times.
        lines.append(Line(replace(singer, paste=0.0), _loose(notes, rng), words, position, 1.0))
    return lines


def draw_singer(voices: Sequence[Voice], manner: str, style: str, rng: Generator) -> Singer:
    """A random voice, altered at random, for a manner (sung, rap, shout, soft) in a style."""
    rap = manner == "rap"
    able = [voice for voice in voices if voice.kind == "spoken" or not rap] or list(voices)
    weights = np.array([_weight(voice) for voice in able])
    voice = able[int(rng.choice(len(able), p=weights / weights.sum()))]
    hard = manner == "shout" or style in _HARD
    rough = float(rng.uniform(0.1, 0.8)) if rng.random() < (0.5 if hard else 0.06) else 0.0
    breathy = rng.random() < (0.6 if manner == "soft" else 0.08)
    whisper = float(rng.choice((0.15, 0.4, 1.0), p=(0.6, 0.3, 0.1))) if breathy else 0.0
    throat = float(rng.uniform(0.85, 1.2)) if rng.random() < 0.6 else 1.0
    return Singer(
        voice=voice,
        manner=Manner(throat=throat, rough=rough, whisper=whisper),
        delivery=draw_delivery(rng),
        paste=float(rng.choice((0.0, 0.3, 0.8))) if voice.kind == "sung" else 0.1,
        breathes=float(rng.choice((0.0, 0.001, 0.003, 0.008))),
        drive=float(rng.uniform(1, 8)) if rng.random() < (0.5 if hard else 0.1) else 0.0,
        spoken=rap,
    )


def _weight(voice: Voice) -> float:
    """Real voices are worth most: as often as their minutes allow; synthesised ones once each."""
    return 6.0 if len(voice.source.samples) > 150 * RATE else 1.0


def _loose(notes: list[Sung], rng: Generator) -> list[Sung]:
    """The notes as another take has them: some milliseconds and cents away."""
    shifts = rng.normal(0, 0.012, len(notes))
    moved = [max(note.start + shift, 0.0) for note, shift in zip(notes, shifts, strict=True)]
    cents = float(rng.normal(0, 0.06))
    return [
        replace(note, start=start, stop=max(note.stop, start + 0.04), pitch=note.pitch + cents)
        for note, start in zip(notes, np.maximum.accumulate(moved).tolist(), strict=True)
    ]


def _moved(notes: list[Sung], rng: Generator) -> list[Sung]:
    """A harmony: every note two steps of the melody's own scale higher or lower, or an octave."""
    classes = sorted({round(note.pitch) % 12 for note in notes})
    if len(classes) < 5 or rng.random() < 0.25:
        return [replace(note, pitch=note.pitch + 12 * float(rng.choice((-1, 1)))) for note in notes]
    steps = int(rng.choice((-2, 2)))
    scale = np.array([12 * octave + tone for octave in range(11) for tone in classes])
    places = [int(np.argmin(np.abs(scale - note.pitch))) + steps for note in notes]
    return [
        replace(note, pitch=float(scale[min(max(index, 0), len(scale) - 1)]))
        for note, index in zip(notes, places, strict=True)
    ]
