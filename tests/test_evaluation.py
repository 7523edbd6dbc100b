"""Measures against closed forms, and a known separator over a song."""

import json
import math
from pathlib import Path

import pytest
import torch
from torch import Tensor

from streamsep.evaluation.evaluate import evaluate_song, format_table, mean_scores, results_text
from streamsep.evaluation.metrics import StemTotals, baseline_sdr, frame_sdr, sdr, si_sdr

torch.manual_seed(0)
# Orthogonal signals of equal energy: sines of whole periods.
TIME = torch.arange(44100, dtype=torch.float64) / 44100
S = torch.sin(2 * math.pi * 100 * TIME).expand(2, -1)
N = torch.sin(2 * math.pi * 300 * TIME).expand(2, -1)


def test_sdr_of_orthogonal_noise_is_the_energy_ratio() -> None:
    assert sdr(S, S + 0.1 * N) == pytest.approx(20, abs=1e-9)
    assert si_sdr(S, S + 0.1 * N) == pytest.approx(20, abs=1e-6)


def test_scale_matters_to_sdr_alone() -> None:
    assert sdr(S, 0.5 * (S + 0.1 * N)) == pytest.approx(-10 * math.log10(0.25 + 0.25 * 0.01), abs=1e-9)
    assert si_sdr(S, 0.5 * (S + 0.1 * N)) == pytest.approx(20, abs=1e-6)
    assert sdr(S, 0 * S) == 0


def test_baseline_is_the_best_of_all_gains() -> None:
    mix = S + 2 * N
    assert baseline_sdr(S, mix) == pytest.approx(10 * math.log10(5 / 4), abs=1e-9)
    gains = torch.linspace(-1, 1, 201)
    assert max(sdr(S, g * mix) for g in gains) == pytest.approx(baseline_sdr(S, mix), abs=1e-3)


def test_edge_cases() -> None:
    assert math.isnan(sdr(0 * S, S)) and math.isnan(si_sdr(0 * S, S)) and math.isnan(baseline_sdr(0 * S, S))
    assert sdr(S, S) == math.inf
    assert si_sdr(S, 0 * S) == -math.inf


def test_a_stem_alone_in_its_mixture_has_no_baseline() -> None:
    """The best gain would be perfect there, and infinite among the other songs' in every mean."""
    assert math.isnan(baseline_sdr(S, 0.3 * S))
    assert math.isfinite(baseline_sdr(S, S + 1e-4 * N))


def test_a_perfect_stem_does_not_swallow_the_others_of_a_mean() -> None:
    rows = {str(at): {"drums": {"sdr": value}} for at, value in enumerate((3.0, math.inf, math.nan, 5.0))}
    assert mean_scores(rows) == {"drums": {"sdr": 4.0}}
    assert mean_scores({"a": {"drums": {"sdr": math.inf}}}) == {"drums": {"sdr": math.inf}}
    assert mean_scores({"a": {"drums": {"sdr": -math.inf}}, **rows})["drums"]["sdr"] == -math.inf


def test_totals_do_not_depend_on_the_pieces() -> None:
    reference, estimate, mix = torch.randn(3, 2, 5000).unbind()
    whole, pieces = StemTotals(frame=700), StemTotals(frame=700)
    whole.update(reference, estimate, mix)
    for a, b in ((0, 13), (13, 1600), (1600, 5000)):
        pieces.update(reference[:, a:b], estimate[:, a:b], mix[:, a:b])
    for name in ("sdr", "si_sdr", "baseline", "median"):
        assert getattr(pieces, name) == pytest.approx(getattr(whole, name), rel=1e-9)


def test_a_stem_under_coding_noise_does_not_sound() -> None:
    mix = torch.randn(2, 1000)
    for gain, heard in ((0.02, True), (0.005, False)):
        total = StemTotals()
        total.update(gain * mix, mix, mix)
        assert total.sounds is heard


def test_median_skips_silent_frames() -> None:
    frame = 44100
    reference = torch.cat([S, 0 * S, S, S], 1)
    estimate = torch.cat([1.1 * S, S, 0.9 * S, 0 * S], 1)
    assert frame_sdr(reference, estimate, frame) == pytest.approx(20, abs=1e-9)


class Splitter:
    """Gives every stem a fixed share of the mix, a hop late."""

    hop, latency, sample_rate = 64, 64, 44100
    sources: tuple[str, ...] = ("drums", "bass", "other", "vocals")

    def __init__(self) -> None:
        self.shares = torch.tensor([0.5, 0.25, 0.25, 0.0])

    def init_state(
        self,
        batch: int = 1,
        max_chunk: int = 1,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> Tensor:
        return torch.zeros(batch, 2, self.hop)

    def step(self, mix: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        both = torch.cat([state, mix], -1)
        return both[:, None, :, : mix.shape[-1]] * self.shares[:, None, None], both[..., -self.hop :]


class Song:
    """Three sounding stems and the dither of 16 bits, of a length that is no multiple of anything."""

    length = 10007

    def __init__(self) -> None:
        self.stems = torch.randn(4, 2, self.length) * torch.tensor([1.0, 0.5, 0.5, 3e-5])[:, None, None]

    def __call__(self, start: int, frames: int) -> Tensor:
        piece = self.stems[..., start : start + frames]
        return torch.nn.functional.pad(piece, (0, frames - piece.shape[-1]))


@pytest.mark.parametrize("seconds", [None, 0.1])
def test_evaluation_of_a_known_separator(seconds: float | None) -> None:
    song = Song()
    done: list[int] = []
    scores = evaluate_song(Splitter(), song, names=Splitter.sources, seconds=seconds, chunk=5, progress=done.append)
    length = song.length if seconds is None else 4410
    assert sum(done) == length and list(scores) == ["drums", "bass", "other"]
    truth = song.stems[..., :length].double()
    for stem, share, reference in zip(scores, (0.5, 0.25, 0.25), truth, strict=False):
        row, mix = scores[stem], truth.sum(0)
        assert row["sdr"] == pytest.approx(sdr(reference, share * mix), abs=1e-4)
        assert row["si_sdr"] == pytest.approx(si_sdr(reference, mix), abs=1e-4)
        assert row["improvement"] == pytest.approx(row["sdr"] - baseline_sdr(reference, mix), abs=1e-4)
        assert row["improvement"] < 0


def test_means_tables_and_files(tmp_path: Path) -> None:
    row = {"sdr": 1.0, "si_sdr": 0.0, "median_sdr": math.nan, "baseline_sdr": 0.5, "improvement": 0.5}
    songs = {"a": {"drums": row, "vocals": row}, "b": {"drums": {**row, "sdr": 3.0}}}
    means = mean_scores(songs)
    known = mean_scores(songs | {"c": {"drums": row | {"median_sdr": 7.0}}})
    assert known["drums"]["median_sdr"] == 7.0  # of the songs that have one
    assert means["drums"]["sdr"] == 2.0 and means["vocals"]["sdr"] == 1.0
    assert format_table(means).splitlines()[1].split() == ["drums", "2.00", "0.00", "nan", "0.50", "0.50"]
    (tmp_path / "r.json").write_text(results_text({"model": "x", "mean": means}))
    read = json.loads((tmp_path / "r.json").read_text())
    assert read["mean"]["vocals"] == {**row, "median_sdr": None}
