"""What is common to the stems of a mixture and what each has of its own: levels, sides, speeds, bands, effects."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from streamsep.training.augment import _room, place_voice
from streamsep.training.batches import Batch, BatchConfig, BatchMaker, varied
from streamsep.training.clips import BLOCK, Clip
from streamsep.training.data import STEMS, Library, Song
from streamsep.training.in_time import Tempo

PLAIN = BatchConfig(
    size=12, seconds=0.05, remix=0.0, gain=(0.0, 0.0), own_gain=(0.0, 0.0), overall=(0.0, 0.0), silence=0.0, active=0.0,
    extra={}, respeed=0.0,
)  # fmt: skip
SECOND = 44100


def clip(level: float = 0.1, frames: int = SECOND // 2, sides: Any = (1.0, 1.0), band: float = math.inf) -> Clip:
    """A square wave of 147 Hz, whose every stretch has its level, up to its last sample; in both channels or one."""
    wave = np.where(np.arange(frames) // 150 % 2, 1.0, -1.0)[:, None] * level * 32767
    samples = np.rint(wave * np.array(sides)).astype(np.int16)
    return Clip(samples, 1 / 32767, np.full(-(-frames // BLOCK), level, np.float32), level, band)


def library(*clips: Clip, extra: Clip | None = None, tempos: tuple[float | None, ...] = (None,)) -> Library:
    """Songs that all have the same four stems."""
    stems = dict(zip(STEMS, clips, strict=True))
    songs = tuple(Song(str(i), stems, tempo=None if bpm is None else Tempo(bpm)) for i, bpm in enumerate(tempos))
    return Library(songs, {} if extra is None else dict.fromkeys(("bass", "vocals"), (extra,)), ())


def drawn(library: Library, step: int = 0, **changes: Any) -> Batch:
    return BatchMaker(library, replace(PLAIN, **changes), STEMS, 64)(step)


def levels(batch: Batch) -> Tensor:
    """RMS of each stem `[B, S]`."""
    return batch.sources.square().mean((2, 3)).sqrt()


UNLIKE = library(clip(0.01), clip(0.02), clip(0.1), clip(0.1))
SCALE = 0.2 / math.sqrt(0.01**2 + 0.02**2 + 2 * 0.1**2)


@pytest.mark.parametrize(
    ("changes", "factor"),
    [
        ({}, 1.0),
        ({"own_gain": (-6.0, -6.0)}, 10**-0.3),
        ({"overall": (6.0, 6.0)}, 10**0.3),
        ({"gain": (9.0, 9.0)}, 1.0),
    ],
)
def test_a_song_keeps_the_levels_of_its_own_mix(changes: dict[str, Any], factor: float) -> None:
    """Its stems together have 0.2 before the gains; a remix's gain is none of theirs."""
    own = factor * SCALE * torch.tensor([0.01, 0.02, 0.1, 0.1])
    torch.testing.assert_close(levels(drawn(UNLIKE, **changes)), own.expand(12, 4), rtol=5e-3, atol=0)


@pytest.mark.parametrize(
    ("changes", "factor"),
    [
        ({}, 1.0),
        ({"gain": (-6.0, -6.0)}, 10**-0.3),
        ({"overall": (6.0, 6.0)}, 10**0.3),
        ({"own_gain": (9.0, 9.0)}, 1.0),
    ],
)
def test_a_remix_brings_its_stems_to_one_level(changes: dict[str, Any], factor: float) -> None:
    found = levels(drawn(UNLIKE, remix=1.0, **changes))
    torch.testing.assert_close(found, torch.full((12, 4), 0.1 * factor), rtol=5e-3, atol=0)


@pytest.mark.parametrize("remix", [0.0, 1.0])
def test_each_stem_has_a_gain_of_its_own_and_the_mixture_one_for_all(remix: float) -> None:
    stems = library(*(clip(0.1),) * 4)
    apart = 20 * levels(drawn(stems, remix=remix, own_gain=(-3.0, 3.0), gain=(-3.0, 3.0))).log10() + 20
    assert -3.1 < apart.min() < -2 and 2 < apart.max() < 3.1 and apart.std(1).min() > 0.1
    common = 20 * levels(drawn(stems, remix=remix, overall=(-12.0, 6.0))).log10() + 20
    assert common.std(1).max() < 0.01 and common.std(0).min() > 2


