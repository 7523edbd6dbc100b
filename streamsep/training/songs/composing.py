"""A song out of a seed: style, key, tempo, form, harmony and what every chair of the band plays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from streamsep.training.clips import Generator
from streamsep.training.songs import tunes
from streamsep.training.songs.clock import Clock
from streamsep.training.songs.comping import COMPING
from streamsep.training.songs.form import Passage, draw_form, draw_rests
from streamsep.training.songs.grooves import GROOVES, KEYS, Drumming, drum_bars, kicks
from streamsep.training.songs.harmony import Bar, draw_progression, lay_out
from streamsep.training.songs.lines import BASS_LINES, Ground, Hit
from streamsep.training.songs.score import Note, Part, Score, Section
from streamsep.training.songs.styles import STYLES, Chair
from streamsep.training.songs.tunes import Tone, Voice

_TAIL = 2.5  # seconds for the last notes to die away
REGISTERS = ((40, 57), (47, 64), (48, 67), (52, 69), (55, 72), (57, 76), (60, 79))
_DISTORTED = ("distorted guitar", "crunch guitar")


@dataclass(frozen=True)
class Plan:
    """What all players know.

    Attributes:
        style: the style's name; look it up in `STYLES`.
        seed: from which each player draws its own numbers.
        key: pitch class of the tonic.
        minor: whether melodies keep to the minor pentatonic.
        passages: the form.
        bars: the harmony, bar by bar.
        drumming: the drummer's choices; the bass listens to the kick.
        clock: beats to seconds.
        loose: seconds of human inexactness.
    """

    style: str
    seed: tuple[int, ...]
    key: int
    minor: bool
    passages: tuple[Passage, ...]
    bars: tuple[Bar, ...]
    drumming: Drumming
    clock: Clock
    loose: float

    def rng(self, *who: int) -> Generator:
        """A player's generator."""
        return np.random.default_rng([*self.seed, *who])

    def of(self, passage: Passage) -> list[Bar]:
        """The bars of a section."""
        return list(self.bars[passage.first : passage.first + passage.bars])

    def note(
        self, start: float, length: float, pitch: float, velocity: float, rng: Generator, syllable: str = ""
    ) -> Note:
        """A note given in beats, as a human plays it."""
        begin, end = self.clock.seconds(start), self.clock.seconds(start + length)
        begin = max(begin + float(rng.normal(0, self.loose)), 0.0)
        strength = float(np.clip(velocity * rng.normal(1, 0.07), 0.05, 1.0))
        return Note(begin, max(end - begin, 0.03), pitch, strength, syllable)


def compose(seed: Sequence[int], length: float, style: str | None = None) -> Score:
    """A song of about `length` seconds; the same seed gives the same song."""
    rng = np.random.default_rng([*seed, 0])
    names = list(STYLES)
    shares = np.array([STYLES[name].share for name in names])
    name = style or names[int(rng.choice(len(names), p=shares / shares.sum()))]
    plan = _draw_plan(name, seed, length, rng)
    parts = [*_drums(plan), *_bass(plan), *_chords(plan), *_leads(plan), *_vocals(plan)]
    ends = [plan.clock.straight(4.0 * passage.first) for passage in plan.passages] + [
        plan.clock.straight(4.0 * len(plan.bars))
    ]
    ends[-1] += _TAIL
    sections = tuple(Section(p.name, a, b) for p, (a, b) in zip(plan.passages, pairwise(ends), strict=True))
    return Score(plan.clock.tempo, plan.key, plan.minor, 4, ends[-1], name, sections, tuple(parts))


