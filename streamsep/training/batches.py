"""Training mixtures: a song's own stems, or stems of several songs together. A batch is a function of seed and step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from streamsep.training.augment import Generator, crop_start, decibels, flip_and_swap, place_voice, read_at_speed
from streamsep.training.clips import RATE, Clip, Samples
from streamsep.training.data import STEMS, Library, Song

Range = tuple[float, float]
_LEVEL = 0.1  # RMS of a stem before its random gain


@dataclass(frozen=True)
class BatchConfig:
    """How mixtures are drawn; probabilities in 0..1, ranges in dB unless said otherwise.

    Attributes:
        size: mixtures a batch.
        seconds: length of each, rounded to the model's hop.
        remix: probability that every stem comes from a song of its own.
        gain: per-stem gain in a remix, after levelling each stem.
        own_gain: per-stem gain in a song's own mix.
        overall: gain of the mixture.
        silence: probability that a stem is taken out.
        active: probability that a crop is chosen where the stem sounds.
        extra: stem -> probability that it comes from the extra recordings of this stem alone (in a song's own mix: if
            it has none).
        speed: range of the playback speed as a factor.
        respeed: probability of another speed than 1.
        seed: of all draws.
    """

    size: int = 4
    seconds: float = 6.0
    remix: float = 0.7
    gain: Range = (-8.0, 6.0)
    own_gain: Range = (-3.0, 3.0)
    overall: Range = (-12.0, 6.0)
    silence: float = 0.08
    active: float = 0.85
    extra: dict[str, float] = field(default_factory=lambda: {"vocals": 0.5})
    speed: Range = (0.88, 1.12)
    respeed: float = 0.4
    seed: int = 0

    def __post_init__(self) -> None:
        unknown = sorted(set(self.extra) - set(STEMS))
        if unknown:
            raise ValueError(f"extra names the stem {unknown[0]!r}, which is not among {', '.join(STEMS)}")
        if not all(0 <= probability <= 1 for probability in self.extra.values()):
            raise ValueError("the probabilities of extra must lie between 0 and 1")


class Batch(NamedTuple):
    """Mixtures and their truth.

    Attributes:
        mix: `[B, 2, T]`.
        sources: `[B, S, 2, T]`; sums to `mix`.
        known: `[B, S, S]`; `known @ sources` is what the truth knows apart. A row sums stems that it
            only knows together, and the rows of the others of such a group are zero.
    """

    mix: Tensor
    sources: Tensor
    known: Tensor

    def to(self, device: torch.device | str) -> Batch:
        """The same batch on another device."""
        return Batch(*(tensor.to(device, non_blocking=True) for tensor in self))


class BatchMaker:
    """Draws batch number `step`: the same numbers for the same library, configuration and step."""

    def __init__(self, library: Library, config: BatchConfig, sources: Sequence[str], hop: int) -> None:
        self.library, self.config, self.sources = library, config, tuple(sources)
        self.frames = max(round(config.seconds * RATE / hop), 1) * hop
        self._holders = {stem: [s for s in library.songs if _sounds(s, stem)] for stem in self.sources}
        self._song_weights = _weights([song.length for song in library.songs])
        self._stem_weights = {
            stem: {song.name: float(song.clips[stem].active.sum()) ** 0.5 for song in songs}
            for stem, songs in self._holders.items()
        }
        self._extra_weights = {stem: _weights([clip.length for clip in clips]) for stem, clips in library.extra.items()}

    def __call__(self, step: int) -> Batch:
        """Batch number `step`."""
        items = [self._item(np.random.default_rng((self.config.seed, step, i))) for i in range(self.config.size)]
        sources = torch.from_numpy(np.stack([stems for stems, _ in items]))
        known = torch.from_numpy(np.stack([known for _, known in items]))
        return Batch(mix=sources.sum(1), sources=sources, known=known)

    def _item(self, rng: Generator) -> tuple[Samples, Samples]:
        draw = self._remix if rng.random() < self.config.remix else self._own_mix
        stems, joined = draw(rng)
        gain = np.float32(decibels(*self.config.overall, rng))
        silent = np.zeros((2, self.frames), np.float32)
        stacked = np.stack([stems.get(stem, silent) for stem in self.sources])
        return (stacked * gain).astype(np.float32), known_apart(self.sources, joined)

    def _own_mix(self, rng: Generator) -> tuple[dict[str, Samples], tuple[str, ...]]:
        config, songs = self.config, self.library.songs
        song = songs[int(rng.choice(len(songs), p=self._song_weights))]
        lead = song.clips[str(rng.choice(sorted(song.clips)))]
        start = crop_start(lead, self.frames, rng.random() < config.active, rng)
        speed = self._speed(rng)
        unit = 2 * _LEVEL / max(float(np.sqrt(sum(clip.level**2 for clip in song.clips.values()))), 1e-4)
        stems, swap = {}, rng.random() < 0.5
        for stem, clip in song.clips.items():
            crop = read_at_speed(clip, start, self.frames, speed) * np.float32(unit * decibels(*config.own_gain, rng))
            stems[stem] = crop[::-1] if swap else crop
        for stem in self.sources:
            if not _sounds(song, stem) and stem not in song.joined and self._takes_extra(stem, rng):
                stems[stem] = self._extra(stem, rng)
        return self._silence(stems, rng), song.joined

    def _remix(self, rng: Generator) -> tuple[dict[str, Samples], tuple[str, ...]]:
        stems: dict[str, Samples] = {}
        joined: tuple[str, ...] = ()
        for stem in map(str, rng.permutation(sorted(self.sources))):
            if stem in joined:
                continue
            if self._takes_extra(stem, rng):
                stems[stem] = self._extra(stem, rng)
                continue
            songs = [song for song in self._holders[stem] if not (_mixed(song, stem) & set(stems))]
            if songs:
                song = self._choose(stem, songs, rng)
                stems[stem] = self._stem(song.clips[stem], rng)
                joined = song.joined if _mixed(song, stem) else joined
        return self._silence(stems, rng), joined

    def _choose(self, stem: str, songs: Sequence[Song], rng: Generator) -> Song:
        weights = np.array([self._stem_weights[stem][song.name] for song in songs])
        return songs[int(rng.choice(len(songs), p=weights / weights.sum()))]

    def _stem(self, clip: Clip, rng: Generator) -> Samples:
        return flip_and_swap(self._levelled(clip, rng) * np.float32(decibels(*self.config.gain, rng)), rng)

    def _takes_extra(self, stem: str, rng: Generator) -> bool:
        return bool(self.library.extra.get(stem)) and rng.random() < self.config.extra.get(stem, 0.0)

    def _extra(self, stem: str, rng: Generator) -> Samples:
        clips = self.library.extra[stem]
        clip = clips[int(rng.choice(len(clips), p=self._extra_weights[stem]))]
        if stem != "vocals":
            return self._stem(clip, rng)
        voice = place_voice(self._levelled(clip, rng), rng)
        return flip_and_swap(voice * np.float32(decibels(*self.config.gain, rng)), rng)

    def _levelled(self, clip: Clip, rng: Generator) -> Samples:
        start = crop_start(clip, self.frames, rng.random() < self.config.active, rng)
        return read_at_speed(clip, start, self.frames, self._speed(rng)) * np.float32(_LEVEL / max(clip.level, 1e-4))

    def _speed(self, rng: Generator) -> float:
        return float(rng.uniform(*self.config.speed)) if rng.random() < self.config.respeed else 1.0

    def _silence(self, stems: dict[str, Samples], rng: Generator) -> dict[str, Samples]:
        kept = {stem: crop for stem, crop in stems.items() if rng.random() >= self.config.silence}
        return kept or stems


def known_apart(sources: Sequence[str], joined: Sequence[str]) -> Samples:
    """The `known` matrix `[S, S]` of one item; the group's sum stands in the row of its first stem."""
    known = np.eye(len(sources), dtype=np.float32)
    group = [index for index, stem in enumerate(sources) if stem in joined]
    if len(group) > 1:
        known[group] = 0
        known[group[0], group] = 1
    return known


def _sounds(song: Song, stem: str) -> bool:
    return stem in song.clips and song.clips[stem].level > 0


def _mixed(song: Song, stem: str) -> set[str]:
    """The group of stems that this stem's file may hold: none, but for the last of `joined`."""
    return set(song.joined) if song.joined and stem == song.joined[-1] else set()


def _weights(sizes: Sequence[float]) -> NDArray[np.float64]:
    """Grows with the square root of the size: long songs do not drown the others."""
    roots = np.sqrt(np.maximum(np.array(sizes, np.float64), 1e-9))
    return roots / roots.sum() if len(roots) else roots
