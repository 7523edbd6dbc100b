"""What befalls a record: rooms, tape, vinyl, small loudspeakers, mono, hiss, a lossy codec; the same for every stem."""

from __future__ import annotations

import io
from collections.abc import Mapping

import numpy as np
import soundfile

from streamsep.training.augment import decibels
from streamsep.training.clips import RATE, Generator, Samples
from streamsep.training.songs.desk_filters import Band, equalise
from streamsep.training.songs.desk_space import Space, draw_space, reverberate
from streamsep.training.songs.vorbis import encode_vorbis

Stems = dict[str, Samples]


def worn(stems: Mapping[str, Samples], rng: Generator) -> Stems:
    """Stems `[2, T]` as an old, a cheap or a distant record has them; three times in five as they are."""
    out = dict(stems)
    kind = rng.choice(("none", "band", "mono", "room", "noise", "codec"), p=(0.6, 0.14, 0.06, 0.06, 0.08, 0.06))
    match str(kind):
        case "band":
            bands = draw_band(rng)
            out = {stem: equalise(sound, bands) for stem, sound in out.items()}
        case "mono":
            out = {stem: np.repeat(sound.mean(0, keepdims=True), 2, axis=0) for stem, sound in out.items()}
        case "room":
            space, wet = draw_space(rng, 0.2, 1.0), np.float32(rng.uniform(0.1, 0.6))
            out = {stem: in_room(sound, space, wet) for stem, sound in out.items()}
        case "noise" if "other" in out:
            loudest = max(float(np.sqrt(np.mean(np.square(sound)))) for sound in out.values())
            out["other"] = out["other"] + surface(out["other"].shape[1], rng) * np.float32(
                loudest * decibels(-50, -30, rng)
            )
        case "codec":
            quality = float(rng.uniform(0.01, 0.5))
            out = {stem: coded(sound, quality) for stem, sound in out.items()}
    return out


def draw_band(rng: Generator) -> list[Band]:
    """Tape, vinyl, an old file or a small loudspeaker, as filters."""
    match int(rng.integers(4)):
        case 0:
            return [
                Band("bell", float(rng.uniform(60, 120)), 2.5, 0.9),
                Band("high", float(rng.uniform(7000, 12000)), -6),
            ]
        case 1:
            return [Band("low_cut", 35), Band("high_cut", float(rng.uniform(9000, 15000))), Band("bell", 3000, 2, 0.5)]
        case 2:
            return [Band("high_cut", float(rng.uniform(8000, 16000)), q=q) for q in (0.54, 1.3)]
        case _:
            return [Band("low_cut", float(rng.uniform(120, 350))), Band("bell", float(rng.uniform(800, 2500)), 6, 1)]


def in_room(sound: Samples, space: Space, wet: np.float32) -> Samples:
    """The record played in a room: dry sound, and `wet` times the room's answer."""
    return sound + wet * reverberate(sound, space) if sound.any() else sound


def surface(frames: int, rng: Generator) -> Samples:
    """Hiss or crackle `[2, frames]` of RMS 1."""
    if rng.random() < 0.5:
        noise = equalise(
            rng.normal(size=(2, frames)).astype(np.float32), [Band("high", 3000, float(rng.uniform(0, 12)))]
        )
    else:
        noise = np.zeros((2, frames), np.float32)
        count = int(frames / RATE * rng.uniform(5, 60))
        noise[:, rng.integers(0, frames, count)] = rng.laplace(size=count) + rng.laplace(0, 0.3, (2, count))
        noise = equalise(noise, [Band("high_cut", 6000), Band("low_cut", 300)])
        noise += 0.02 * rng.normal(size=(2, frames)).astype(np.float32)
    return (noise / np.float32(np.sqrt(np.mean(np.square(noise))))).astype(np.float32)


def coded(sound: Samples, quality: float) -> Samples:
    """`[2, T]` after Ogg Vorbis of a quality from 0 to 1; sample by sample in its old place."""
    if not sound.any():
        return sound
    unit = np.float32(1.5 * np.abs(sound).max())  # what passes 1 would be clipped
    file = io.BytesIO(encode_vorbis(sound / unit, quality))
    return np.ascontiguousarray(soundfile.read(file, dtype="float32", always_2d=True)[0].T) * unit
