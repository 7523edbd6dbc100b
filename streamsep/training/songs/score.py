"""What is to be played: notes, parts and the form of a song; knows nothing of instruments or sound."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from streamsep.training.clips import RATE, Samples


@dataclass(frozen=True)
class Note:
    """One note, or one stroke of a drum.

    Attributes:
        start: seconds from the beginning of the song.
        length: seconds; of a drum stroke without meaning.
        pitch: MIDI key, 69 = A4 = 440 Hz, fractions allowed; of drums the General MIDI key (36 kick, 38 snare, ...).
        velocity: 0..1, how hard.
        syllable: sung text of this note, such as "la"; "" = any vowel. A syllable that begins with "-" goes on with
            the vowel of the note before (melisma), without a new consonant.
    """

    start: float
    length: float
    pitch: float
    velocity: float
    syllable: str = ""

    @property
    def end(self) -> float:
        """Seconds."""
        return self.start + self.length


@dataclass(frozen=True)
class Part:
    """One player's notes, in order of time.

    Attributes:
        stem: drums, bass, other or vocals.
        role: drums, percussion, bass, rhythm guitar, lead guitar, acoustic guitar, keys, organ, pad, strings, brass,
            lead synth, lead vocal or backing vocal.
        notes: ordered by start. A vocal part never overlaps itself (each harmony voice is a part of its own) and
            leaves rests between phrases: a gap of more than 0.25 s is room for a breath.
        manner: how it is played: "clean", "crunch", "distorted", "palm muted", "strummed", "picked", "slap", ...; of
            voices "sung", "rap" (pitch is a hint only), "shout" or "soft".
        instrument: which sound plays it, as its renderer names it; "" = the renderer chooses.
        pan: -1 left .. 1 right, a wish that the desk may overrule.
    """

    stem: str
    role: str
    notes: tuple[Note, ...]
    manner: str = ""
    instrument: str = ""
    pan: float = 0.0


@dataclass(frozen=True)
class Section:
    """A part of the form: intro, verse, prechorus, chorus, bridge, solo, break or outro, from `start` to `end` s."""

    name: str
    start: float
    end: float


@dataclass(frozen=True)
class Score:
    """A whole song.

    Attributes:
        tempo: beats a minute (the mean where a MIDI song changes it).
        key: pitch class of the tonic, 0 = C .. 11 = B.
        minor: whether the key is minor.
        meter: beats a bar.
        length: seconds, with the last notes' decay.
        style: rock, metal, punk, funk, pop, ballad, soul, reggae, disco, hiphop, electronic, folk, jazz, ...
        sections: the form, in order, without gaps.
        parts: who plays.
    """

    tempo: float
    key: int
    minor: bool
    meter: int
    length: float
    style: str
    sections: tuple[Section, ...]
    parts: tuple[Part, ...]

    @property
    def frames(self) -> int:
        """Samples at 44.1 kHz: the T of every track of this song."""
        return round(self.length * RATE)

    def of(self, stem: str) -> tuple[Part, ...]:
        """The parts of one stem."""
        return tuple(part for part in self.parts if part.stem == stem)


class Track(NamedTuple):
    """One channel strip's sound before the desk.

    Attributes:
        stem: drums, bass, other or vocals.
        role: as in `Part`; of drums kick, snare, toms, hats, cymbals, room, percussion or (all in one) drums.
        samples: `[2, T]` with the song's T, of any level (the desk balances).
    """

    stem: str
    role: str
    samples: Samples
