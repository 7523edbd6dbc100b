"""Progress on held-out songs: scores of a model whose errors are known, and what is kept of them."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from streamsep.training import loop
from streamsep.training.clips import BLOCK, RATE, Clip
from streamsep.training.data import Library, Song
from streamsep.training.loop import Trainer, train
from streamsep.training.parallel import World
from streamsep.training.report import Report
from streamsep.training.validation import Score, excerpt_starts, validate
from tests.training_toys import CONFIG, Toy

SIDES = ("drums", "bass")  # the left channel, and the right one
LATENCY, WARM = 96, 0.01
UNSCORED = LATENCY + round(WARM * RATE)


class Sides(nn.Module):
    """Takes the two channels for the two stems, at 0.9 of their level, late, and wrong before `spoiled`."""

    hop, latency, sources = 64, LATENCY, SIDES

    def __init__(self, spoiled: int = 0) -> None:
        super().__init__()
        self.spoiled, self.heard = spoiled, list[Tensor]()

    def forward(self, mix: Tensor) -> Tensor:
        self.heard.append(mix)
        late = nn.functional.pad(mix, (LATENCY, -LATENCY))
        out = 0.9 * torch.stack([late * torch.tensor([[1.0], [0.0]]), late * torch.tensor([[0.0], [1.0]])], 1)
        out[..., : self.spoiled] = 7.0
        return out


def clip(samples: np.ndarray) -> Clip:
    return Clip(samples.astype(np.int16), 1 / 32767, np.full(-(-len(samples) // BLOCK), 0.09, np.float32), 0.09)


def song(*stems: str, joined: tuple[str, ...] = (), seconds: float = 1.0, name: str = "song") -> Song:
    """The same noise in one channel each: stems of equal energy that have nothing in common."""
    noise = np.random.default_rng(0).normal(0, 3000, (round(seconds * RATE), 1))
    sides = {"drums": noise * [1, 0], "bass": noise * [0, 1]}
    return Song(name, {stem: clip(sides[stem]) for stem in stems}, joined)


def score(model: nn.Module, *songs: Song, excerpts: int = 2, seconds: float = 0.1) -> Score:
    return validate(model, songs, excerpts=excerpts, seconds=seconds, warm=WARM)


def test_a_late_estimate_is_held_against_what_it_answers_and_against_the_best_gain() -> None:
    """A tenth is missing: 20 dB. Of two equal stems half the mixture is the best a gain can do: 3.01 dB."""
    found = score(Sides(), song(*SIDES))
    assert found.sdr == {stem: pytest.approx(20, abs=1e-3) for stem in SIDES}
    assert found.improvement == {stem: pytest.approx(20 - 10 * math.log10(2), abs=1e-3) for stem in SIDES}
    assert found.mean == pytest.approx(20, abs=1e-3)


def test_the_start_is_not_scored_and_what_follows_is() -> None:
    assert score(Sides(UNSCORED), song(*SIDES)).mean == pytest.approx(20, abs=1e-3)
    assert score(Sides(UNSCORED + 1), song(*SIDES)).mean < 10


def test_stems_that_are_not_known_apart_or_not_there_have_no_score() -> None:
    assert set(score(Sides(), song(*SIDES, joined=("bass", "other"))).sdr) == {"drums"}
    assert set(score(Sides(), song("bass")).sdr) == {"bass"}
    assert score(Sides()).sdr == {} and math.isnan(score(Sides()).mean)


def test_the_score_is_the_mean_over_the_songs_that_have_the_stem() -> None:
    """In the second song the drums are in both channels, and the model leaves one out."""
    noise = np.random.default_rng(1).normal(0, 3000, (RATE, 1))
    wide = Song("wide", {"drums": clip(noise * [1, 1])})
    alone, both = score(Sides(), wide), score(Sides(), song(*SIDES), wide)
    assert alone.sdr == {"drums": pytest.approx(-10 * math.log10((0.1**2 + 1) / 2), abs=1e-3)}
    assert both.sdr["drums"] == pytest.approx((20 + alone.sdr["drums"]) / 2, abs=1e-3)
    assert both.sdr["bass"] == pytest.approx(20, abs=1e-3)


def test_excerpts_lie_in_the_middles_of_equal_parts() -> None:
    assert excerpt_starts(1000, 200, 4) == [100, 300, 500, 700]
    assert excerpt_starts(1000, 200, 1) == [400]
    assert excerpt_starts(100, 200, 2) == [0, 0]
    model, held = Sides(), song(*SIDES)
    score(model, held, excerpts=3, seconds=0.1)
    frames = round(0.1 * RATE / 64) * 64
    starts = [round((RATE - frames) * part) for part in (1 / 6, 3 / 6, 5 / 6)]
    whole = sum(torch.from_numpy(each.read(0, RATE)) for each in held.clips.values())
    assert isinstance(whole, Tensor) and len(model.heard) == 3
    for heard, start in zip(model.heard, starts, strict=True):
        near = [start + step for step in (-1, 0, 1)]
        assert any(torch.equal(heard[0], whole[:, at : at + frames]) for at in near)


HELD = song(*SIDES)
LIBRARY = Library(songs=(HELD,), extra={"vocals": (clip(np.zeros((10 * RATE, 2))),) * 2}, validation=(HELD,))


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[nn.Module]:
    """The models that were scored; the scores are 1, 3, 2, 3, 2.5 and 2.9 dB."""
    scored: list[nn.Module] = []
    values = iter((1.0, 3.0, 2.0, 3.0, 2.5, 2.9))

    def known(model: nn.Module, *_: Any, **__: Any) -> Score:
        scored.append(model)
        return Score({"drums": next(values)}, {"drums": 0.0})

    monkeypatch.setattr(loop, "validate", known)
    return scored


def test_the_averaged_weights_are_scored_and_the_best_of_them_kept(tmp_path: Path, told: list[nn.Module]) -> None:
    """Every step and the end are scored. After the second step nothing is better, in the resumed run neither."""
    exported: list[tuple[str, int]] = []
    for steps, resume in ((3, False), (4, True)):
        averages: list[nn.Module] = []

        def export(model: nn.Module, path: Path, record: dict[str, Any], averages: list[nn.Module] = averages) -> None:
            averages.append(model)
            exported.append((path.name, record["training"]["steps"]))

        trained = Toy()
        config = replace(CONFIG, loop=replace(CONFIG.loop, steps=steps, validate_minutes=0.0))
        told.clear()
        progress = train(
            trained, LIBRARY, config, tmp_path, resume=resume, export=export, report=Report(tmp_path, quiet=True)
        )
        assert progress.best == 3.0 and len(told) == (2 if resume else 4)
        assert {id(model) for model in told} == {id(model) for model in averages} and averages[0] is not trained
    assert exported == [
        ("best.safetensors", 1),
        ("best.safetensors", 2),
        ("last.safetensors", 3),
        ("last.safetensors", 4),
    ]


def test_without_held_out_songs_nothing_is_best(tmp_path: Path) -> None:
    exported: list[str] = []
    train(
        Toy(), replace(LIBRARY, validation=()), CONFIG, tmp_path, report=Report(tmp_path, quiet=True),
        export=lambda model, path, record: exported.append(path.name),
    )  # fmt: skip
    assert exported == ["last.safetensors"] and not (tmp_path / "validation.csv").exists()


class Three(World):
    """The second of three processes, with nobody to talk to."""

    def wrap(self, module: nn.Module) -> nn.Module:
        return module


def test_a_record_counts_the_audio_of_all_processes(tmp_path: Path) -> None:
    """10 000 steps of three times two mixtures of 138 hops of 64 samples are 3.338 hours."""
    trainer = Trainer(
        Toy(), LIBRARY, CONFIG, tmp_path, world=Three(1, 3), export=None, report=Report(tmp_path, quiet=True)
    )
    trainer.progress.step, trainer.progress.elapsed = 10_000, 5400.0
    training = trainer.record()["training"]
    assert (training["audio_hours"], training["hours"], training["steps"]) == (3.338, 1.5, 10_000)
    assert training["extra_minutes"] == {"vocals": 0.3} and training["validation"] is None