def _draw_plan(name: str, seed: Sequence[int], length: float, rng: Generator) -> Plan:
    style = STYLES[name]
    quiet, loud = (GROOVES[str(rng.choice(grooves))] for grooves in (style.quiet, style.loud))
    if len(quiet.lanes["kick"]) != len(loud.lanes["kick"]):
        loud = quiet
    tempo = float(rng.uniform(*style.tempo))
    clock = Clock(
        tempo,
        swing=float(rng.uniform(0, max(style.swing, quiet.swing))),
        shuffle=len(quiet.lanes["kick"]) == 12,
        wander=float(rng.choice((0, 0, 0.01, 0.03))),
        phase=float(rng.uniform(0, 6.28)),
    )
    key = int(rng.integers(12))
    passages = draw_form(max(round((length - _TAIL) * tempo / 240), 4), rng)
    kinds = style.harmony[int(rng.integers(len(style.harmony)))]
    loops = {p.name: draw_progression((kinds,), key, np.random.default_rng([*seed, 1, len(p.name)])) for p in passages}
    bars = [bar for p in passages for bar in lay_out(loops[p.name], p.bars)]
    minor = kinds in ("minor", "metal", "vamp", "drone") or (kinds == "blues")
    drumming = Drumming(quiet, loud, int(rng.choice((4, 4, 8))), float(rng.choice((0, 0, 0.05, 0.12))))
    loose = float(rng.uniform(0.001, 0.010))
    return Plan(name, tuple(seed), key, minor, passages, tuple(bars), drumming, clock, loose)


def _drums(plan: Plan) -> list[Part]:
    rng = plan.rng(2)
    plays = draw_rests("drums", plan.passages, rng)
    drag = float(rng.normal(0, 0.004))
    notes = []
    for passage, on in zip(plan.passages, plays, strict=True):
        for beat in drum_bars(plan.drumming, passage, plan.rng(3, passage.first)) if on else ():
            time = plan.clock.seconds(beat.beat) if beat.swung else plan.clock.straight(beat.beat)
            time += float(rng.normal(0, plan.loose)) + drag * (beat.piece in ("snare", "clap", "rim"))
            notes.append(Note(max(time, 0.0), 0.2, KEYS[beat.piece], beat.velocity))
    family = str(rng.choice(STYLES[plan.style].drums))
    return [Part("drums", "drums", _ordered(notes), family)]


def _bass(plan: Plan) -> list[Part]:
    rng, style = plan.rng(4), STYLES[plan.style]
    plays = draw_rests("bass", plan.passages, rng)
    family, lowest = (
        str(rng.choice(style.basses)),
        int(rng.choice((28, 28, 28, 31, 33) if plan.style != "metal" else (26, 28))),
    )
    lines = {name: BASS_LINES[str(rng.choice(style.bass))] for name in dict.fromkeys(p.name for p in plan.passages)}
    notes = []
    for passage, on in zip(plan.passages, plays, strict=True):
        beats = kicks(plan.drumming.groove(passage))
        for index, bar in enumerate(plan.of(passage) if on else ()):
            pattern = plan.rng(5, len(passage.name), index % (2 if rng.random() < 0.85 else 8))
            hits = lines[passage.name](Ground(bar, lowest, beats), pattern)
            notes += _played(plan, hits, 4.0 * (passage.first + index), passage.energy, rng)
    return [Part("bass", "bass", _monophonic(notes), family)]


def _chords(plan: Plan) -> list[Part]:
    parts = []
    taken = 0
    for index, chair in enumerate(STYLES[plan.style].chairs):
        rng = plan.rng(6, index)
        if rng.random() < chair.odds and taken < 5:
            taken += 1
            parts.append(_chair(plan, chair, index, rng))
    return parts or [_chair(plan, STYLES[plan.style].chairs[0], 0, plan.rng(6, 0))]


def _chair(plan: Plan, chair: Chair, index: int, rng: Generator) -> Part:
    plays = draw_rests(chair.player, plan.passages, rng)
    family = str(rng.choice(chair.sounds))
    comping = {name: COMPING[str(rng.choice(chair.comping))] for name in dict.fromkeys(p.name for p in plan.passages)}
    notes: list[Note] = []
    for passage, on in zip(plan.passages, plays, strict=True):
        for number, bar in enumerate(plan.of(passage) if on else ()):
            pattern = plan.rng(7, index, len(passage.name), number % (2 if rng.random() < 0.8 else 8))
            hits = comping[passage.name](bar, chair.lowest, pattern)
            notes += _played(plan, hits, 4.0 * (passage.first + number), passage.energy, rng)
    pan = 0.0 if family in _DISTORTED else float(np.clip(rng.normal(0, 0.4), -0.9, 0.9))
    return Part("other", chair.role, _ordered(notes), family, pan=pan)


