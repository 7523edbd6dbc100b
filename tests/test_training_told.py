"""What a step draws, by what rate it learns, and what a run tells of its steps, by a clock that the test turns."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from streamsep.errors import StreamsepError
from streamsep.training import loop, report
from streamsep.training.batch_effects import BatchEffects, EffectsConfig
from streamsep.training.batches import BatchMaker, varied
from streamsep.training.config import LoopConfig, TrainConfig
from streamsep.training.data import STEMS
from streamsep.training.loop import Trainer, train
from streamsep.training.optimiser import learning_rate
from streamsep.training.parallel import World
from streamsep.training.report import Report
from tests.test_training_validation import LIBRARY, Three
from tests.training_toys import CONFIG, Listener, Toy

PLAIN = replace(CONFIG, batch=replace(CONFIG.batch, extra={}))
SONGS = replace(LIBRARY, validation=())


def rows(folder: Path) -> Any:
    return np.genfromtxt(folder / "log.csv", delimiter=",", names=True)


def quiet(folder: Path) -> Report:
    return Report(folder, seconds=0.0, quiet=True)


def trainer(folder: Path, world: World, config: TrainConfig = PLAIN) -> Trainer:
    return Trainer(Toy(), SONGS, config, folder, world=world, export=None, report=quiet(folder))


def test_the_rate_of_each_step_is_that_of_its_place_in_the_schedule(tmp_path: Path) -> None:
    train(Toy(), SONGS, PLAIN, tmp_path, report=quiet(tmp_path))
    expected = [learning_rate(step, step / 8, PLAIN.optimiser) for step in range(8)]
    assert rows(tmp_path)["lr"] == pytest.approx(expected, rel=1e-4)
    assert learning_rate(0, 0.0, PLAIN.optimiser) == pytest.approx(1e-2 / 2)
    assert learning_rate(4, 0.5, PLAIN.optimiser) == pytest.approx(1e-2 * (0.01 + 0.99 / 2))


@pytest.mark.parametrize("step", [0, 5])
def test_a_step_hears_its_batch_with_the_effects_of_its_number(step: int, tmp_path: Path) -> None:
    config = replace(PLAIN, effects=EffectsConfig())
    listener = Trainer(Listener(), SONGS, config, tmp_path, world=Three(1, 3), export=None, report=quiet(tmp_path))
    listener.progress.step = step
    batch = BatchMaker(SONGS, config.batch, STEMS, Toy.hop, rank=1)(step)
    Listener.heard.clear()
    listener.world = World(1)  # nobody answers
    listener.step(batch)
    (heard,) = Listener.heard
    expected = varied(batch, BatchEffects(EffectsConfig(), STEMS), step, range(2, 4)).mix
    torch.testing.assert_close(heard, expected)
    assert not torch.allclose(heard, batch.mix, atol=1e-3)


def test_a_schedule_is_in_hours_or_in_steps() -> None:
    assert LoopConfig(hours=2.0).part(10**6, 0.5) == 0.25
    assert LoopConfig(hours=None, steps=8).part(2, 99.0) == 0.25


@pytest.mark.parametrize(
    ("unscored", "message"), [(8512, None), (8513, "leaves 255 samples to score"), (8770, "nothing to score")]
)
def test_a_piece_holds_the_latency_the_start_and_the_longest_spectrum(
    unscored: int, message: str | None, tmp_path: Path
) -> None:
    """Of 138 hops of 64 samples the model is late by 64; spectra are of 256. A piece of 8820 was asked for."""
    config = replace(PLAIN, loss=replace(PLAIN.loss, warm=unscored / 44100))
    if message is None:
        trainer(tmp_path, World(), config)
        return
    with pytest.raises(StreamsepError, match=message):
        trainer(tmp_path, World(), config)


def test_what_a_step_draws_depends_on_seed_step_and_process(tmp_path: Path) -> None:
    drawn: list[Tensor] = []
    for seed, step, world in (
        (0, 0, World()),
        (0, 1, World()),
        (1, 0, World()),
        (0, 0, Three(1, 3)),
        (0, 0, Three(2, 3)),
    ):
        each = trainer(tmp_path, world, replace(PLAIN, batch=replace(PLAIN.batch, seed=seed)))
        each.progress.step = step
        numbers = []
        for _ in range(2):
            each._seeded()
            numbers.append(torch.rand(4))
        assert torch.equal(*numbers)
        drawn.append(numbers[0])
    assert all(not torch.equal(one, other) for i, one in enumerate(drawn) for other in drawn[:i])


def test_only_steps_in_a_row_without_a_gradient_end_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every second step has none."""

    class Faltering(Toy):
        def forward(self, mix: Tensor) -> Tensor:
            self.calls += 1
            return super().forward(mix) * (float("nan") if self.calls % 2 else 1.0)

    monkeypatch.setattr(loop, "_PATIENCE", 2)
    assert train(Faltering(), SONGS, PLAIN, tmp_path, report=quiet(tmp_path)).skipped == 4


