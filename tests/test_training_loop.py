"""The loop on tiny data: it learns, resumes to the bit, and stops when asked."""

from __future__ import annotations

import itertools
import os
import signal
import time
from dataclasses import replace
from functools import partialmethod
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from streamsep.config import from_dict, to_dict
from streamsep.errors import StreamsepError
from streamsep.training.batches import Batch, BatchMaker
from streamsep.training.config import TrainConfig
from streamsep.training.data import STEMS, Library
from streamsep.training.loop import Trainer, train
from streamsep.training.objective import Objective
from streamsep.training.parallel import World
from streamsep.training.report import Report
from streamsep.training.stopping import check_fresh, forget
from tests.models import tiny
from tests.training_toys import CONFIG, Listener, Toy, library_fixture, run  # noqa: F401  (a fixture)


def same(a: Any, b: Any) -> bool:
    if isinstance(a, Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list):
        return len(a) == len(b) and all(map(same, a, b))
    return bool(a == b)


@pytest.mark.parametrize(("prefetch", "kind"), [(False, "adamw"), (True, "adamw"), (False, "muon")])
def test_resuming_changes_no_bit(tmp_path: Path, library: Library, prefetch: bool, kind: str) -> None:
    optimiser = replace(CONFIG.optimiser, kind=kind)
    config = replace(CONFIG, loop=replace(CONFIG.loop, prefetch=prefetch), optimiser=optimiser)
    whole = run(library, tmp_path / "whole", config)
    run(library, tmp_path / "parts", config, max_minutes=0.0)
    assert torch.load(tmp_path / "parts" / "state.pt", weights_only=True)["progress"]["step"] == 0
    stop_after(tmp_path / "parts", library, config, steps=3)
    torch.manual_seed(99)
    parts = run(library, tmp_path / "parts", config, resume=True)
    assert parts["progress"]["step"] == whole["progress"]["step"] == 8
    for key in ("model", "average", "optimiser", "updates"):
        assert same(parts[key], whole[key]), key


@pytest.mark.parametrize("kind", ["adamw", "muon"])
def test_a_resumed_run_hears_its_configuration(tmp_path: Path, library: Library, kind: str) -> None:
    def config(decay: float, beta: float, steps: int) -> TrainConfig:
        optimiser = replace(CONFIG.optimiser, kind=kind, weight_decay=decay, betas=(0.9, beta))
        return replace(CONFIG, optimiser=optimiser, loop=replace(CONFIG.loop, steps=steps))

    run(library, tmp_path, config(0.01, 0.98, 2))
    optimiser = run(library, tmp_path, config(0.5, 0.9, 4), resume=True)["optimiser"]
    groups = [group for part in optimiser.values() if "param_groups" in part for group in part["param_groups"]]
    groups = groups or optimiser["param_groups"]
    assert {group["weight_decay"] for group in groups} == {0.5, 0.0}
    assert {tuple(group["betas"]) for group in groups if "betas" in group} == {(0.9, 0.9)}


def test_backwards_all_is_heard_from_its_end(tmp_path: Path, library: Library) -> None:
    """Batches and the validation's excerpts alike, and their truth with them: the loss knows no time."""
    heard, losses = {}, {}
    for backwards in (False, True):
        config = replace(CONFIG, batch=replace(CONFIG.batch, backwards=backwards), loop=replace(CONFIG.loop, steps=1))
        Listener.heard.clear()
        train(Listener(), library, config, tmp_path / str(backwards), report=Report(tmp_path, quiet=True))
        heard[backwards] = [*Listener.heard]
        batch = BatchMaker(library, config.batch, STEMS, Toy.hop)(0)
        losses[backwards] = (batch.sources.sum(1) - heard[backwards][0]).abs().max()
    assert len(heard[True]) == len(heard[False]) == 1 + 2
    for ahead, behind in zip(heard[False], heard[True], strict=True):
        assert not torch.equal(ahead, behind) and torch.equal(ahead.flip(-1), behind)
    assert max(losses.values()) < 1e-6


