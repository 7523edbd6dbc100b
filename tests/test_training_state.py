"""The saved state of a run: whole whenever it is killed, there once, refused where it is none, and not made twice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from streamsep.errors import StreamsepError
from streamsep.training.config import OptimiserConfig
from streamsep.training.data import Library
from streamsep.training.optimiser import Average, optimiser_of
from streamsep.training.state import Progress, load_state, save_state
from tests.training_toys import Toy, library_fixture, run  # noqa: F401  (a fixture)


def test_rows_of_a_run_killed_before_its_first_save_are_made_again(tmp_path: Path, library: Library) -> None:
    run(library, tmp_path)
    (tmp_path / "state.pt").unlink()
    run(library, tmp_path, resume=True)
    for name, steps in (("log.csv", list(range(1, 9))), ("validation.csv", [8])):
        rows = (tmp_path / name).read_text().splitlines()[1:]
        assert [int(row.split(",")[0]) for row in rows] == steps


def test_a_finished_run_is_not_validated_again(tmp_path: Path, library: Library) -> None:
    run(library, tmp_path)
    before = (tmp_path / "validation.csv").read_text()
    told: list[Any] = []
    state = run(
        library, tmp_path, resume=True, export=lambda model, path, record: told.append(record["training"]["validation"])
    )
    assert state["progress"]["step"] == 8
    assert (tmp_path / "validation.csv").read_text() == before
    assert told and all(set(score["sdr"]) == set(Toy.sources) for score in told), "the record keeps what was found"


class Parts:
    """A model with all that a state holds."""

    def __init__(self) -> None:
        self.model = nn.Linear(40, 40)
        self.average = Average(self.model, 0.9)
        self.optimiser = optimiser_of(self.model, OptimiserConfig())

    def save(self, path: Path, progress: Progress, megabytes: float | None = 0.01) -> None:
        save_state(path, self.model, self.average, self.optimiser, progress, part_megabytes=megabytes)

    def load(self, path: Path) -> Progress:
        return load_state(path, self.model, self.average, self.optimiser)


def test_a_second_save_of_one_step_may_be_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After its parts, before their list: the first save is whole."""
    parts, path = Parts(), tmp_path / "state.pt"
    parts.save(path, Progress(step=5, best=1.0))
    replaced = Path.replace

    def killed(self: Path, target: Path) -> Path:
        if Path(target).name == path.name:
            raise KeyboardInterrupt
        return replaced(self, target)

    monkeypatch.setattr(Path, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        parts.save(path, Progress(step=5, best=2.0))
    monkeypatch.undo()
    assert parts.load(path) == Progress(step=5, best=1.0)
    parts.save(path, Progress(step=6), None)
    assert parts.load(path) == Progress(step=6) and [file.name for file in tmp_path.iterdir()] == ["state.pt"]


def test_the_same_state_saved_twice_is_there_once(tmp_path: Path) -> None:
    """Its parts have the names that they had."""
    parts, path = Parts(), tmp_path / "state.pt"
    for _ in range(2):
        parts.save(path, Progress(step=5))
        assert parts.load(path) == Progress(step=5)
    names = {file.name for file in tmp_path.iterdir()}
    parts.save(path, Progress(step=6))
    assert parts.load(path) == Progress(step=6)
    assert {file.name for file in tmp_path.iterdir()} & names == {"state.pt"}


@pytest.mark.parametrize("content", [b'{"parts": 3}', b"{", None])
def test_a_state_that_is_none(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "state.pt"
    if content is None:
        torch.save([1, 2], path)
    else:
        path.write_bytes(content)
    with pytest.raises(StreamsepError, match=r"cannot resume from .* start anew with --restart"):
        Parts().load(path)
