"""The planner: what it measures, what it chooses from that, and what it keeps."""

from __future__ import annotations

import itertools
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from streamsep.cli import main
from streamsep.cli import tune as tune_module
from streamsep.config import to_dict
from streamsep.errors import StreamsepError
from streamsep.models.load import load_separator
from streamsep.models.sliding import SlidingSeparator
from streamsep.models.tuning import (
    Place,
    StepTimes,
    Tuning,
    find_tuning,
    plan,
    save_tuning,
    this_place,
    times_of,
    tuning_file,
)
from tests.models import tiny
from tests.sliding_toys import Shares

HERE = Place("a machine")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("STREAMSEP_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def tuning(seconds: dict[float, float], margin: float = 0.2, rate: int = 44100) -> Tuning:
    """Steps of so many seconds for windows of so many seconds."""
    rows = tuple(StepTimes(round(window * rate), 100, step / 2, step, step) for window, step in seconds.items())
    return Tuning("model", HERE, rate, margin, rows)


def chosen(seconds: dict[float, float], lookahead: float, delay: float | None = None) -> tuple[float, float] | None:
    """Window and hop in seconds."""
    moves = plan(replace(tuning(seconds), delay=delay), lookahead)
    return None if moves is None else (round(moves.window / 44100, 3), moves.hop / 44100)


def test_a_hop_leaves_the_margin_free() -> None:
    row = StepTimes(44100, 10, 0.01, 0.02, 0.08)
    assert row.hop(0.2, 44100) == 18 * 256  # 0.08 / 0.8 = 0.1 s = 4410 samples, rounded up to blocks
    assert row.hop(0.0, 44100) == 14 * 256
    assert StepTimes(100, 1, 0.0, 0.0, 0.0).hop(0.2, 44100) == 256


def test_percentiles() -> None:
    row = times_of(5, [i / 1000 for i in range(1001)])
    assert row == StepTimes(5, 1001, 0.5, 0.99, 0.999)


def test_the_longest_window_within_the_delay() -> None:
    steps = {1.0: 0.1, 2.0: 0.2, 3.0: 0.4, 4.0: 0.8}
    window, hop = chosen(steps, 0.4) or (0, 0)
    assert window == 3.0 and 0.5 <= hop < 0.51
    assert (chosen(steps, 0.6) or (0,))[0] == 3.0  # twice the look-ahead
    assert (chosen(steps, 0.6, 0.9) or (0,))[0] == 2.0
    assert (chosen(steps, 1.0) or (0,))[0] == 3.0
    assert (chosen(steps, 1.1) or (0,))[0] == 4.0


def test_a_delay_that_cannot_be_kept_is_kept_as_well_as_can_be() -> None:
    assert (chosen({1.0: 0.2, 2.0: 0.3, 3.0: 0.5}, 0.5, 0.6) or (0,))[0] == 1.0
    assert (chosen({1.0: 0.45, 2.0: 0.5}, 0.5, 0.6) or (0,))[0] == 2.0  # the shorter does not hold look-ahead and hop
    assert (chosen({1.0: 0.3, 2.0: 0.25}, 0.5, 0.6) or (0,))[0] == 2.0


def test_a_model_that_is_too_slow_has_no_plan() -> None:
    assert chosen({1.0: 0.9, 2.0: 1.8}, 0.5) is None
    assert chosen({1.0: 0.6}, 0.5) is None
    assert chosen({1.0: 0.6}, 0.2) is not None


def test_the_plan_is_whole() -> None:
    moves = plan(tuning({2.0: 0.2}), 0.25)
    assert moves is not None
    assert (moves.window, moves.hop, moves.lookahead, moves.fade) == (88200, 44 * 256, 11025, 11025)


def test_a_tuning_is_found_again_where_it_was_made() -> None:
    one, other = tuning({1.0: 0.1}), tuning({2.0: 0.1})
    path = save_tuning(one)
    assert find_tuning("model", HERE) == one and path == tuning_file("model", HERE)
    for place in (Place("another"), Place("a machine", threads=2), Place("a machine", "cuda")):
        assert find_tuning("model", place) is None
    assert find_tuning("another", HERE) is None
    save_tuning(other)
    assert find_tuning("model", HERE) == other


def test_a_tuning_is_not_that_of_another_model_at_the_same_path(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"12345")
    kept = replace(tuning({1.0: 0.1}), model=str(path))
    save_tuning(kept)
    assert find_tuning(str(path), HERE) == replace(kept, size=5)
    path.write_bytes(b"123456")
    assert find_tuning(str(path), HERE) is None
    bag = tmp_path / "bag.yaml"
    bag.write_text("models: [model]\n")
    save_tuning(replace(kept, model=str(bag)))
    path.write_bytes(b"1234567")
    assert find_tuning(str(bag), HERE) is None


@pytest.mark.parametrize(
    "text",
    ["model: [", "no: key", "model: 3", "!!python/object/apply:os.getcwd []"],
    ids=["yaml", "key", "type", "code"],
)
def test_a_damaged_file_is_one_sentence(text: str) -> None:
    path = save_tuning(tuning({1.0: 0.1}))
    path.write_text(text)
    with pytest.raises(StreamsepError, match="run streamsep tune again, or delete the file") as caught:
        find_tuning("model", HERE)
    assert str(path) in str(caught.value)


def test_this_place_has_a_name() -> None:
    place = this_place("cpu", 2)
    assert place.machine.strip() and place.machine == this_place().machine
    assert (place.device, place.threads) == ("cpu", 2)


class Slow(Shares):
    """A step takes a share of its window's duration."""

    speed = 0.1

    def __init__(self) -> None:
        super().__init__(max_length=2 * 44100)
        self.threads: set[int] = set()

    def separate(self, mix: Tensor) -> Tensor:
        self.threads.add(torch.get_num_threads())
        time.sleep(self.speed * mix.shape[-1] / 44100)
        return super().separate(mix)


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> Slow:
    """The one model there is."""
    model = Slow()
    monkeypatch.setattr("streamsep.models.registry.load_model", lambda name, device=None: model)
    return model


def tune(*arguments: str | Path) -> int:
    return main(["tune", "-n", "slow", "--seconds", "0.01", "--trial", "0.1", *map(str, arguments)])


def test_tune(slow: Slow, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole of it: figures, choice, file; and the file's choice is what a stream then runs."""
    monkeypatch.setattr(tune_module, "_WINDOWS", (0.1, 0.2, 0.4))
    slow.max_length = round(0.6 * 44100)
    code = tune("--lookahead", "100ms", "--delay", "0.16s", "--margin", "0.3", "--json", tmp_path / "a.json")
    output = capsys.readouterr()
    assert code == 0, output.err
    found = json.loads((tmp_path / "a.json").read_text())
    rows = found["tuning"]["measured"]
    assert [row["window"] for row in rows] == [4410, 8820, 17640, 26460]
    assert all(0.1 * row["window"] / 44100 <= row["p50"] <= row["p99"] <= row["p999"] for row in rows)
    assert min(row["steps"] for row in rows) == 10
    moves = found["chosen"]
    assert moves["lookahead"] == 4410 and moves["window"] in (8820, 17640)
    tried = next(row for row in rows if row["window"] == moves["window"])
    assert tried["steps"] >= 20 and tried["p999"] <= 0.7 * moves["hop"] / 44100
    assert "chosen: a window of" in output.out and "30 % of each hop free" in output.out
    separator = load_separator("slow", lookahead=0.1)
    assert isinstance(separator, SlidingSeparator) and to_dict(separator.moves) == moves
    assert slow.threads == {1}


def test_the_trial_can_change_the_choice(slow: Slow, monkeypatch: pytest.MonkeyPatch) -> None:
    """A window whose steps are slower in real time than one after another gets the hop that those need."""
    monkeypatch.setattr(tune_module, "_WINDOWS", ())
    slow.max_length = round(0.4 * 44100)
    calls = []

    def steps(session: Any, seconds: float, bar: Any, realtime: bool) -> Any:
        calls.append((realtime, session.hop))
        return itertools.repeat(0.15 if realtime else 0.05, 30)

    monkeypatch.setattr(tune_module, "_steps", steps)
    assert tune("--lookahead", "100ms") == 0
    assert [realtime for realtime, _ in calls] == [False, True, True]
    assert calls[1][1] < 0.1 * 44100 and calls[2][1] >= 0.15 / 0.8 * 44100


def test_a_model_that_is_too_slow_is_told(slow: Slow, capsys: pytest.CaptureFixture[str], monkeypatch: Any) -> None:
    monkeypatch.setattr(tune_module, "_WINDOWS", ())
    slow.max_length, slow.speed = 2205, 1.1
    assert tune("--lookahead", "20ms") == 1
    output = capsys.readouterr()
    assert "no window of slow keeps up here with a look-ahead of 0.02 s; choose a smaller model" in output.err
    assert "--threads" not in output.err, "streams use the figures of one"
    assert "none" in output.out


def test_a_delay_that_cannot_be_kept_is_refused(
    slow: Slow, cache: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the least that can be; that one is then taken."""
    monkeypatch.setattr(tune_module, "_WINDOWS", ())
    monkeypatch.setattr(tune_module, "_steps", lambda *_args, **_how: itertools.repeat(0.15, 30))
    slow.max_length = round(0.4 * 44100)
    assert tune("--lookahead", "100ms", "--delay", "0.2s") == 1
    output = capsys.readouterr()
    assert "keeps up here within a delay of 0.2 s; choose --delay 292ms or longer" in output.err  # 33 x 256 samples
    assert "window s" in output.out and "chosen" not in output.out
    assert not cache.exists()
    assert tune("--lookahead", "100ms", "--delay", "292ms") == 0


def test_a_delay_that_no_hop_fits_into_is_refused_at_once(slow: Slow, capsys: pytest.CaptureFixture[str]) -> None:
    assert tune("--lookahead", "100ms", "--delay", "100ms") == 1
    assert "a delay holds the look-ahead of 0.1 s and a hop; choose a longer --delay" in capsys.readouterr().err
    assert not slow.windows


def test_long_windows_are_not_tried_in_vain(slow: Slow, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tune_module, "_LONGEST_HOP", 0.06)
    monkeypatch.setattr(tune_module, "_WINDOWS", (0.1, 0.8, 1.6))
    assert tune("--lookahead", "10ms") == 0
    assert max(slow.windows) == round(0.8 * 44100)


def test_a_causal_model_needs_no_tuning(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("streamsep.models.registry.load_model", lambda name, device=None: tiny())
    assert main(["tune", "-n", "live"]) == 1
    assert "live streams by itself" in capsys.readouterr().err


def test_the_help_says_who_uses_more_threads(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["tune", "--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert "streams use the figures of one, and only `bench --threads N` those of more" in text


@pytest.mark.parametrize("flags", [["--margin", "1"], ["--margin", "0"], ["--lookahead", "soon"], ["--threads", "0"]])
def test_wrong_usage(flags: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["tune", *flags])
    assert stop.value.code == 2 and flags[0] in capsys.readouterr().err


def test_a_place_that_takes_no_figures_is_told_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setattr("streamsep.cli.tune.measure", lambda *_: pytest.fail("measured in vain"))
    assert main(["tune", "-n", "bidirectional-small", "--json", str(tmp_path / "file" / "a.json")]) == 1
