"""Songs read from MIDI files: General MIDI programs to stems and families, an excerpt in another key and tempo."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from streamsep.errors import StreamsepError, missing
from streamsep.training.clips import Generator
from streamsep.training.songs import tunes
from streamsep.training.songs.composing import REGISTERS
from streamsep.training.songs.harmony import Bar, Chord
from streamsep.training.songs.score import Note, Part, Score, Section
from streamsep.training.songs.sounds import family_of, place_program, playable

_DRUMS = 9  # channel
_TAIL = 2.5  # seconds
_MINOR, _MAJOR = (0, 3, 7), (0, 4, 7)


class Struck(NamedTuple):
    """A note of a MIDI file: start and end in beats, key, velocity 0..1."""

    start: float
    end: float
    key: int
    velocity: float


@dataclass(frozen=True)
class MidiSong:
    """A MIDI file: for each (channel, program) its notes in beats; drums are (9, program)."""

    name: str
    tempo: float
    parts: dict[tuple[int, int], tuple[Struck, ...]]

    @property
    def beats(self) -> float:
        """The length."""
        return max((note.end for notes in self.parts.values() for note in notes), default=0.0)


@lru_cache(maxsize=8)
def read_midi(path: Path) -> MidiSong:
    """A MIDI file's notes, by channel and program.

    Raises:
        StreamsepError: not a MIDI file, or mido is missing.
    """
    try:
        import mido
    except ImportError:
        raise missing("mido", "songs") from None
    try:
        file = mido.MidiFile(path, clip=True)
        messages = list(mido.merge_tracks(file.tracks))
    except (OSError, ValueError, EOFError, KeyError) as error:
        raise StreamsepError(f"cannot read the MIDI file {path} ({error}); leave it out") from None
    return MidiSong(path.stem, _tempo(messages, file.ticks_per_beat), _notes(messages, file.ticks_per_beat))


def midi_files(folder: Path, names: Sequence[str]) -> tuple[Path, ...]:
    """Those of the named songs that lie below a folder."""
    paths = {path.stem: path for path in sorted(folder.rglob("*.mid"))}
    return tuple(paths[name] for name in names if name in paths)


def read_score(song: MidiSong, length: float, rng: Generator, seed: Sequence[int]) -> Score:
    """An excerpt of about `length` seconds: transposed, faster or slower, other instruments, and a sung melody."""
    tempo = float(np.clip(song.tempo * rng.uniform(0.85, 1.18), 60, 220))
    bars = max(round((length - _TAIL) * tempo / 240), 4)
    first = 4 * int(rng.integers(0, max(int(song.beats / 4) - bars, 0) + 1))
    window = {key: _cut(notes, first, first + 4 * bars) for key, notes in song.parts.items()}
    shift = int(rng.integers(-4, 5))
    beat = 60 / tempo
    parts = [part for key, notes in window.items() if len(notes) > 3 for part in [_part(key, notes, shift, beat, rng)]]
    harmony = _harmony(window, bars, shift)
    root = Counter(bar.first.root for bar in harmony).most_common(1)[0][0]
    minor = Counter(_MINOR[1] in bar.first.tones for bar in harmony).most_common(1)[0][0]
    singing, passages = _sections(bars, rng)
    if rng.random() < 0.85:
        parts = [*_without_lead(parts, rng), *_vocals(harmony, passages, (root, minor), beat, rng, seed)]
    sections = tuple(
        Section(n, 4 * beat * a, 4 * beat * b) for n, (a, b) in zip(singing, pairwise(passages), strict=True)
    )
    end = 4 * beat * bars + _TAIL
    sections = (*sections[:-1], Section(sections[-1].name, sections[-1].start, end))
    return Score(tempo, root, bool(minor), 4, end, "metal" if tempo > 150 else "rock", sections, tuple(parts))


def _tempo(messages: Sequence[Any], division: int) -> float:
    """Beats a minute: the tempo that holds for the most beats."""
    spans: Counter[int] = Counter()
    tempo = 500_000
    for message in messages:
        spans[tempo] += message.time
        tempo = message.tempo if message.type == "set_tempo" else tempo
    return 6e7 / spans.most_common(1)[0][0]


def _notes(messages: Sequence[Any], division: int) -> dict[tuple[int, int], tuple[Struck, ...]]:
    programs, open_notes, found = dict.fromkeys(range(16), 0), {}, {}  # type: ignore[var-annotated]
    tick = 0
    for message in messages:
        tick += message.time
        if message.type == "program_change":
            programs[message.channel] = message.program
        elif message.type in ("note_on", "note_off"):
            place = (message.channel, message.note)
            if place in open_notes:
                start, velocity, program = open_notes.pop(place)
                struck = Struck(start / division, max(tick / division, start / division + 0.05), message.note, velocity)
                found.setdefault((message.channel, program), []).append(struck)
            if message.type == "note_on" and message.velocity:
                open_notes[place] = (tick, message.velocity / 127, programs[message.channel])
    return {key: tuple(sorted(notes)) for key, notes in sorted(found.items())}


def _cut(notes: Sequence[Struck], first: float, last: float) -> list[Struck]:
    return [
        Struck(note.start - first, min(note.end, last) - first, note.key, note.velocity)
        for note in notes
        if first <= note.start < last - 0.01
    ]


def _part(key: tuple[int, int], notes: Sequence[Struck], shift: int, beat: float, rng: Generator) -> Part:
    channel, program = key
    loose = float(rng.uniform(0, 0.008))
    drums = channel == _DRUMS
    stem, role = ("drums", "drums") if drums else place_program(playable(program))
    up = 0 if drums or stem == "drums" else shift
    if stem == "bass":
        # Some files write the bass an octave off.
        middle = float(np.median([note.key for note in notes]))
        up += 12 * round((38 - middle) / 12) if abs(middle - 38) > 12 else 0
    played = tuple(
        Note(
            max(note.start * beat + float(rng.normal(0, loose)), 0.0), max((note.end - note.start) * beat, 0.03),
            float(note.key + up), float(np.clip(note.velocity * rng.normal(1, 0.05), 0.05, 1)),
        )
        for note in notes
    )  # fmt: skip
    manner = ("acoustic" if rng.random() < 0.85 else "machine") if drums else family_of(playable(program))
    played = tuple(sorted(played, key=lambda note: (note.start, note.pitch)))
    return Part(stem, role, played, manner, pan=float(np.clip(rng.normal(0, 0.4), -1, 1)) if stem == "other" else 0.0)


def _harmony(window: dict[tuple[int, int], list[Struck]], bars: int, shift: int) -> list[Bar]:
    """A triad for each half bar: the one whose tones sound longest, its root favoured by the bass."""
    weights = np.full((2 * bars, 12), 1e-6)
    for (channel, program), notes in window.items():
        if channel == _DRUMS:
            continue
        heavy = 2.5 if place_program(program)[0] == "bass" else 1.0
        for note in notes:
            weights[min(int(note.start / 2), 2 * bars - 1), (note.key + shift) % 12] += heavy * min(
                note.end - note.start, 2
            )
    chords = [_triad(row) for row in weights]
    return [Bar(chords[2 * i], chords[2 * i + 1], chords[min(2 * i + 2, 2 * bars - 1)]) for i in range(bars)]


def _triad(weights: np.ndarray) -> Chord:
    options = [Chord(root, tones) for root in range(12) for tones in (_MAJOR, _MINOR)]
    worth = [sum(weights[(c.root + t) % 12] for t in c.tones) + 0.7 * weights[c.root] for c in options]
    return options[int(np.argmax(worth))]


def _sections(bars: int, rng: Generator) -> tuple[list[str], list[int]]:
    """Names and bounds in bars, so that the singer rests now and then."""
    bounds, names = [0], []
    while bounds[-1] < bars:
        bounds.append(min(bounds[-1] + int(rng.choice((4, 8, 8))), bars))
        names.append(str(rng.choice(("verse", "chorus", "verse", "chorus", "solo"))))
    if set(names) == {"solo"}:
        names[0] = "verse"
    return names, bounds


def _without_lead(parts: list[Part], rng: Generator) -> list[Part]:
    """Where two leads play, one is left out to make room for the singer."""
    leads = [part for part in parts if part.role in ("lead synth", "lead guitar")]
    return [part for part in parts if not (leads and part is leads[0] and rng.random() < 0.7)]


def _vocals(
    harmony: list[Bar], bounds: list[int], key: tuple[int, bool], beat: float, rng: Generator, seed: Sequence[int]
) -> list[Part]:
    low, high = REGISTERS[int(rng.integers(len(REGISTERS)))]
    voice = tunes.Voice(low, high, key[0], key[1], float(rng.uniform(0.2, 1)))
    tones: list[tunes.Tone] = []
    for first, last in pairwise(bounds):
        if rng.random() < 0.8 or not tones:
            tones += tunes.sung(harmony[first:last], first, voice, (*seed, 14, (first // 4) % 2))
    parts = [Part("vocals", "lead vocal", _sung(tones, beat), str(rng.choice(("sung", "sung", "shout"))))]
    if rng.random() < 0.4:
        second = tunes.harmonised(tones, harmony, 0, voice, int(rng.choice((2, -2, 0))))
        parts.append(Part("vocals", "backing vocal", _sung(second, beat), "sung"))
    return parts


def _sung(tones: Sequence[tunes.Tone], beat: float) -> tuple[Note, ...]:
    return tuple(Note(t.start * beat, t.length * beat, t.pitch, t.velocity, t.syllable) for t in tones)