def test_short_sessions_are_validated_too(tmp_path: Path, library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second passes whenever someone looks at the clock: a session of four is a step, and three of work."""
    ticks = itertools.count()
    monkeypatch.setattr("streamsep.training.loop.time", SimpleNamespace(monotonic=lambda: next(ticks)))
    config = replace(CONFIG, loop=replace(CONFIG.loop, steps=1000, validate_minutes=12 / 60))
    rows, table = [], tmp_path / "validation.csv"
    for session in range(6):
        progress = run(library, tmp_path, config, resume=session > 0, max_minutes=4 / 60)["progress"]
        rows.append(len(table.read_text().splitlines()) - 1 if table.exists() else 0)
        assert progress["step"] == session + 1
    assert rows == [0, 0, 0, 0, 1, 1]


class Terminating(Report):
    """Sends SIGTERM to its own process after some steps."""

    def __init__(self, folder: Path, steps: int) -> None:
        super().__init__(folder, seconds=1e9, quiet=True)
        self.left = steps

    def step(self, *values: Any) -> None:
        self.left -= 1
        if not self.left:
            os.kill(os.getpid(), signal.SIGTERM)


def stop_after(out: Path, library: Library, config: TrainConfig, steps: int) -> None:
    before = signal.getsignal(signal.SIGTERM)
    progress = train(Toy(), library, config, out, report=Terminating(out, steps))
    assert progress.step == steps and signal.getsignal(signal.SIGTERM) is before


@pytest.mark.parametrize("kind", ["adamw", "muon"])
def test_training_lowers_the_loss_and_writes_what_it_says(tmp_path: Path, library: Library, kind: str) -> None:
    exported: list[tuple[str, dict[str, Any]]] = []

    def export(model: nn.Module, path: Path, record: dict[str, Any]) -> None:
        assert not model.training
        exported.append((path.name, record))

    optimiser = replace(CONFIG.optimiser, kind=kind)
    config = replace(CONFIG, loop=replace(CONFIG.loop, steps=40), optimiser=optimiser)
    run(library, tmp_path, config, export=export)
    rows = np.genfromtxt(tmp_path / "log.csv", delimiter=",", names=True)
    assert len(rows) == 40 and rows["loss"][-8:].mean() < rows["loss"][:8].mean() - 0.05
    assert [name for name, _ in exported] == ["best.safetensors", "last.safetensors"]
    training = exported[-1][1]["training"]
    assert training["songs"] == ["song0", "song1"] and training["validation_songs"] == ["song2"]
    assert training["steps"] == 40 and set(training["validation"]["sdr"]) == set(STEMS)
    assert len((tmp_path / "validation.csv").read_text().splitlines()) == 2


def test_a_compiled_run_validates_its_average(
    tmp_path: Path, library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A compiled network is bound to the weights it was made of: the average's copy must come before."""
    monkeypatch.setattr(Objective, "compile_networks", partialmethod(Objective.compile_networks, "eager"))
    config = replace(CONFIG, loop=replace(CONFIG.loop, compile=True))
    trainer = Trainer(
        tiny(), library, config, tmp_path, world=World(), export=None, report=Report(tmp_path, quiet=True)
    )
    average: Any = trainer.average.model
    assert average.network.__self__ is average
    assert "network" in vars(trainer.model)


def test_a_gradient_that_is_not_finite_is_left_out(tmp_path: Path, library: Library) -> None:
    class Broken(Toy):
        def forward(self, mix: Tensor) -> Tensor:
            self.calls += 1
            return super().forward(mix) * (float("nan") if self.calls == 2 else 1.0)

    model = Broken()
    progress = train(model, library, CONFIG, tmp_path, report=Report(tmp_path, quiet=True))
    assert progress.step == 8 and progress.skipped == 1
    assert all(bool(torch.isfinite(value).all()) for value in model.state_dict().values())


def test_a_damaged_state_and_a_run_in_the_way_are_errors(tmp_path: Path, library: Library) -> None:
    (tmp_path / "state.pt").write_bytes(b"not a state")
    with pytest.raises(StreamsepError, match="--restart"):
        train(Toy(), library, CONFIG, tmp_path, resume=True, report=Report(tmp_path, quiet=True))
    with pytest.raises(StreamsepError, match="--resume"):
        check_fresh(tmp_path, resume=False, restart=False)
    check_fresh(tmp_path, resume=False, restart=True)
    for name in ("best.json", "log.csv", "state-5-12345678-0.part.pt", "notes.txt"):
        (tmp_path / name).write_text("1")
    forget(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]
    with pytest.raises(StreamsepError, match=r"notes\.txt is no folder; choose another --out"):
        check_fresh(tmp_path / "notes.txt", resume=True, restart=False)


@pytest.mark.parametrize("resume", [False, True])
def test_weights_without_a_state_are_a_run_too(tmp_path: Path, resume: bool) -> None:
    (tmp_path / "best.safetensors").write_text("precious")
    with pytest.raises(StreamsepError, match=r"holds best\.safetensors but no state to go on from"):
        check_fresh(tmp_path, resume=resume, restart=False)
    check_fresh(tmp_path, resume=False, restart=True)


@pytest.mark.parametrize("prefetch", [False, True])
def test_waiting_for_batches_is_training_time(
    tmp_path: Path, library: Library, prefetch: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw = BatchMaker.__call__

    def slow(self: BatchMaker, step: int) -> Batch:
        time.sleep(0.5)
        return draw(self, step)

    monkeypatch.setattr(BatchMaker, "__call__", slow)
    loop = replace(CONFIG.loop, steps=2, prefetch=prefetch)
    assert run(library, tmp_path, replace(CONFIG, loop=loop))["progress"]["elapsed"] > 0.8


def test_all_processes_look_equally_far_ahead(
    tmp_path: Path, library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw, looked = Objective.draw, {0: list[int](), 1: list[int]()}
    for rank, seen in looked.items():
        monkeypatch.setattr(Objective, "draw", lambda self, seen=seen: seen.append(draw(self)) or seen[-1])
        config = replace(CONFIG, lookaheads=(0, 1, 2, 3), loop=replace(CONFIG.loop, steps=4))
        train(
            tiny(),
            replace(library, validation=()),
            config,
            tmp_path,
            world=World(rank),
            report=Report(tmp_path, quiet=True),
        )
    assert looked[0] == looked[1] and len(looked[0]) == 4 and len(set(looked[0])) > 1


def test_configuration_survives_a_round_trip_and_refuses_two_ends() -> None:
    assert from_dict(TrainConfig, to_dict(CONFIG)) == CONFIG
    with pytest.raises(StreamsepError, match="hours or steps"):
        from_dict(TrainConfig, {"model": "toy", "loop": {"hours": 1.0, "steps": 5}})
