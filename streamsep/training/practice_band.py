"""Who plays the practice parts: the instruments found in a folder of samples, and what is drawn for each part."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from pathlib import Path

import numpy as np

from streamsep.errors import StreamsepError
from streamsep.training.augment import pan
from streamsep.training.clips import RATE, Samples
from streamsep.training.practice_drums import GROOVES, play_groove
from streamsep.training.practice_effects import colour, overdrive
from streamsep.training.practice_lines import BASS_STYLES, CHORD_STYLES, draw_harmony, play_notes, power_riff
from streamsep.training.practice_samples import (
    Generator,
    Instrument,
    Pieces,
    acoustic_pieces,
    draw_kit,
    fade_out,
    load_sample,
    one_shot_pieces,
    read_maps,
    sound_files,
    varispeed,
)

PART_SECONDS = 30.0
_BREAKS = {f"loop_{name}" for name in ("amen", "amen_full", "breakbeat", "compus", "industrial", "perc1", "tabla")}
_BASSES = (  # maps and the key of their low E: one is written an octave above its sound
    ("bass_electric_yr/*.sfz", 28),
    ("bass_electric_yr/*.sfz", 28),
    ("bass_growly/growlybass_clean.sfz", 40),
    ("bass_synth1/*.sfz", 28),
)
_OTHERS = ("guitar_emily/emily_clean.sfz", "guitar_spanish/*.sfz", "piano_upright_kw/*.sfz")
_DRUM_KINDS = ("acoustic", "acoustic", "machine", "acoustic", "acoustic", "mixed", "acoustic", "breaks")


class Band:
    """The instruments found in a folder of samples, and what they play.

    Args:
        folder: holds drums_muldjordkit, drums_machines, drums_uzu, sonicpi, bass_*, guitar_*, piano_*; any may be
            missing.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def part(self, stem: str, index: int, rng: Generator, seconds: float = PART_SECONDS) -> Samples:
        """Part number `index` of drums, bass or other, `[2, T]`, peak 0.9.

        Raises:
            StreamsepError: no sample for this stem.
        """
        players: dict[str, Callable[[int, Generator, float], Samples]] = {
            "drums": self._drums, "bass": self._bass, "other": self._other,
        }  # fmt: skip
        part = players[stem](index, rng, seconds)
        peak = float(np.abs(part).max(initial=0.0))
        if peak < 1e-6:
            raise StreamsepError(f"{self.folder} holds no samples for {stem}; add them, or leave practice out")
        return part * np.float32(0.9 / peak)

    def _drums(self, index: int, rng: Generator, seconds: float) -> Samples:
        kinds = [kind for kind in _DRUM_KINDS if (kind == "breaks" and self.breaks) or self.kits.get(kind)]
        if not kinds:
            return np.zeros((2, 1), np.float32)
        kind = kinds[index % len(kinds)]
        if kind == "breaks":
            return colour(self._broken_beats(rng, seconds), rng, wet=0.05)
        kits = self.kits[kind]
        kit = draw_kit(kits[int(rng.integers(len(kits)))], rng, tuning=0.05 if kind == "acoustic" else 0.12)
        grooves = list(GROOVES.values())
        drums = play_groove(grooves[index % len(grooves)], kit, seconds, rng)
        return colour(overdrive(drums, float(rng.uniform(0, 1.5))), rng, wet=0.25)

    def _broken_beats(self, rng: Generator, seconds: float) -> Samples:
        pieces, length = [], 0.0
        while length < seconds:
            loop = load_sample(self.breaks[int(rng.integers(len(self.breaks)))], longest=12.0)
            speed = float(rng.uniform(0.8, 1.25))
            turn = varispeed(np.broadcast_to(loop, (2, loop.shape[1])), speed, int(loop.shape[1] / speed))
            turn *= np.float32(0.9 / max(float(np.abs(turn).max()), 1e-3))
            pieces += [turn] * max(round(8 * RATE / turn.shape[1]), 1)
            length = sum(piece.shape[1] for piece in pieces) / RATE
        return fade_out(np.concatenate(pieces, 1)[:, : round(seconds * RATE)].copy(), 0.3)

    def _bass(self, index: int, rng: Generator, seconds: float) -> Samples:
        if not self.basses:
            return np.zeros((2, 1), np.float32)
        instrument, lowest = self.basses[index % len(self.basses)]
        style = BASS_STYLES[int(rng.integers(len(BASS_STYLES)))]
        tempo = float(rng.uniform(80, 140))
        line = play_notes(instrument, style, draw_harmony(lowest, rng), tempo, seconds, rng)
        return colour(overdrive(line, float(rng.choice((0, 0.5, 1.5, 4)))), rng, wet=0.04)

    def _other(self, index: int, rng: Generator, seconds: float) -> Samples:
        if index % 8 == 7 and self.textures:
            return colour(self._ambience(rng, seconds), rng, wet=0.3)
        if not self.others:
            return np.zeros((2, 1), np.float32)
        tempo, harmony = float(rng.uniform(80, 140)), draw_harmony(40, rng)
        first = index % len(self.others)
        choices = [first] if rng.random() < 0.5 else [first, int(rng.integers(len(self.others)))]
        total = np.zeros((2, round(seconds * RATE)), np.float32)
        for choice in choices:
            driven = choice == 0 and rng.random() < 0.4
            style = power_riff if driven else CHORD_STYLES[int(rng.integers(len(CHORD_STYLES)))]
            sound = play_notes(self.others[choice], style, harmony, tempo, seconds, rng)
            sound = overdrive(sound, float(rng.uniform(6, 30)) if driven else float(rng.choice((0, 0, 1.5))))
            sound = colour(sound, rng, wet=0.25, ceiling=float(rng.uniform(3500, 6500)) if driven else None)
            total += pan(sound, float(rng.uniform(-0.6, 0.6))) / max(float(np.abs(sound).max()), 1e-3)
        return total

    def _ambience(self, rng: Generator, seconds: float) -> Samples:
        out = np.zeros((2, round((seconds + 12) * RATE)), np.float32)
        start = 0
        while start < seconds * RATE:
            texture = load_sample(self.textures[int(rng.integers(len(self.textures)))], longest=8.0)
            speed = float(2 ** rng.uniform(-0.6, 0.6))
            sound = varispeed(texture, speed, int(texture.shape[1] / speed))
            sound = sound * np.float32(0.7 / max(float(np.abs(sound).max()), 1e-3))
            out[:, start : start + sound.shape[1]] += sound[:, : out.shape[1] - start]
            start += max(int(sound.shape[1] * rng.uniform(0.4, 0.9)), RATE // 2)
        return fade_out(out[:, : round(seconds * RATE)].copy(), 0.3)

    @cached_property
    def kits(self) -> dict[str, list[Pieces]]:
        """The kits of each kind."""
        machines = self.folder / "drums_machines"
        places = sorted(path for path in machines.iterdir() if path.is_dir()) if machines.is_dir() else []
        found = {
            "acoustic": [acoustic_pieces(self.folder / "drums_muldjordkit")],
            "machine": [one_shot_pieces(place) for place in places],
            "mixed": [one_shot_pieces(self.folder / name) for name in ("drums_uzu", "sonicpi/etc/samples")],
        }
        complete = {kind: [kit for kit in kits if {"kick", "snare", "hat"} <= set(kit)] for kind, kits in found.items()}
        return {kind: kits for kind, kits in complete.items() if kits}

    @cached_property
    def breaks(self) -> list[Path]:
        """Recorded drum loops."""
        loops = [path for path in sound_files(self.folder / "sonicpi") if path.stem in _BREAKS]
        return loops + sound_files(self.folder / "drums_uzu" / "brk")

    @cached_property
    def textures(self) -> list[Path]:
        """Guitar phrases and ambient sounds, none of them sung."""
        files = sound_files(self.folder / "sonicpi")
        return [path for path in files if path.stem.startswith(("guit_", "ambi_")) and path.stem != "ambi_choir"]

    @cached_property
    def basses(self) -> list[tuple[Instrument, int]]:
        """Sampled basses with the key of their low E, the electric ones twice."""
        found = [(read_maps(sorted(self.folder.glob(pattern))), lowest) for pattern, lowest in _BASSES]
        return [(instrument, lowest) for instruments, lowest in found for instrument in instruments]

    @cached_property
    def others(self) -> list[Instrument]:
        """Guitars and pianos, an electric guitar first."""
        return read_maps(path for pattern in _OTHERS for path in sorted(self.folder.glob(pattern)))
