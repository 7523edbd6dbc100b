"""One song from its seed: composed or read, played, sung, mixed, and written as a folder of stems."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from streamsep.files import staged
from streamsep.training.clips import Samples
from streamsep.training.data import STEMS
from streamsep.training.songs.composing import compose
from streamsep.training.songs.desk import mix
from streamsep.training.songs.midi_songs import read_midi, read_score
from streamsep.training.songs.players import Session, Studio
from streamsep.training.songs.score import Score, Track
from streamsep.training.songs.singing import Singers
from streamsep.training.songs.sources import LICENCES, SongsConfig
from streamsep.training.songs.vorbis import encode_vorbis

RECORD = "song.json"
RECIPE = 1  # raised whenever the same seed gives another song


@dataclass(frozen=True)
class Maker:
    """All that songs are made from; the same seed makes the same song.

    Attributes:
        config: what is allowed.
        studio: the instruments.
        singers: None for songs without vocals.
        midi: MIDI files.
        length: seconds of a song, about.
    """

    config: SongsConfig
    studio: Studio
    singers: Singers | None
    midi: tuple[Path, ...]
    length: float

    @cached_property
    def material(self) -> str:
        """A digest of all that a song depends on beside its number: makers of another make other songs."""
        studio, singers = self.studio, [voice.name for voice in self.singers.voices] if self.singers else []
        used = [sorted(studio.fonts), sorted(studio.presets), sorted(studio.kits), studio.font_kits]
        used += [sorted(studio.instruments), singers, [path.stem for path in self.midi], self.length]
        return hashlib.sha256(repr((RECIPE, self.config, used)).encode()).hexdigest()[:16]

    def score(self, index: int) -> tuple[Score, str]:
        """The song's score, and the name of the MIDI file it was read from or ""."""
        seed = (self.config.seed, index)
        rng = np.random.default_rng([*seed, 1])
        if self.midi and rng.random() < self.config.share:
            path = self.midi[int(rng.integers(len(self.midi)))]
            return read_score(read_midi(path), self.length, rng, seed), path.stem
        return compose(seed, self.length), ""

    def make(self, index: int) -> tuple[dict[str, Samples], dict[str, Any]]:
        """Song number `index`: its stems `[2, T]`, and its record as plain data."""
        score, midi = self.score(index)
        session = Session(self.studio, score, [])
        tracks: list[Track] = []
        heard: list[str] = []
        for number, part in enumerate(score.parts):
            rng = np.random.default_rng([self.config.seed, index, 2, number])
            if part.stem != "vocals":
                tracks += session.play(part, rng)
            elif self.singers is not None:
                sung, names = self.singers.sing(part, score, rng)
                tracks.append(Track("vocals", part.role, sung))
                heard += names
        stems = mix(tracks, score, np.random.default_rng([self.config.seed, index, 3]))
        return stems, self._record(index, score, midi, session.used, list(dict.fromkeys(heard)))

    def _record(self, index: int, score: Score, midi: str, used: list[str], singers: list[str]) -> dict[str, Any]:
        names = [*used, *singers, *(["midi"] if midi else [])]
        licences = {text for key, text in LICENCES.items() if any(name.startswith(key) for name in names)}
        return {
            "recipe": RECIPE, "material": self.material, "seed": [self.config.seed, index],
            "style": score.style, "tempo": round(score.tempo, 2),
            "key": score.key, "minor": score.minor, "length": round(score.length, 3), "midi": midi, "sounds": used,
            "licences": sorted(licences),
            "sections": [[section.name, round(section.start, 3), round(section.end, 3)] for section in score.sections],
            "parts": [[part.stem, part.role, part.manner, len(part.notes)] for part in score.parts],
            "singers": singers,
        }  # fmt: skip


def write_song(stems: Mapping[str, Samples], record: Mapping[str, Any], folder: Path) -> None:
    """Write the sounding stems as Ogg Vorbis and the record as song.json; with it the song is whole."""
    sounding = {stem: stems[stem] for stem in STEMS if stem in stems and np.abs(stems[stem]).max(initial=0.0) > 1e-4}
    with staged([*(folder / f"{stem}.ogg" for stem in sounding), folder / RECORD], "choose another --out") as paths:
        for path, sound in zip(paths, sounding.values(), strict=False):
            path.write_bytes(encode_vorbis(sound))
        paths[-1].write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