@pytest.mark.parametrize("remix", [0.0, 1.0])
def test_the_sides_of_a_song_are_exchanged_for_all_stems_together_and_of_a_remix_one_by_one(remix: float) -> None:
    """All sound on the left."""
    batch = drawn(library(*(clip(sides=(1.0, 0.0)),) * 4), remix=remix)
    left, right = batch.sources.abs().amax(-1).unbind(-1)
    swapped = right > 0
    assert torch.equal(left > 0, ~swapped) and swapped.any() and not swapped.all()
    assert bool((swapped.all(1) | ~swapped.any(1)).all()) is (remix == 0)


@pytest.mark.parametrize("remix", [0.0, 1.0])
def test_playing_faster_raises_the_band_too(remix: float) -> None:
    stems = library(*(clip(band=10_000.0),) * 4, extra=clip(band=5000.0))
    fast: dict[str, Any] = {"remix": remix, "respeed": 1.0, "speed": (1.1, 1.1)}
    band = drawn(stems, **fast).band
    assert band is not None and torch.equal(band, torch.full((12, 4), 10_000 * 1.1))
    band = drawn(stems, **fast, extra={"bass": 1.0}).band
    assert band is not None
    expected = torch.tensor([11_000.0, 5500.0 if remix else 11_000.0, 11_000.0, 11_000.0])
    torch.testing.assert_close(band, expected.expand(12, 4))


def test_in_time_a_band_moves_with_the_tempo_and_no_crop_ends_beyond_its_recording() -> None:
    """At 1.25 times the speed a crop of half a second takes five eighths; a bar lasts 0.4 or 0.5 seconds."""
    stems = library(*(clip(frames=round(1.2 * SECOND), band=8000.0),) * 4, tempos=(600.0, 480.0))
    batch = drawn(stems, remix=1.0, in_time=1.0, seconds=0.5, speed=(0.8, 1.25), size=24)
    assert batch.band is not None and set(batch.band.unique().tolist()) == {6400.0, 8000.0, 10_000.0}
    assert batch.sources[..., -400:].abs().amax((2, 3)).min() > 0.05


def test_an_extra_voice_is_placed_in_the_room_and_other_extra_recordings_are_not() -> None:
    """Both are the same in both channels."""
    stems = library(*(clip(),) * 4, extra=clip())
    batch = drawn(stems, remix=1.0, extra={"vocals": 1.0, "bass": 1.0})
    apart = (batch.sources[:, :, 0] - batch.sources[:, :, 1]).abs().amax(-1) > 1e-3
    assert apart[:, 3].all() and not apart[:, :3].any()


@pytest.mark.parametrize("frames", [1, 4000, 12_000])
def test_a_voice_shorter_than_the_echoes_of_a_room_can_be_placed(frames: int) -> None:
    for seed in range(12):
        placed = place_voice(np.ones((2, frames), np.float32), np.random.default_rng(seed))
        assert placed.shape == (2, frames) and placed.dtype == np.float32 and np.isfinite(placed).all()


def test_echoes_of_a_room_fade_with_their_delay_and_differ_left_and_right() -> None:
    """Eight of an impulse, 11 to 220 ms late to within a fifteenth, ten times weaker for every 200 ms."""
    impulse = np.zeros((2, 12_000), np.float32)
    impulse[:, 0] = 1
    for seed in range(8):
        echoes = np.abs(_room(impulse, 0.5, np.random.default_rng(seed)))
        left, right = (np.flatnonzero(side) for side in echoes)
        assert len(left) == len(right) == 8 and not np.array_equal(left, right)
        for side, places in zip(echoes, (left, right), strict=True):
            assert (places.min() + 1) / SECOND > 0.011 * 0.93 and places.max() / SECOND < 0.22 * 1.07
            weakest, strongest = (
                0.5 * 10 ** (-(places + slack) / SECOND / 0.2 / by) for slack, by in ((1, 0.93), (0, 1.07))
            )
            assert (side[places] > 0.999 * weakest).all() and (side[places] < 1.001 * strongest).all()


def test_effects_are_drawn_anew_for_every_row_and_step() -> None:
    """Nowhere in a long run, of any number of rows, are two draws the same; each is of one row's stems."""
    batch = drawn(library(*(clip(),) * 4), size=4)
    asked: list[int] = []

    def note(stems: Tensor, number: int) -> Tensor:
        assert stems.shape == (1, *batch.sources.shape[1:])
        asked.append(number)
        return stems * (number + 1)

    for step, rows in ((0, range(4)), (1, range(4)), (1, range(4, 8)), (2, range(4)), (1_000_000, range(4))):
        changed = varied(batch, note, step, rows)
        factors = 1.0 + torch.tensor(asked[-4:])
        torch.testing.assert_close(changed.sources, batch.sources * factors[:, None, None, None])
        torch.testing.assert_close(changed.mix, changed.sources.sum(1))
    assert len(set(asked)) == len(asked) == 20
