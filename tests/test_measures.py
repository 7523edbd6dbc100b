"""Measures in pieces against closed forms, other packages, and the same measures on the whole."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from streamsep.evaluation import metrics
from streamsep.evaluation.diagnosis import diagnose
from streamsep.evaluation.measures import song
from streamsep.evaluation.measures.alignment import align
from streamsep.evaluation.measures.difference import difference
from streamsep.evaluation.measures.latency import impulse_latency
from streamsep.evaluation.measures.loudness import Loudness
from streamsep.evaluation.measures.song import Sounds, measure, measure_briefly
from streamsep.evaluation.measures.sums import LogSpectra, Peaks, Seconds, leakage, second_measures, stereo_error
from streamsep.evaluation.seams import SeamTotals, seam_figure
from tests.toys import ToySeparator

RATE = 44100
Waves = Any


def fed(measure: Any, *signals: Waves, step: int = 1237) -> Any:
    """A measure after signals `[T, ...]` went through it in pieces."""
    for at in range(0, len(signals[0]), step):
        measure.update(*(signal[at : at + step] for signal in signals))
    return measure


def tensor(samples: Waves) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(samples.T))


def music(rng: np.random.Generator, seconds: float) -> Waves:
    """Noise whose loudness swells and sinks, low frequencies foremost, stereo."""
    count = round(seconds * RATE)
    noise = rng.standard_normal((count + 99, 1)) + 0.4 * rng.standard_normal((count + 99, 2))
    smooth = np.cumsum(noise, axis=0)
    slow = 1.2 + np.sin(2 * np.pi * 1.7 * np.arange(count) / RATE)[:, None]
    return 0.02 * (smooth[99:] - smooth[:-99]) * slow


def test_seconds_are_the_measures_of_each_second(rng: np.random.Generator) -> None:
    s, e, m = 0.1 * rng.standard_normal((3, 25_000, 2))
    s[10_000:20_000] = 0
    curves = second_measures(fed(Seconds(10_000), s, e, m).table())
    expected = [metrics.sdr(tensor(s[:10_000]), tensor(e[:10_000])), math.nan,
                metrics.sdr(tensor(s[20_000:]), tensor(e[20_000:]))]  # fmt: skip
    assert curves["sdr"] == pytest.approx(expected, nan_ok=True)
    assert curves["si_sdr"][0] == pytest.approx(metrics.si_sdr(tensor(s[:10_000]), tensor(e[:10_000])))
    levels = [20 * math.log10(np.sqrt(np.square(e[at : at + 10_000]).mean())) for at in (0, 10_000, 20_000)]
    assert curves["level"] == pytest.approx(levels)
    assert second_measures(fed(Seconds(10_000), s, 0 * e, m).table())["level"] == [-120.0] * 3


def test_leakage_is_the_level_where_the_stem_rests(rng: np.random.Generator) -> None:
    s, m = 0.1 * rng.standard_normal((2, 30_000, 2))
    s[10_000:20_000] = 0
    e = np.where(s == 0, 0.05 * m, 7.0)
    assert leakage(fed(Seconds(10_000), s, e, m).table()) == pytest.approx(20 * math.log10(0.05))
    assert math.isnan(leakage(fed(Seconds(10_000), m, e, m).table()))


def test_stereo_error_tells_balance_from_width(rng: np.random.Generator) -> None:
    s = 0.1 * rng.standard_normal((30_000, 2))
    turned = fed(Seconds(10_000), s, s * [1.0, 0.5], s).table()
    assert stereo_error(turned) == {
        "level_db": pytest.approx(20 * math.log10(2), abs=0.01),
        "correlation": pytest.approx(0, abs=1e-9),
    }
    mono = fed(Seconds(10_000), s, s.mean(1, keepdims=True).repeat(2, 1), s).table()
    assert stereo_error(mono)["correlation"] == pytest.approx(1, abs=0.03)
    assert all(math.isnan(value) for value in stereo_error(fed(Seconds(10_000), 0 * s, s, s).table()).values())


@pytest.mark.parametrize("rate", [44100, 48000])
def test_loudness_is_that_of_pyloudnorm(rng: np.random.Generator, rate: int) -> None:
    import pyloudnorm

    sound = music(rng, 3.3)
    sound[rate : 2 * rate] *= 1e-4  # for the gates
    assert fed(Loudness(rate), sound).integrated == pytest.approx(
        pyloudnorm.Meter(rate).integrated_loudness(sound), abs=1e-9
    )
    assert fed(Loudness(rate), 0 * sound).integrated == -math.inf
    assert math.isnan(fed(Loudness(rate), sound[:1000]).integrated)


def test_spectral_distance_of_a_gain_is_that_gain(rng: np.random.Generator) -> None:
    s = rng.standard_normal((30_000, 2))
    distance = fed(LogSpectra(10_000), s, 0.5 * s)
    assert distance.mean == pytest.approx(20 * math.log10(2), abs=1e-3)
    assert distance.seconds() == pytest.approx([20 * math.log10(2)] * 3, abs=1e-3)
    assert fed(LogSpectra(10_000), s, s).mean == 0
    assert math.isnan(fed(LogSpectra(10_000), s[:100], s[:100]).mean)


def test_clipping_is_the_share_of_samples_at_the_peak(rng: np.random.Generator) -> None:
    sound = 0.2 * rng.standard_normal((50_000, 2))
    assert fed(Peaks(), sound).clipped < 1e-4
    held = sound.clip(-0.3, 0.3)
    peaks = fed(Peaks(), held)
    assert peaks.peak == 0.3
    assert peaks.clipped == pytest.approx((np.abs(held) == 0.3).mean(0).max())


def test_alignment_finds_delay_swap_and_drift(rng: np.random.Generator) -> None:
    truth = np.stack([music(rng, 8) for _ in range(4)], axis=1)
    estimates = truth.copy()
    estimates[132:, 0] = truth[:-132, 0]
    estimates[:, [1, 2]] = truth[:, [2, 1]]
    kept = truth[np.arange(len(truth)) % 512 != 511, 3]
    estimates[:, 3] = 0
    estimates[: len(kept), 3] = kept
    found = align(truth, estimates)
    assert found.delays[0] == 132
    assert found.likeness.argmax(1)[:3].tolist() == [0, 2, 1]
    assert found.likeness[0, 0] > 0.99 and found.likeness[1, 1] < 0.1
    assert found.drifts[0] == 0
    assert found.drifts[3] == pytest.approx(-1 / 511, rel=0.02)


@pytest.mark.parametrize(("period", "offset"), [(512, 0), (441, 100)])
def test_a_step_at_each_border_is_a_seam(rng: np.random.Generator, period: int, offset: int) -> None:
    sound = music(rng, 4)
    assert abs(seam_figure(sound, period, offset)) < 3
    steps = np.zeros_like(sound)
    for index, at in enumerate(range(offset, len(sound), period)):
        steps[at : at + period] = 0.4 * (index % 2)
    assert seam_figure(sound + steps, period, offset) > 20
    assert fed(SeamTotals(period, offset), sound + steps).result().figure == pytest.approx(
        seam_figure(sound + steps, period, offset)
    )
    found = fed(SeamTotals(period), sound + steps).result(anywhere=True)
    assert found.heard and offset <= found.phase <= offset + 2
    assert seam_figure(sound + steps, period, offset + period // 2) < 3  # it is not elsewhere


def test_within_a_second_no_drift_is_told(rng: np.random.Generator) -> None:
    """Of a short song the windows lie so close that a sample more of delay would be a steep drift."""
    s = music(rng, 0.7)
    kept = s[np.arange(len(s)) % 400 != 399]
    e = np.pad(kept, ((0, len(s) - len(kept)), (0, 0)))
    assert math.isnan(align(s[:, None], e[:, None]).drifts[0])


def test_a_steep_drift_has_no_period_that_is_too_short(rng: np.random.Generator) -> None:
    stems = rng.standard_normal((9000, 1, 2)).astype(np.float32)
    sounds = Sounds(("drums",), stems, stems[:, 0], None, RATE)
    for drift in (1 / 8, -1 / 3, 2.0):
        assert math.isfinite(song._seam(sounds, 0, drift)["seam"])


def test_a_few_samples_at_the_peak_are_no_clipping() -> None:
    facts = {"clipped": 2 / 3000, "peak": 0.5, "seam_heard": False}
    assert diagnose({"drums": facts}, RATE, 3000) == []
    assert [each["kind"] for each in diagnose({"drums": facts}, RATE, 30_000)] == ["clipped"]


def test_the_seam_of_next_to_nothing_is_unknown() -> None:
    assert math.isnan(seam_figure(np.zeros((500, 2)), 512))
    with pytest.raises(ValueError, match="at least 8"):
        SeamTotals(4)


@pytest.mark.parametrize(("hop", "latency"), [(64, 96), (512, 512), (100, 7)])
def test_latency_is_heard(hop: int, latency: int) -> None:
    assert impulse_latency(ToySeparator(hop, latency), 0.05) == latency + hop
    assert impulse_latency(ToySeparator(hop, latency, (0.0, 0.0)), 0.05) is None


def test_differences_are_over_the_shorter(rng: np.random.Generator) -> None:
    one = rng.standard_normal((900, 2, 2)).astype(np.float32)
    other = one[:500].copy()
    other[100, 1, 0] += 0.25
    rows = difference(one, other, ("drums", "bass"), 400)
    assert rows["drums"]["sdr"] == np.inf and rows["drums"]["max"] == 0
    assert rows["bass"]["max"] == pytest.approx(0.25)
    assert rows["bass"]["sdr"] == pytest.approx(10 * np.log10((other[:, 1] ** 2).sum() / 0.25**2), abs=1e-3)
    assert rows["bass"]["curve"] == [rows["bass"]["curve"][0], np.inf]
    assert math.isnan(difference(0 * one, 0 * one, ("drums", "bass"))["bass"]["sdr"])


@pytest.fixture
def sounds(rng: np.random.Generator) -> Sounds:
    """Two stems with errors, a silent one, and the mixture."""
    truth = np.stack([music(rng, 2.2), music(rng, 2.2), 0 * music(rng, 2.2)], axis=1).astype(np.float32)
    estimates = (truth + 0.2 * truth.sum(1, keepdims=True)).astype(np.float32)
    return Sounds(("drums", "bass", "other"), estimates, truth.sum(1), truth, RATE)


def test_measures_do_not_depend_on_the_pieces(sounds: Sounds, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(song, "_add_bss", lambda *_: None)
    whole = measure(sounds)
    monkeypatch.setattr(song, "_pieces", lambda s: (slice(at, at + 701) for at in range(0, len(s.mix), 701)))
    pieces = measure(sounds)
    assert sounds.truth is not None
    for index, name in enumerate(("drums", "bass")):
        s, e, m = tensor(sounds.truth[:, index]), tensor(sounds.estimates[:, index]), tensor(sounds.mix)
        assert whole[name]["usdr"] == pytest.approx(metrics.sdr(s, e))
        assert whole[name]["si_sdr"] == pytest.approx(metrics.si_sdr(s, e))
        assert whole[name]["baseline_sdr"] == pytest.approx(metrics.baseline_sdr(s, m))
        for key in ("usdr", "si_sdr", "baseline_sdr", "lsd", "lufs", "clipped", "seam", "stereo_level"):
            assert pieces[name][key] == pytest.approx(whole[name][key], rel=1e-6), key
        assert pieces[name]["curves"]["sdr"] == pytest.approx(whole[name]["curves"]["sdr"])


def test_the_brief_measures_are_those_of_the_long_ones(sounds: Sounds, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(song, "_add_bss", lambda *_: None)
    brief, whole = measure_briefly(sounds), measure(sounds)
    for name, facts in brief.items():
        assert {"usdr", "si_sdr", "baseline_sdr", "leakage", "sounds", "curves"} == set(facts)
        for key, value in facts.items():
            if key == "curves":
                assert all(curve == pytest.approx(whole[name]["curves"][k], nan_ok=True) for k, curve in value.items())
            else:
                assert value == pytest.approx(whole[name][key], nan_ok=True), key


def test_a_silent_stem_has_leakage_alone(sounds: Sounds, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[int, ...]] = []

    def note(truth: Waves, estimates: Waves, frame: int) -> Any:
        seen.append(truth.shape)
        return frames(truth, estimates, frame, taps=8)

    frames = song.bss_frames
    monkeypatch.setattr(song, "bss_frames", note)
    facts = measure(sounds)
    assert seen == [(len(sounds.mix), 2, 2)]  # BSS eval knows of the sounding stems alone
    silent = facts["other"]
    assert not silent["sounds"] and silent["leakage"] == pytest.approx(20 * math.log10(0.2), abs=1e-3)
    assert all(math.isnan(silent[name]) for name in ("sdr", "sir", "sar", "isr", "usdr", "si_sdr"))
    assert facts["bass"]["sounds"] and facts["bass"]["sdr"] > 10


def test_dither_has_no_quality(sounds: Sounds) -> None:
    """A stem of nothing but the dither of 16 bits is a silent one: its SDR of -80 dB would drown all others."""
    assert sounds.truth is not None
    truth = np.array(sounds.truth)
    truth[:, 0] = 3e-5 * np.sign(truth[:, 0])
    facts = measure_briefly(replace(sounds, truth=truth))[sounds.names[0]]
    assert not facts["sounds"]
    assert all(math.isnan(facts[name]) for name in ("usdr", "si_sdr", "baseline_sdr"))


def test_without_truth_there_is_still_something_to_say(sounds: Sounds) -> None:
    facts = measure(Sounds(sounds.names, sounds.estimates, sounds.mix, None, RATE, 512, -512))
    assert set(facts["drums"]) == {"lufs", "peak", "clipped", "seam", "seam_sigma", "seam_period", "seam_heard"}
    assert facts["drums"]["seam_period"] == 512
