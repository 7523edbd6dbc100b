"""How often something is drawn: songs, recordings, crops, speeds and rests, over many mixtures of a few samples."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from streamsep.training.batch_effects import RATE, BatchEffects, draw_curves
from streamsep.training.batches import Batch, BatchConfig, BatchMaker
from streamsep.training.clips import BLOCK, Clip
from streamsep.training.data import STEMS, Library, Song
from tests.test_batch_effects import NOTHING

ROWS = 600
PLAIN = BatchConfig(size=ROWS, seconds=0.001, remix=0.0, silence=0.0, active=0.0, extra={}, respeed=0.0)


def clip(blocks: int, sounding: int | None = None, band: float = math.inf) -> Clip:
    """So many tenths of a second, of which the last `sounding` are no silence; its band tells whose it is."""
    samples = np.full((blocks * BLOCK, 1), 3000, np.int16)
    envelope = np.full(blocks, 0.09, np.float32)
    rest = 0 if sounding is None else blocks - sounding
    samples[: rest * BLOCK], envelope[:rest] = 0, 0
    return Clip(samples, 1 / 32767, envelope, 0.09, band)


def song(name: str, each: Clip) -> Song:
    return Song(name, dict.fromkeys(STEMS, each))


def drawn(library: Library, **changes: Any) -> Batch:
    return BatchMaker(library, replace(PLAIN, **changes), STEMS, 1)(0)


def shares_of(batch: Batch, band: float) -> list[float]:
    """Of each stem, how often it came from the recordings of a band."""
    assert batch.band is not None
    return (batch.band == band).float().mean(0).tolist()


def within_chance(share: float) -> Any:
    """Three standard deviations of the share of so many draws."""
    return pytest.approx(share, abs=3 * math.sqrt(share * (1 - share) / ROWS))


@pytest.mark.parametrize("remix", [0.0, 1.0])
def test_a_song_nine_times_as_long_is_drawn_three_times_as_often(remix: float) -> None:
    library = Library((song("short", clip(2, band=5000.0)), song("long", clip(18, band=9000.0))), {}, ())
    assert shares_of(drawn(library, remix=remix), 9000.0) == [within_chance(0.75)] * 4


def test_of_a_remix_counts_how_long_the_stem_sounds_not_how_long_it_is() -> None:
    library = Library((song("rests", clip(18, 2, band=5000.0)), song("plays", clip(18, 18, band=9000.0))), {}, ())
    assert shares_of(drawn(library, remix=1.0), 9000.0) == [within_chance(0.75)] * 4
    assert shares_of(drawn(library), 9000.0)[0] == within_chance(0.5)


def test_longer_extra_recordings_come_more_often_too() -> None:
    library = Library((song("one", clip(2)),), {"bass": (clip(2, band=5000.0), clip(18, band=9000.0))}, ())
    assert shares_of(drawn(library, remix=1.0, extra={"bass": 1.0}), 9000.0) == [0, within_chance(0.75), 0, 0]


@pytest.mark.parametrize("remix", [0.0, 1.0])
@pytest.mark.parametrize("active", [0.0, 0.6, 1.0])
def test_crops_are_chosen_where_something_sounds_as_often_as_asked(remix: float, active: float) -> None:
    """A fifth of the recording sounds, and so does a fifth of the crops drawn anywhere."""
    batch = drawn(Library((song("one", clip(10, 2)),), {}, ()), remix=remix, active=active)
    sounding = float((batch.sources[:, 0].abs().amax((1, 2)) > 0).float().mean())
    assert sounding == within_chance(active + (1 - active) * 0.2)


@pytest.mark.parametrize("remix", [0.0, 1.0])
def test_another_speed_is_as_frequent_as_asked_and_within_its_range(remix: float) -> None:
    """Of a song all stems have the same."""
    library = Library((song("one", clip(10, band=10_000.0)),), {}, ())
    batch = drawn(library, remix=remix, respeed=0.3, speed=(0.8, 1.1))
    assert batch.band is not None
    speed = batch.band / 10_000
    assert shares_of(batch, 10_000.0)[0] == within_chance(0.7)
    assert 0.8 <= speed.min() < 0.85 and 1.05 < speed.max() <= 1.1001
    assert bool((speed == speed[:, :1]).all()) is (remix == 0)


def test_stems_fall_silent_as_often_as_asked_but_never_all() -> None:
    batch = drawn(Library((song("one", clip(10)),), {}, ()), silence=0.4)
    kept = batch.sources.abs().amax((2, 3)) > 0
    assert kept.any(1).all()
    assert kept.float().mean(0).tolist() == [within_chance(0.6 + 0.4**4)] * 4


def test_every_second_stem_of_a_remix_is_inverted_and_none_of_a_song() -> None:
    library = Library((song("one", clip(10)),), {}, ())
    upside_down = [
        (drawn(library, remix=remix).sources.sum((2, 3)) < 0).float().mean(0).tolist() for remix in (0.0, 1.0)
    ]
    assert upside_down == [[0.0] * 4, [within_chance(0.5)] * 4]


def test_a_tone_does_not_reach_round_to_the_beginning() -> None:
    """What the equaliser smears beyond the end is cut off."""
    stems = torch.zeros(8, 4, 2, 8192)
    stems[..., -50:] = torch.randn(8, 4, 2, 50)
    out = BatchEffects(replace(NOTHING, tone=1.0), STEMS)(stems, 0)
    assert out[..., :2048].abs().max() < 1e-3 and out[..., -50:].abs().max() > 1


def test_each_end_of_the_spectrum_has_a_shelf_of_its_own() -> None:
    """At the lowest and the highest frequency the bells are far away."""
    ends = draw_curves((600,), 4096, 5.0, torch.Generator().manual_seed(0))[:, [0, -1]]
    hertz = torch.fft.rfftfreq(4096, 1 / RATE)
    assert hertz[-1] == RATE / 2
    assert ends.std(0).tolist() == [pytest.approx(5, abs=0.9)] * 2
    assert abs(float(torch.corrcoef(ends.T)[0, 1])) < 0.3


def test_a_tone_is_drawn_stem_by_stem() -> None:
    stems = torch.randn(40, 4, 2, 256)
    toned = (BatchEffects(replace(NOTHING, tone=0.5), STEMS)(stems, 0) - stems).abs().amax((2, 3)) > 1e-3
    assert 0.35 < toned.float().mean() < 0.65
    assert not (toned == toned[:, :1]).all(1).all() and not (toned == toned[:1]).all()