def _leads(plan: Plan) -> list[Part]:
    """A lead instrument: hooks in the intro, the solo, and answers now and then."""
    rng = plan.rng(8)
    if rng.random() < 0.25:
        return []
    plays = draw_rests("lead", plan.passages, rng)
    low = int(rng.integers(55, 68))
    voice = Voice(low, low + 19, plan.key, plan.minor, float(rng.uniform(0.2, 1)))
    notes: list[Note] = []
    for passage, on in zip(plan.passages, plays, strict=True):
        bars = plan.of(passage)
        if not on:
            continue
        if passage.name == "solo":
            tones = tunes.improvised(bars, passage.first, voice, plan.rng(9, passage.first))
        else:
            tones = tunes.sung(bars, passage.first, voice, (*plan.seed, 10, len(passage.name)))
        notes += [plan.note(t.start, t.length, t.pitch, t.velocity, rng) for t in tones]
    family = str(rng.choice(STYLES[plan.style].lead))
    role = {"lead guitar": "lead guitar", "jazz guitar": "lead guitar", "synth lead": "lead synth"}.get(family, family)
    return [Part("other", role, _monophonic(notes), family, pan=float(rng.normal(0, 0.2)))] if notes else []


def _vocals(plan: Plan) -> list[Part]:
    """Lead vocal, and up to three backing voices; an eighth of the songs has no singer."""
    rng, style = plan.rng(11), STYLES[plan.style]
    if rng.random() < 0.12:
        return []
    manner = str(rng.choice(style.manner))
    low, high = REGISTERS[int(rng.integers(len(REGISTERS)))]
    voice = Voice(low, high, plan.key, plan.minor, float(rng.uniform(0.2, 1)))
    lines = {passage.first: _tune(plan, passage, voice, manner) for passage in plan.passages}
    lead = _voice(plan, "lead vocal", manner, lines, draw_rests("vocal", plan.passages, rng), rng)
    if rng.random() < 0.35:
        return lead
    plays = draw_rests("backing", plan.passages, rng)
    ways = [int(way) for way in rng.permutation((2, -2, 4, 0))[: int(rng.choice((1, 2, 2, 3)))]]
    oohs = rng.random() < 0.35
    parts = lead
    for place, way in enumerate(ways):
        backing = {
            p.first: tunes.held(plan.of(p), p.first, voice, 2 * place + 1)
            if oohs or manner == "rap"
            else tunes.harmonised(lines[p.first], plan.of(p), p.first, voice, way)
            for p in plan.passages
        }
        parts = parts + _voice(plan, "backing vocal", "soft" if oohs else "sung", backing, plays, plan.rng(12, place))
    return parts


def _tune(plan: Plan, passage: Passage, voice: Voice, manner: str) -> list[Tone]:
    bars = plan.of(passage)
    if manner == "rap" and passage.name != "chorus":
        return tunes.rapped(bars, passage.first, voice, plan.rng(13, passage.first))
    # A chorus lies higher and is sung broader.
    higher = voice._replace(low=voice.low + 4) if passage.name == "chorus" else voice._replace(high=voice.high - 3)
    return tunes.sung(bars, passage.first, higher, (*plan.seed, 14, len(passage.name)))


def _voice(
    plan: Plan, role: str, manner: str, lines: dict[int, list[Tone]], plays: tuple[bool, ...], rng: Generator
) -> list[Part]:
    tones = [tone for passage, on in zip(plan.passages, plays, strict=True) if on for tone in lines[passage.first]]
    notes = [plan.note(t.start, t.length, t.pitch, t.velocity, rng, t.syllable) for t in tones]
    return [Part("vocals", role, _monophonic(notes), manner)] if notes else []


def _played(plan: Plan, hits: Sequence[Hit], offset: float, energy: float, rng: Generator) -> list[Note]:
    strength = 0.7 + 0.3 * energy
    return [plan.note(offset + hit.start, hit.length, hit.pitch, hit.velocity * strength, rng) for hit in hits]


def _ordered(notes: Sequence[Note]) -> tuple[Note, ...]:
    return tuple(sorted(notes, key=lambda note: (note.start, note.pitch)))


def _monophonic(notes: Sequence[Note]) -> tuple[Note, ...]:
    """Each note ends where the next begins; of two that begin together the first stays."""
    out: list[Note] = []
    for note in _ordered(notes):
        if out and note.start - out[-1].start < 0.03:
            continue
        if out and out[-1].end > note.start:
            last = out[-1]
            out[-1] = Note(last.start, note.start - last.start, last.pitch, last.velocity, last.syllable)
        out.append(note)
    return tuple(out)
