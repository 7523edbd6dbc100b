"""Parts played on sampled instruments and kits: every note from the nearest recording."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from streamsep.training.clips import RATE, Samples
from streamsep.training.practice_drums import at_hand
from streamsep.training.practice_samples import (
    Generator,
    Instrument,
    Pieces,
    draw_kit,
    fade_out,
    load_sample,
    varispeed,
)
from streamsep.training.songs.made_notes import MadeInstrument
from streamsep.training.songs.score import Note

# General MIDI keys of drums -> the pieces of a sampled kit.
PIECES: Mapping[int, str] = {
    35: "kick", 36: "kick", 37: "rim", 38: "snare", 39: "clap", 40: "snare", 41: "tom4", 42: "hat", 43: "tom4",
    44: "hat",
    45: "tom3", 46: "open", 47: "tom2", 48: "tom2", 49: "crash", 50: "tom1", 51: "ride", 52: "crash", 53: "bell",
    54: "shaker", 55: "crash", 56: "bell", 57: "crash", 59: "ride", 60: "tom1", 61: "tom2", 62: "rim", 63: "tom1",
    64: "tom3",
    69: "shaker", 70: "shaker", 75: "rim", 76: "rim", 77: "rim", 82: "shaker",
}  # fmt: skip
GROUPS: Mapping[str, str] = {
    "kick": "kick", "snare": "snare", "rim": "snare", "clap": "snare", "hat": "hats", "open": "hats", "tom1": "toms",
    "tom2": "toms", "tom3": "toms", "tom4": "toms", "crash": "cymbals", "ride": "cymbals", "bell": "cymbals",
    "shaker": "percussion",
}  # fmt: skip
_LONGEST = {"kick": 1.0, "snare": 1.2, "hats": 1.0, "toms": 1.8, "cymbals": 3.5, "percussion": 1.0}  # seconds


def play_instrument(
    notes: Sequence[Note], instrument: Instrument | MadeInstrument, frames: int, rng: Generator
) -> Samples:
    """`[2, frames]` of notes on a sampled or made instrument."""
    out = np.zeros((2, frames), np.float32)
    for note in notes:
        _add(out, instrument.note(round(note.pitch), note.velocity, min(note.length, 6.0), rng), note.start)
    return out


def play_kit(notes: Sequence[Note], pieces: Pieces, frames: int, rng: Generator, tuning: float) -> dict[str, Samples]:
    """Strokes on a sampled kit: kick, snare, hats, toms, cymbals, percussion -> `[2, frames]`, where struck."""
    kit = draw_kit(pieces, rng, tuning)
    struck: dict[tuple[str, int], Samples] = {}
    groups: dict[str, Samples] = {}
    opened: tuple[Samples, float] | None = None
    for note in notes:
        wanted = PIECES.get(round(note.pitch))
        piece = at_hand(wanted, kit) if wanted else None
        if wanted is None or piece is None:
            continue
        group, layers = GROUPS[wanted], kit.layers[piece]
        place = note.velocity * (len(layers) - 1) + rng.uniform(-1.2, 1.2)
        layer = int(np.clip(round(place), 0, len(layers) - 1))
        if (piece, layer) not in struck:
            sound = load_sample(layers[layer])[:, : round(_LONGEST[group] * RATE)]
            speed = kit.speeds[piece]
            struck[piece, layer] = fade_out(varispeed(sound, speed, int(sound.shape[1] / speed)), 0.05)
        out = groups.setdefault(group, np.zeros((2, frames), np.float32))
        if opened is not None and wanted in ("hat", "open"):
            _choke(out, *opened, note.start)
        loud = np.float32(note.velocity ** (0.3 if len(layers) > 3 else 1.5) * kit.gains[piece])
        hit = np.broadcast_to(struck[piece, layer] * loud, (2, struck[piece, layer].shape[1]))
        _add(out, hit, note.start)
        opened = (hit, note.start) if wanted == "open" else None if wanted == "hat" else opened
    return groups


def _add(out: Samples, sound: Samples, start: float) -> None:
    first = round(start * RATE)
    if first < out.shape[1]:
        out[:, first : first + sound.shape[1]] += sound[:, : out.shape[1] - first]


def _choke(out: Samples, sound: Samples, start: float, time: float) -> None:
    """Take back what still rings of a stroke that began at `start` s, from `time` s on."""
    elapsed = max(round(time * RATE) - round(start * RATE), 0)
    rest = sound[:, elapsed:].copy()
    ramp = min(RATE // 50, rest.shape[1])
    rest[:, :ramp] *= np.linspace(0, 1, ramp, dtype=np.float32)
    _add(out, -rest, start + elapsed / RATE)
