"""Training mixtures: a song's own stems, or stems of several songs together. A batch is a function of seed and step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from streamsep.models.config_checks import check_order, check_range
from streamsep.training.augment import crop_start, decibels, flip_and_swap, place_voice, read_at_speed
from streamsep.training.clips import RATE, Clip, Generator, Samples
from streamsep.training.data import STEMS, Library, Song, check_learnable
from streamsep.training.in_time import Moment, Pace

Range = tuple[float, float]
_LEVEL = 0.1  # RMS of a stem before its random gain


@dataclass(frozen=True)
class BatchConfig:
    """How mixtures are drawn; probabilities in 0..1, ranges in dB unless said otherwise.

    Attributes:
        size: mixtures a batch, of each process where there are several.
        seconds: length of each, rounded to the model's hop.
        remix: probability that every stem comes from a song of its own.
        in_time: probability that the stems of a remix keep time: all in the tempo of one song, at speeds within
            `speed`, and at one place in the bar; songs of unknown tempo and extra recordings then take no part.
        gain: per-stem gain in a remix, after levelling each stem.
        own_gain: per-stem gain in a song's own mix.
        overall: gain of the mixture.
        silence: probability that a stem is taken out.
        alone: probability that of the stems that sound one alone is left, each as often: a pad before the song begins.
        active: probability that a crop is chosen where the stem sounds.
        extra: stem -> probability that it comes from the extra recordings of this stem alone (in a song's own mix: if
            it has none).
        speed: range of the playback speed as a factor.
        respeed: probability of another speed than 1.
        shift: seconds by which the stems of a song's own mix may be out of time with each other.
        backwards: let the model hear everything from its end to its beginning, the validation's excerpts too: for the
            half of an offline model that knows the future.
        seed: of all draws.
    """

    size: int = 4
    seconds: float = 6.0
    remix: float = 0.7
    in_time: float = 0.0
    gain: Range = (-8.0, 6.0)
    own_gain: Range = (-3.0, 3.0)
    overall: Range = (-12.0, 6.0)
    silence: float = 0.08
    alone: float = 0.0
    active: float = 0.85
    extra: dict[str, float] = field(default_factory=lambda: {"vocals": 0.5})
    speed: Range = (0.88, 1.12)
    respeed: float = 0.4
    shift: float = 0.0
    backwards: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        check_range("size", self.size, 1, 10**6)
        check_range("seconds", self.seconds, 0.001, 86400)
        check_range("shift", self.shift, 0, 86400)
        check_range("seed", self.seed, 0, 2**63 - 1)
        for name in ("remix", "in_time", "silence", "alone", "active", "respeed"):
            check_range(name, getattr(self, name), 0, 1)
        for name, low, high in (
            ("gain", -300, 300),
            ("own_gain", -300, 300),
            ("overall", -300, 300),
            ("speed", 0.05, 20),
        ):
            check_order(name, getattr(self, name))
            for end in getattr(self, name):
                check_range(name, end, low, high)
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
        band: `[B, S]`, the frequency in Hz above which a stem's recording holds nothing and so tells nothing
            (infinite where it is not limited); None where no stem of the batch is limited.
    """

    mix: Tensor
    sources: Tensor
    known: Tensor
    band: Tensor | None = None

    def to(self, device: torch.device | str) -> Batch:
        """The same batch on another device."""
        mix, sources, known = (tensor.to(device, non_blocking=True) for tensor in self[:3])
        return Batch(mix, sources, known, None if self.band is None else self.band.to(device, non_blocking=True))

    def backwards(self) -> Batch:
        """The same music from its end to its beginning."""
        return self._replace(mix=self.mix.flip(-1), sources=self.sources.flip(-1))


def varied(batch: Batch, effects: Callable[[Tensor, int], Tensor], step: int, rows: range) -> Batch:
    """The batch with effects on its stems, drawn row by row: as the rows of the whole, whichever process has them."""
    changed = [effects(stems[None], (step << 20) + row) for stems, row in zip(batch.sources, rows, strict=True)]
    sources = torch.cat(changed)
    return batch._replace(mix=sources.sum(1), sources=sources)


