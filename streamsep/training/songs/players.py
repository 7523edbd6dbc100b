"""Who plays a part: picks a sampled instrument, a soundfont's preset or a kit, an amplifier, and gives tracks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from streamsep.training.clips import Generator, Samples
from streamsep.training.practice_samples import Instrument, Pieces
from streamsep.training.songs.amplifier import amplify, draw_amplifier
from streamsep.training.songs.made_drums import made_kit
from streamsep.training.songs.made_notes import MadeInstrument, kind_of
from streamsep.training.songs.mastering import level
from streamsep.training.songs.sampler import GROUPS, PIECES, play_instrument, play_kit
from streamsep.training.songs.score import Note, Part, Score, Track
from streamsep.training.songs.soundfont import DRUM_BANK, SoundFont
from streamsep.training.songs.sounds import AMPLIFIED, PROGRAMS, SAMPLED

_LEVELS = {  # dB beside a rhythm guitar
    "rhythm guitar": 0.0, "lead guitar": 1.0, "acoustic guitar": -2.0, "keys": -3.0, "organ": -5.0, "pad": -7.0,
    "strings": -5.0, "brass": -3.0, "lead synth": -3.0, "saxophone": -1.0, "flute": -4.0,
}  # fmt: skip


@dataclass(frozen=True)
class Studio:
    """All instruments at hand.

    Attributes:
        fonts: name -> soundfont.
        presets: allowed presets, bank * 1000 + program.
        kits: name -> pieces of sampled kits; acoustic ones begin with "acoustic", machines with "machine".
        font_kits: allowed drum programs of the soundfonts.
        instruments: name -> (sampled instrument, semitones that it is written above its sound).
        made: how often a part is played on an instrument or kit that is made up for it, 0..1.
    """

    fonts: dict[str, SoundFont]
    presets: frozenset[int]
    kits: dict[str, Pieces]
    font_kits: tuple[int, ...]
    instruments: dict[str, tuple[Instrument, int]]
    made: float = 0.0


@dataclass
class Session:
    """One song being played: what is used is noted down, as sources for its record."""

    studio: Studio
    score: Score
    used: list[str]

    def play(self, part: Part, rng: Generator) -> list[Track]:
        """The tracks of a part (drums give one a group, distorted guitars are often doubled)."""
        if not part.notes:
            return []
        if part.stem == "drums":
            return self._drums(part, rng)
        sound = self._doubled(part, rng) if part.manner in AMPLIFIED else self._single(part, rng)
        heard = level(sound)
        if heard < 1e-5:
            return []
        gain = 0.1 * 10 ** ((_LEVELS.get(part.role, 0.0) + rng.normal(0, 2.5)) / 20) / heard
        return [Track(part.stem, part.role, (sound * np.float32(gain)).astype(np.float32))]

    def _single(self, part: Part, rng: Generator) -> Samples:
        family = part.manner
        sampled = [name for name in SAMPLED.get(family, ()) if name in self.studio.instruments]
        if self._makes(rng):
            sound = self._made(part.notes, family, rng)
        elif sampled and rng.random() < 0.5:
            sound = self._sampled(part.notes, sampled[int(rng.integers(len(sampled)))], rng)
        else:
            sound = self._font(part.notes, family, rng)
        bent = part.stem == "bass" and rng.random() < 0.4
        if bent or (family in ("clean guitar", "organ", "electric piano") and rng.random() < 0.4):
            manner = "crunch" if rng.random() < 0.3 else "clean"
            dry, wet = sound / np.float32(max(level(sound), 1e-6)), amplify(sound, draw_amplifier(manner, rng))
            blend = float(rng.uniform(0.3, 1)) if part.stem != "bass" else float(rng.uniform(0.2, 0.7))
            sound = dry * np.float32(0.1 * (1 - blend)) + wet * np.float32(blend)
        return _panned(sound, part.pan)

    def _doubled(self, part: Part, rng: Generator) -> Samples:
        """A distorted guitar: one in the middle or to a side, or two takes left and right."""
        lead = part.role == "lead guitar"
        if lead or rng.random() < 0.25:
            place = float(rng.normal(0, 0.15 if lead else 0.4))
            return _panned(self._driven(part, rng), float(np.clip(place, -1, 1)))
        width = float(rng.uniform(0.5, 1))
        takes = [self._driven(replace(part, notes=_loose(part.notes, rng)), rng) for _ in range(2)]
        return _panned(takes[0], -width) + _panned(takes[1], width)

    def _driven(self, part: Part, rng: Generator) -> Samples:
        manner = AMPLIFIED[part.manner]
        if self._makes(rng):
            return amplify(self._made(part.notes, "clean guitar", rng), draw_amplifier(manner, rng))
        direct = [preset for preset in PROGRAMS[part.manner] if preset in self.studio.presets]
        if direct and rng.random() < 0.35:
            # The soundfonts' own distorted guitars are of single notes: a little more drive glues their chords.
            sound = self._preset(part.notes, direct[int(rng.integers(len(direct)))], rng)
            return amplify(sound, draw_amplifier("crunch" if rng.random() < 0.5 else "clean", rng))
        sampled = [name for name in SAMPLED["clean guitar"] if name in self.studio.instruments]
        if sampled and rng.random() < 0.5:
            sound = self._sampled(part.notes, sampled[int(rng.integers(len(sampled)))], rng)
        else:
            sound = self._font(part.notes, "clean guitar", rng)
        return amplify(sound, draw_amplifier(manner, rng))

    def _makes(self, rng: Generator) -> bool:
        """Whether the next sound is made up; where none ever is nothing is drawn."""
        return self.studio.made > 0 and rng.random() < self.studio.made

    def _made(self, notes: Sequence[Note], family: str, rng: Generator) -> Samples:
        self._note(f"made {kind_of(family)}")
        return play_instrument(notes, MadeInstrument(family, int(rng.integers(1 << 31))), self.score.frames, rng)

    def _sampled(self, notes: Sequence[Note], name: str, rng: Generator) -> Samples:
        instrument, shift = self.studio.instruments[name]
        self._note(name)
        moved = [replace(note, pitch=note.pitch + shift) for note in notes] if shift else notes
        return play_instrument(moved, instrument, self.score.frames, rng)

    def _font(self, notes: Sequence[Note], family: str, rng: Generator) -> Samples:
        allowed = [preset for preset in PROGRAMS[family] if preset in self.studio.presets]
        if not allowed:
            # A family of which nothing is allowed is played by its neighbour.
            allowed = sorted(self.studio.presets & set(PROGRAMS[_NEIGHBOURS.get(family, "clean guitar")]))
        return self._preset(notes, allowed[int(rng.integers(len(allowed)))], rng)

    def _preset(self, notes: Sequence[Note], preset: int, rng: Generator) -> Samples:
        name = self._draw_font(preset // 1000, preset % 1000, rng)
        self._note(f"{name} {preset}")
        return self.studio.fonts[name].play(notes, preset // 1000, preset % 1000, self.score.frames)

    def _drums(self, part: Part, rng: Generator) -> list[Track]:
        kits = [name for name in self.studio.kits if name.startswith(part.manner)]
        sampled = bool(kits) and (part.manner != "acoustic" or rng.random() < 0.5 or not self.studio.font_kits)
        tuning = 0.05 if part.manner == "acoustic" else 0.12
        if self._makes(rng):
            self._note("made kit")
            groups = play_kit(part.notes, made_kit(rng), self.score.frames, rng, tuning)
        elif sampled:
            name = kits[int(rng.integers(len(kits)))]
            self._note(name)
            groups = play_kit(part.notes, self.studio.kits[name], self.score.frames, rng, tuning)
        else:
            groups = self._font_kit(part, rng)
        gains = {"kick": rng.normal(1, 2), "snare": rng.normal(0, 2), "percussion": rng.normal(-4, 3)}
        return [
            Track("drums", group, sound * np.float32(10 ** (gains.get(group, rng.normal(-1, 2)) / 20)))
            for group, sound in groups.items()
            if sound.any()
        ]

    def _font_kit(self, part: Part, rng: Generator) -> dict[str, Samples]:
        electric = [program for program in self.studio.font_kits if program in (24, 25)]
        choice = (
            electric
            if part.manner != "acoustic" and electric
            else [p for p in self.studio.font_kits if p not in (24, 25)]
        )
        program = choice[int(rng.integers(len(choice)))]
        name = self._draw_font(DRUM_BANK, program, rng)
        self._note(f"{name} kit {program}")
        members: dict[str, list[Note]] = {}
        for note in part.notes:
            members.setdefault(GROUPS[PIECES.get(round(note.pitch), "shaker")], []).append(note)
        font = self.studio.fonts[name]
        return {group: font.play(notes, DRUM_BANK, program, self.score.frames) for group, notes in members.items()}

    def _draw_font(self, bank: int, program: int, rng: Generator) -> str:
        names = [name for name, font in self.studio.fonts.items() if font.has(bank, program)]
        return names[int(rng.integers(len(names)))]

    def _note(self, name: str) -> None:
        if name not in self.used:
            self.used.append(name)


_NEIGHBOURS = {
    "acoustic bass": "electric bass", "slap bass": "electric bass", "synth bass": "electric bass",
    "electric bass": "slap bass",
    "electric piano": "piano", "harpsichord": "piano", "mallets": "piano", "accordion": "organ", "organ": "synth pad",
    "strings": "synth pad", "brass": "strings", "saxophone": "brass", "flute": "synth lead", "synth pad": "strings",
    "synth keys": "synth lead", "synth lead": "synth pad", "nylon guitar": "acoustic guitar",
    "banjo": "acoustic guitar",
    "acoustic guitar": "clean guitar", "solo strings": "strings", "piano": "electric piano", "synth strings": "strings",
}  # fmt: skip


def _loose(notes: Sequence[Note], rng: Generator) -> tuple[Note, ...]:
    """Another take of the same notes: a few milliseconds off."""
    spread = float(rng.uniform(0.003, 0.012))
    return tuple(replace(note, start=max(note.start + float(rng.normal(0, spread)), 0.0)) for note in notes)


def _panned(sound: Samples, place: float) -> Samples:
    """`[2, T]` at a place from -1 to 1, at equal power; what was stereo stays it where the place is near the middle."""
    if abs(place) < 0.05:
        return sound
    mono, angle = sound.mean(0), (place + 1) * np.pi / 4
    gains = np.array([[np.cos(angle)], [np.sin(angle)]], np.float32) * np.float32(2**0.5)
    return (mono[None] * gains).astype(np.float32)
