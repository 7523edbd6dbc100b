"""The mixing desk: tracks in, the stems of a finished record out, whose sum is the record.

All that is not linear happens on one track, or as one gain that all stems share; so the stems sum to the mix exactly.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from streamsep.training.augment import decibels
from streamsep.training.clips import Generator, Samples
from streamsep.training.songs.desk_dynamics import compress, ducking_gain, saturate
from streamsep.training.songs.desk_filters import Band, equalise, random_tone
from streamsep.training.songs.desk_space import Space, balance, draw_space, echo, reverberate, widen_sides
from streamsep.training.songs.mastering import Stems, balanced, level, mastered
from streamsep.training.songs.score import Score, Track
from streamsep.training.songs.worn import worn

_DANCED = ("house", "edm", "electro", "techno", "trance", "disco", "dance", "electronic", "synthpop")


@dataclass(frozen=True)
class Strip:
    """The habits of one stem's channel strips; probabilities in 0..1.

    Attributes:
        low_cut: Hz below which nothing is left, drawn between the two.
        tone: dB, strength of the equaliser.
        compressed: probability of a compressor.
        bent: probability of saturation.
        wet: dB of reverberation beside the dry sound, drawn between the two.
        echoes: probability of an echo.
        spread: how far tracks stand from the middle.
    """

    low_cut: tuple[float, float]
    tone: float
    compressed: float
    bent: float
    wet: tuple[float, float]
    echoes: float = 0.0
    spread: float = 0.0


STRIPS = {
    "drums": Strip((20, 40), 3, 0.6, 0.3, (-40, -10)),
    "bass": Strip((20, 45), 3, 0.7, 0.4, (-60, -24)),
    "other": Strip((30, 180), 4, 0.4, 0.25, (-35, -6), 0.15, 0.5),
    "vocals": Strip((60, 160), 3, 0.85, 0.3, (-30, -5), 0.35, 0.05),
}


def mix(tracks: Sequence[Track], score: Score, rng: Generator) -> Stems:
    """Mix and master tracks into stems `[2, T]`, one for each stem that the tracks name; their sum is the record.

    Args:
        tracks: all of the same length, at 44.1 kHz.
        score: its style decides on ducking, its tempo on echoes.
        rng: of every knob.

    Raises:
        StreamsepError: scipy or pyloudnorm is missing.
    """
    spaces = [draw_space(rng, 0.15, 0.7), draw_space(rng, 0.5, 3.0)]
    ducking = _ducking(tracks, score, rng)
    stems: Stems = {}
    for stem in dict.fromkeys(track.stem for track in tracks):
        members = [track for track in tracks if track.stem == stem]
        stems[stem] = _stem(members, STRIPS[stem], spaces, score, rng)
        if ducking is not None and stem in ("bass", "other"):
            stems[stem] = stems[stem] * ducking
    return mastered(worn(balanced(stems, rng), rng), rng)


def _stem(tracks: list[Track], strip: Strip, spaces: list[Space], score: Score, rng: Generator) -> Samples:
    """All tracks of one stem through their strips and into one of the spaces."""
    dry = np.zeros_like(tracks[0].samples)
    sent = np.zeros_like(dry)
    for track in tracks:
        heard = level(track.samples)
        if heard == 0:
            continue
        sound = channel(track.samples, strip, rng) if track.role != "kick" else track.samples
        if rng.random() < strip.echoes:
            sound = sound + _echoes(sound, score.tempo, rng)
        dry += sound
        sent += sound * np.float32(decibels(*strip.wet, rng))
    if rng.random() < 0.85 and sent.any():
        dry += equalise(reverberate(sent, spaces[int(rng.integers(len(spaces)))]), [Band("low_cut", 150)])
    return dry


def channel(sound: Samples, strip: Strip, rng: Generator) -> Samples:
    """One track `[2, T]` through equaliser, compressor, saturation and pan; its level stays about as it was."""
    before = level(sound)
    if before == 0:
        return sound
    bands = [Band("low_cut", float(rng.uniform(*strip.low_cut))), *random_tone(rng, strip.tone)]
    if rng.random() < 0.03:
        bands += [Band("low_cut", 400), Band("high_cut", 3000)]  # a telephone
    out = equalise(sound, bands)
    if rng.random() < strip.compressed:
        threshold = 20 * np.log10(level(out)) + float(rng.uniform(-8, 8))
        ratio = float(rng.choice((2, 3, 4, 8)))
        out = compress(out, threshold, ratio, float(rng.uniform(0.001, 0.03)), float(rng.uniform(0.04, 0.3)))
    if rng.random() < strip.bent:
        out = saturate(out, float(rng.uniform(0.5, 3)))
    if strip.spread:
        out = balance(out, float(np.clip(rng.normal(0, strip.spread), -1, 1)))
        out = widen_sides(out, float(rng.uniform(0.3, 1.4)))
    return out * np.float32(before / max(level(out), 1e-6))


def _echoes(sound: Samples, tempo: float, rng: Generator) -> Samples:
    beats = float(rng.choice((0.25, 0.5, 0.75, 1.0)))
    seconds = 0.1 if rng.random() < 0.25 else beats * 60 / tempo
    repeats = echo(sound, seconds, float(rng.uniform(0.1, 0.45)), crossed=bool(rng.random() < 0.5))
    return equalise(repeats, [Band("low_cut", 200), Band("high_cut", float(rng.uniform(2000, 7000)))])


def _ducking(tracks: Sequence[Track], score: Score, rng: Generator) -> Samples | None:
    """The gain that the kick lends to bass and other, in styles that are danced to and now and then elsewhere."""
    kicks = [track.samples for track in tracks if track.role == "kick"]
    if not kicks:
        drums = [track.samples for track in tracks if track.stem == "drums"]
        kicks = [equalise(sound, [Band("high_cut", 100), Band("high_cut", 100)]) for sound in drums]
    likely = 0.6 if score.style in _DANCED else 0.05
    if rng.random() >= likely or not kicks:
        return None
    return ducking_gain(
        np.sum(kicks, axis=0, dtype=np.float32), float(rng.uniform(3, 14)), float(rng.uniform(0.05, 0.25))
    )
