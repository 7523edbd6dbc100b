"""Models trained alike, and the curve of latency against quality: what the tools do with their input."""

from __future__ import annotations

import argparse
import subprocess
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from benchmarks.latency_picture import draw
from streamsep.config import load_yaml
from streamsep.errors import StreamsepError
from streamsep.models.checkpoint import load_checkpoint, read_record, save_checkpoint
from streamsep.training.config import TrainConfig
from tests.models import tiny
from tools import latency_quality, lookahead_quality, train_side_by_side

CONFIG = Path(__file__).parents[1] / "configs" / "train" / "side-by-side.yaml"


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The trainings that were asked for; none is run."""
    asked: list[list[str]] = []

    def run(command: list[str], check: bool) -> Any:
        asked.append(command)
        config, folder = load_yaml(TrainConfig, command[4]), Path(command[command.index("--out") + 1])
        done = {"steps": config.loop.steps or 1, "hours": config.loop.hours or 0.0}
        save_checkpoint(tiny(), folder / "last.safetensors", {"training": done})
        return subprocess.CompletedProcess(command, int("peer-unet" in command[4]))

    monkeypatch.setattr(train_side_by_side.subprocess, "run", run)
    return asked


def arguments(tmp_path: Path, *models: str, **budget: Any) -> argparse.Namespace:
    given = {"steps": None, "minutes": None, **budget}
    return argparse.Namespace(config=CONFIG, data=["songs", "more=2"], models=models, out=tmp_path, **given)


def test_every_model_is_given_the_same(tmp_path: Path, commands: list[list[str]]) -> None:
    weights = train_side_by_side.train_all(
        arguments(tmp_path, "live-23-small", "htdemucs-small", steps=7), ["--threads", "1"]
    )
    assert weights == {name: tmp_path / name / "last.safetensors" for name in ("live-23-small", "htdemucs-small")}
    configs = [load_yaml(TrainConfig, command[4]) for command in commands]
    assert [config.model for config in configs] == ["live-23-small", "htdemucs-small"]
    assert configs[0].batch == configs[1].batch == load_yaml(TrainConfig, CONFIG).batch
    assert all((config.loop.steps, config.loop.hours) == (7, None) for config in configs)
    for command in commands:
        assert {"--data=songs", "--data=more=2", "--resume"} < set(command) and command[-2:] == ["--threads", "1"]


def test_a_run_goes_on_only_with_its_own_budget(tmp_path: Path, commands: list[list[str]]) -> None:
    train_side_by_side.train_all(arguments(tmp_path, "live-6-small", minutes=3.0), [])
    train_side_by_side.train_all(arguments(tmp_path, "live-6-small", minutes=3.0), [])
    assert len(commands) == 2 and load_yaml(TrainConfig, commands[0][4]).loop.hours == 0.05
    with pytest.raises(StreamsepError, match="another configuration or budget"):
        train_side_by_side.train_all(arguments(tmp_path, "live-6-small", minutes=4.0), [])
    with pytest.raises(StreamsepError, match="training of peer-unet failed"):
        train_side_by_side.train_all(arguments(tmp_path, "peer-unet", minutes=3.0), [])


@pytest.mark.parametrize(("budget", "done"), [({"minutes": 3.0}, {"hours": 0.04}), ({"steps": 9}, {"steps": 8})])
def test_a_training_that_was_stopped_is_not_taken_for_a_whole_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, budget: dict[str, Any], done: dict[str, float]
) -> None:
    """By a signal it ends well, as by --max-minutes."""
    record = {"steps": 5, "hours": 0.01}

    def run(command: list[str], check: bool) -> Any:
        save_checkpoint(tiny(), tmp_path / "live-6-small" / "last.safetensors", {"training": record | done})
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(train_side_by_side.subprocess, "run", run)
    with pytest.raises(StreamsepError, match="live-6-small was stopped before its end; the same command goes on"):
        train_side_by_side.train_all(arguments(tmp_path, "live-6-small", **budget), [])


def test_the_systems_of_the_curve() -> None:
    texts = latency_quality.systems({"live-6-small": Path("a"), "offline-small": Path("b")})
    assert texts[0] == "live-6-small=stream:a" and texts[2] == "offline=offline:b"
    from streamsep.evaluation.systems import parse_systems

    windows = parse_systems([texts[1]])
    assert [(each.lookahead, each.hop) for each in windows] == [
        (0.05, 0.05),
        (0.1, 0.1),
        (0.25, 0.25),
        (0.5, 0.25),
        (1, 0.5),
    ]
    assert [each.name for each in windows][::2] == ["window 50 ms", "window 250 ms", "window 1 s"]


def test_the_curve_is_drawn_by_way_and_latency(tmp_path: Path) -> None:
    ways = {
        "b": ("stream", 23.2),
        "a": ("stream", 5.8),
        "peer-a": ("stream", 23.2),
        "w": ("sliding", 500.0),
        "o": ("offline", None),
        "gain": ("gain", None),
    }
    result = {
        "systems": {name: {"way": way, "latency_ms": late} for name, (way, late) in ways.items()},
        "groups": {"real": {"songs": 2, "scores": {name: {"mean": {"usdr": len(name)}} for name in ways}}},
    }
    means = {"b": 2.0, "a": 1.0, "peer-a": 0.5, "w": 3.0, "o": 4.0, "gain": 0.0}
    assert latency_quality.by_way(result, means) == {
        "stream": [(5.8, 1.0), (23.2, 2.0)], "peer": [(23.2, 0.5)],
        "sliding": [(500.0, 3.0)], "offline": [(0.0, 4.0)],
    }  # fmt: skip
    draw(result, partial(latency_quality.lines, result), tmp_path / "curve.png")
    assert (tmp_path / "curve.png").read_bytes().startswith(b"\x89PNG")


def test_look_aheads_go_on_from_the_same_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One run for each look-ahead and one that draws them, which is then measured at each."""
    args = arguments(tmp_path, steps=7)
    args.init, args.hops = tmp_path / "init.safetensors", [0, 2]
    asked: list[tuple[str, tuple[int, ...]]] = []

    def train_one(config: TrainConfig, name: str, given: argparse.Namespace, rest: list[str]) -> Path:
        asked.append((name, config.lookaheads))
        assert rest == ["--threads", "1", "--init", str(args.init)]
        path = given.out / name / "last.safetensors"
        path.parent.mkdir()
        save_checkpoint(tiny(), path, {"training": {"steps": 7}, "licence": "MIT"})
        return path

    monkeypatch.setattr(lookahead_quality, "train_one", train_one)
    found = lookahead_quality.train_all(args, ["--threads", "1"])
    assert asked == [("fixed-0", (0,)), ("fixed-2", (2,)), ("random", (0, 2))]
    assert list(found) == ["fixed 0 hops", "fixed 2 hops", "random 0 hops", "random 2 hops"]
    late = [load_checkpoint(found[f"random {hops} hops"]).latency for hops in (0, 2)]
    assert late == [tiny().latency, tiny(2).latency]
    assert read_record(found["random 2 hops"])["training"] == {"steps": 7}