def test_saves_and_validations_come_by_the_clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second passes whenever someone looks at the clock: a step takes two, one for its batch and one for itself."""
    now, done = [0.0], list[str]()

    def tick() -> float:
        now[0] += 1
        return now[0]

    monkeypatch.setattr(loop, "time", SimpleNamespace(monotonic=tick))
    run = trainer(tmp_path, World())
    monkeypatch.setattr(run, "save", lambda: done.append(f"saved {run.progress.step}"))
    monkeypatch.setattr(run, "validate", lambda: done.append(f"validated {run.progress.step}"))
    run.config = replace(PLAIN, loop=replace(PLAIN.loop, steps=8, save_minutes=5 / 60, validate_minutes=8 / 60))
    with loop.stop_signals() as stop:
        run.run(stop)
    # A validation takes a second of training time too; at the end come both once more.
    assert done == ["saved 3", "validated 4", "saved 5", "validated 8", "saved 8", "validated 8", "saved 8"]


def test_a_row_is_the_mean_of_its_steps_and_its_speeds_are_of_the_time_it_took(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A row every four seconds; what came before a pause counts in none."""
    now = [0.0]
    monkeypatch.setattr(report, "time", SimpleNamespace(monotonic=lambda: now[0]))
    told = Report(tmp_path, seconds=4.0, quiet=True)

    def step(number: int, at: float, loss: float, audio: float) -> None:
        now[0] = at
        told.step(number, at, 0.5, audio, {"loss": loss, "snr": 2 * loss})

    step(1, 1.0, 1.0, 10.0)
    step(2, 3.0, 2.0, 10.0)
    step(3, 5.0, 6.0, 20.0)
    step(4, 6.0, 100.0, 10.0)
    now[0] = 50.0
    told.resume_clock()
    step(5, 54.0, 7.0, 12.0)
    table = rows(tmp_path)
    assert table["step"].tolist() == [3, 5] and table["lr"].tolist() == [0.5] * 2
    assert table["loss"].tolist() == [3, 7] and table["snr"].tolist() == [6, 14]
    assert table["audio_per_second"].tolist() == [8, 3] and table["steps_per_second"].tolist() == [0.6, 0.25]


def test_a_step_counts_the_audio_of_all_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[float] = []
    each = trainer(tmp_path, World())
    monkeypatch.setattr(each.report, "step", lambda *values: heard.append(values[3]))
    batch = each.batches(0)
    each.step(batch)
    each.world = Three(0, 3)
    monkeypatch.setattr(Three, "mean", lambda self, values: dict(values))
    each.step(batch)
    seconds = batch.mix.shape[0] * batch.mix.shape[-1] / 44100
    assert heard == [pytest.approx(seconds), pytest.approx(3 * seconds)]