class Crop(NamedTuple):
    """A stem of one mixture `[2, T]`, and the frequency in Hz above which it tells nothing."""

    samples: Samples
    band: float

    def changed(self, change: Callable[[Samples], Samples]) -> Crop:
        """The same with other samples."""
        return Crop(change(self.samples), self.band)


Crops = dict[str, Crop]


class BatchMaker:
    """Draws batch number `step`: the same numbers for the same library, configuration and step.

    Of several processes, number `rank` draws its `config.size` rows of the whole: two with batches of b draw what one
    with a batch of 2 b draws.

    Raises:
        StreamsepError: the model has a stem that songs do not have.
    """

    def __init__(
        self, library: Library, config: BatchConfig, sources: Sequence[str], hop: int, *, rank: int = 0
    ) -> None:
        check_learnable(sources)
        self.library, self.config, self.sources = library, config, tuple(sources)
        self.rows = range(rank * config.size, (rank + 1) * config.size)
        self.frames = max(round(config.seconds * RATE / hop), 1) * hop
        self._song_weights = _weights(library, library.songs, [song.length for song in library.songs])
        self._tempos = [song.tempo for song in library.songs if song.tempo is not None]
        self._holders = {stem: self._weighed_holders(stem) for stem in self.sources}
        self._extra_weights = {stem: _grow([clip.length for clip in clips]) for stem, clips in library.extra.items()}

    def _weighed_holders(self, stem: str) -> list[tuple[Song, float]]:
        songs = [song for song in self.library.songs if _sounds(song, stem)]
        sounding = [float(song.clips[stem].active.sum()) for song in songs]
        return list(zip(songs, _weights(self.library, songs, sounding).tolist(), strict=True))

    def __call__(self, step: int) -> Batch:
        """Batch number `step`."""
        items = [self._item(np.random.default_rng((self.config.seed, step, row))) for row in self.rows]
        sources, known, band = (torch.from_numpy(np.stack(parts)) for parts in zip(*items, strict=True))
        batch = Batch(mix=sources.sum(1), sources=sources, known=known, band=band)
        return batch.backwards() if self.config.backwards else batch

    def _item(self, rng: Generator) -> tuple[Samples, Samples, Samples]:
        draw = self._remix if rng.random() < self.config.remix else self._own_mix
        stems, joined = draw(rng)
        gain = np.float32(decibels(*self.config.overall, rng))
        silence = Crop(np.zeros((2, self.frames), np.float32), np.inf)
        crops = [stems.get(stem, silence) for stem in self.sources]
        stacked = (np.stack([crop.samples for crop in crops]) * gain).astype(np.float32)
        return stacked, known_apart(self.sources, joined), np.array([crop.band for crop in crops], np.float32)

    def _own_mix(self, rng: Generator) -> tuple[Crops, tuple[str, ...]]:
        config, songs = self.config, self.library.songs
        song = songs[int(rng.choice(len(songs), p=self._song_weights))]
        lead = song.clips[str(rng.choice(sorted(song.clips)))]
        start = crop_start(lead, self.frames, rng.random() < config.active, rng)
        speed = self._speed(rng)
        unit = 2 * _LEVEL / max(float(np.sqrt(sum(clip.level**2 for clip in song.clips.values()))), 1e-4)
        stems, swap = {}, rng.random() < 0.5
        for stem, clip in song.clips.items():
            late = int(rng.uniform(0, config.shift) * RATE) if config.shift else 0
            gain = np.float32(unit * decibels(*config.own_gain, rng))
            crop = read_at_speed(clip, start + late, self.frames, speed) * gain
            stems[stem] = Crop(crop[::-1] if swap else crop, clip.band * speed)
        for stem in self.sources:
            if not _sounds(song, stem) and stem not in song.joined and self._takes_extra(stem, rng):
                stems[stem] = self._extra(stem, rng)
        return self._silence(stems, rng), song.joined

    def _remix(self, rng: Generator) -> tuple[Crops, tuple[str, ...]]:
        stems: Crops = {}
        joined: tuple[str, ...] = ()
        moment = self._moment(rng)
        for stem in map(str, rng.permutation(sorted(self.sources))):
            if stem in joined:
                continue
            if moment is None and self._takes_extra(stem, rng):
                stems[stem] = self._extra(stem, rng)
                continue
            # A second file of several stems would take from the first what is known of its sum.
            taken = set(self.sources) if joined else set(stems)
            holders = [(song, w) for song, w in self._holders[stem] if not (_mixed(song, stem) & taken)]
            if moment is not None:
                holders = [(song, w) for song, w in holders if moment.pace(song.tempo)]
            if holders:
                weights = np.array([weight for _, weight in holders])
                song = holders[int(rng.choice(len(holders), p=weights / weights.sum()))][0]
                stems[stem] = self._stem(song.clips[stem], rng, moment and moment.pace(song.tempo))
                joined = song.joined if _mixed(song, stem) else joined
        return self._silence(stems, rng), joined

    def _moment(self, rng: Generator) -> Moment | None:
        """What a remix keeps time with, at random or never as `in_time` says."""
        if not (self._tempos and self.config.in_time) or rng.random() >= self.config.in_time:
            return None
        return Moment(self._tempos[int(rng.integers(len(self._tempos)))], float(rng.random()), self.config.speed)

    def _stem(self, clip: Clip, rng: Generator, pace: Pace | None = None) -> Crop:
        crop = self._levelled(clip, rng, pace)
        return crop.changed(lambda x: flip_and_swap(x * np.float32(decibels(*self.config.gain, rng)), rng))

    def _takes_extra(self, stem: str, rng: Generator) -> bool:
        return bool(self.library.extra.get(stem)) and rng.random() < self.config.extra.get(stem, 0.0)

    def _extra(self, stem: str, rng: Generator) -> Crop:
        clips = self.library.extra[stem]
        clip = clips[int(rng.choice(len(clips), p=self._extra_weights[stem]))]
        if stem != "vocals":
            return self._stem(clip, rng)
        voice = self._levelled(clip, rng).changed(lambda x: place_voice(x, rng))
        return voice.changed(lambda x: flip_and_swap(x * np.float32(decibels(*self.config.gain, rng)), rng))

    def _levelled(self, clip: Clip, rng: Generator, pace: Pace | None = None) -> Crop:
        start = crop_start(clip, self.frames, rng.random() < self.config.active, rng)
        speed = self._speed(rng) if pace is None else pace.speed
        if pace is not None:
            start = pace.start(start, max(clip.length - round(self.frames * speed), 0))
        gain = np.float32(_LEVEL / max(clip.level, 1e-4))
        return Crop(read_at_speed(clip, start, self.frames, speed) * gain, clip.band * speed)

    def _speed(self, rng: Generator) -> float:
        return float(rng.uniform(*self.config.speed)) if rng.random() < self.config.respeed else 1.0

    def _silence(self, stems: Crops, rng: Generator) -> Crops:
        sounding = sorted(stem for stem, crop in stems.items() if crop.samples.any())
        if self.config.alone and rng.random() < self.config.alone and sounding:
            lone = str(rng.choice(sounding))
            return {lone: stems[lone]}
        kept = {stem: crop for stem, crop in stems.items() if rng.random() >= self.config.silence}
        return kept if any(crop.samples.any() for crop in kept.values()) else stems


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


def _weights(library: Library, songs: Sequence[Song], sizes: Sequence[float]) -> NDArray[np.float64]:
    """How often each song is drawn: by its size, and where roots have shares, these times its part of its root."""
    weights = _grow(sizes)
    if library.shares and len(songs):
        roots = np.array([song.root for song in songs])
        for root in set(roots):
            weights[roots == root] *= library.shares[root] / weights[roots == root].sum()
        weights /= weights.sum()
    return weights


def _grow(sizes: Sequence[float]) -> NDArray[np.float64]:
    """Grows with the square root of the size: long songs do not drown the others."""
    roots = np.sqrt(np.maximum(np.array(sizes, np.float64), 1e-9))
    return roots / roots.sum() if len(roots) else roots
