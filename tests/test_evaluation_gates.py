"""What counts and what does not: silent frames, faint stems, echoes of an impulse, songs without a value."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from streamsep.evaluation.evaluate import evaluate_song
from streamsep.evaluation.measures.latency import impulse_latency
from streamsep.evaluation.metrics import StemTotals, frame_sdr
from streamsep.evaluation.summary import MEANS, MEDIANS, scores
from tests.test_evaluation import Song, Splitter
from tests.toys import ToySeparator

FRAME = 100


def frames(*levels: float) -> Tensor:
    """A frame of each level, the same in both channels."""
    return torch.tensor(levels).repeat_interleave(FRAME).expand(2, -1)


@pytest.mark.parametrize(("errors", "median"), [((0.1, 0.01), 30.0), ((0.1, 0.001, 1.0), 20.0), ((1.0,) * 3, 0.0)])
def test_the_median_of_frames_is_the_middle_one_or_the_mean_of_the_two(
    errors: tuple[float, ...], median: float
) -> None:
    reference, missing = frames(*[0.5] * len(errors)), frames(*errors)
    assert frame_sdr(reference, (1 - missing) * reference, FRAME) == pytest.approx(median, abs=1e-4)


@pytest.mark.parametrize(("level", "heard"), [(0.6e-4, False), (0.8e-4, True)])
def test_a_frame_below_80_decibels_under_full_scale_is_silent(level: float, heard: bool) -> None:
    """Of both channels together. The faint frame would be told at 0 dB, the loud one is at 20."""
    reference = frames(0.5, level)
    estimate = reference * frames(0.9, 0.0)
    assert frame_sdr(reference, estimate, FRAME) == pytest.approx(10 if heard else 20, abs=1e-4)


def test_a_frame_that_is_not_finished_has_no_say() -> None:
    reference = frames(0.5, 0.5)
    estimate = reference * frames(0.9, 0.0)
    assert frame_sdr(reference[:, :-1], estimate[:, :-1], FRAME) == pytest.approx(20, abs=1e-4)


@pytest.mark.parametrize(("decibels", "sounds"), [(-39.9, True), (-40.1, False)])
def test_a_stem_sounds_from_40_decibels_under_the_mixture_on(decibels: float, sounds: bool) -> None:
    total, mix = StemTotals(), frames(0.5)
    total.update(10 ** (decibels / 20) * mix, mix, mix)
    assert total.sounds is sounds


def test_totals_from_known_sums_are_those_of_the_signals() -> None:
    s, e, m = torch.randn(3, 2, 500, dtype=torch.float64)
    whole = StemTotals()
    whole.update(s, e, m)
    reference, error, estimate, mix = (float(x.square().sum()) for x in (s, s - e, e, m))
    products = float((s * e).sum()), float((s * m).sum())
    made = StemTotals.from_sums(reference, error, estimate, mix, products)
    for name in ("sdr", "si_sdr", "baseline"):
        assert getattr(made, name) == pytest.approx(getattr(whole, name), rel=1e-9)
    assert made.sounds and math.isnan(made.median)


def test_frames_are_seconds_of_the_model_s_rate() -> None:
    model, song = Splitter(), Song()
    model.sample_rate = 2000
    found = evaluate_song(model, song, names=Splitter.sources)["drums"]["median_sdr"]
    truth = song.stems
    assert found == pytest.approx(frame_sdr(truth[0], 0.5 * truth.sum(0), 2000), abs=1e-4)
    assert found != pytest.approx(frame_sdr(truth[0], 0.5 * truth.sum(0), 5000), abs=1e-4)


class Echo(ToySeparator):
    """What it hears comes once more, a thousand samples later, at another level."""

    def __init__(self, level: float) -> None:
        super().__init__(64, 96)
        self.level = level

    def step(self, mix: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        return super().step(mix + self.level * mix.roll(1000, -1), state)


@pytest.mark.parametrize(("level", "late"), [(0.0, 0), (0.9, 0), (1.1, 1000)])
def test_the_louder_of_two_impulses_is_heard(level: float, late: int) -> None:
    assert impulse_latency(Echo(level), 0.05) == 96 + 64 + late


def test_two_alike_are_no_impulse() -> None:
    """Neither has more than half of the energy."""
    assert impulse_latency(Echo(1.0), 0.05) is None


def test_bss_eval_is_a_median_over_the_songs_and_all_else_a_mean() -> None:
    """A song that has no value for a measure has no say in it; nor has one without the stem."""
    values = (1.0, 2.0, 9.0, math.nan)
    results: list[dict[str, Any]] = [{"stems": {"drums": dict.fromkeys((*MEDIANS, *MEANS), value)}} for value in values]
    results += [{"stems": {"bass": dict.fromkeys(MEDIANS, 6.0)}}, {"stems": {}}]
    table = scores(results, ("drums", "bass", "vocals"))
    assert list(table) == ["drums", "bass", "mean"]
    assert table["drums"] == dict.fromkeys(MEDIANS, 2.0) | dict.fromkeys(MEANS, 4.0)
    assert {name: table["bass"][name] for name in MEDIANS} == dict.fromkeys(MEDIANS, 6.0)
    assert table["mean"] == dict.fromkeys(MEDIANS, 4.0) | dict.fromkeys(MEANS, 4.0)
