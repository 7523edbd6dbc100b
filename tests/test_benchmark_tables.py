"""What the tables say of rows, and how the parts of `make bench` are run."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks import draw_steps, run_all, step_tables, write_tables


def row(**facts: Any) -> dict[str, Any]:
    misses = {"rate": 200.0, "low": 35.3, "high": 1132.4}
    control = {"p999_ms": 1.75, "longest_ms": 2.25, "misses_per_million": misses | {"rate": 100.0}}
    return {
        "model": "live-23-small",
        "executor": "onnx",
        "trained": True,
        "sdr": 4.185,
        "hop": 512,
        "hop_ms": 11.61,
        "p50_ms": 1.5,
        "p99_ms": 2.5,
        "p999_ms": 3.5,
        "longest_ms": 4.5,
        "rtf": 0.129,
        "in_time": True,
        "late": 1,
        "steps": 5000,
        "misses_per_million": misses,
        "control": control,
        "memory": {"start_mb": 235.6, "peak_mb": 331.2},
        "histogram": {"1.4962": 4999, "12.589": 1},
    } | facts


@pytest.fixture
def held_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    scores = {"live-23-small": {"mean": {"usdr": 2.5}}}
    (tmp_path / "quality.json").write_text(json.dumps({"groups": {"real": {"scores": scores}}}))
    monkeypatch.setattr(step_tables, "RESULTS", tmp_path)


@pytest.mark.usefixtures("held_out")
def test_every_rtf_stands_beside_an_sdr() -> None:
    assert step_tables.sdr(row()) == "2.50"
    assert step_tables.sdr(row(model="mine")) == "4.18"
    assert step_tables.sdr(row(model="mine", sdr=None)) == "unknown"
    assert step_tables.sdr(row(model="live-6-small", trained=False, sdr=None)) == "untrained"
    assert step_tables.sdr(row(trained=False, sdr=None)) == "2.50", "its weights came after its steps were timed"


@pytest.mark.usefixtures("held_out")
def test_the_table_of_steps() -> None:
    place = {"machine": "2 x CPU", "system": "Linux", "python": "3", "torch": "2", "streamsep": "0", "load": 0.5}
    slow = row(executor="eager", p999_ms=12.0, in_time=False, rtf=0.6)
    text = step_tables.steps({"rows": [slow, row()], "onnxruntime": "1.32", **place})
    assert "| live-23-small | onnx | 2.50 | 11.61 | 1.50 | 2.50 | 3.50 | 1.75 | 0.13 | yes |" in text
    assert "| live-23-small | eager | 2.50 | 11.61 | 1.50 | 2.50 | 12.00 | 1.75 | 0.60 | no |" in text
    assert "`live-23-small` on onnx: RTF 0.13 where at most 0.35 is wanted, p99.9 3.50 of 11.61 ms: reached." in text
    assert "live-12-small" not in text and "ONNX Runtime 1.32" in text


@pytest.mark.parametrize(
    ("facts", "word"),
    [
        ({"rtf": 0.35}, "reached"),
        ({"rtf": 0.36}, "not reached"),
        ({"in_time": False}, "not reached"),
        ({"model": "live-12-small", "rtf": 0.6}, "reached"),
        ({"model": "live-12-small", "rtf": 0.61}, "not reached"),
    ],
)
def test_what_was_wanted(facts: dict[str, Any], word: str) -> None:
    (sentence,) = step_tables.verdicts({"rows": [row(**facts), row(**facts | {"rtf": 2.0, "in_time": False})]})
    assert sentence.endswith(f": {word}.")


@pytest.mark.parametrize(
    ("hop", "rtf", "p999", "word"),
    [
        (512, 0.35, 11.6, "yes"),
        (512, 0.36, 5.0, "no"),
        (512, 0.3, 11.7, "no"),
        (256, 0.6, 5.8, "yes"),
        (256, 0.5, 5.9, "no"),
    ],
)
def test_what_fits_a_core(hop: int, rtf: float, p999: float, word: str) -> None:
    assert step_tables.fits({"hop": hop, "rtf": rtf, "p999_ms": p999}) == word


def test_the_table_of_misses() -> None:
    rows = [row(), row(memory={"start_mb": None, "peak_mb": None})]
    lines = step_tables.misses({"rows": rows}).splitlines()
    assert "| 1 of 5000 | 200 (35 to 1132) | 100 (35 to 1132) | 4.5 | 2.2 | 331 | 236 |" in lines[2]
    assert lines[3].endswith("| unknown | unknown |")


def test_the_table_of_models() -> None:
    work = {"parameters": 1303046, "weight_bytes": 5212184, "state_bytes": 2500676, "dispatches": 856, "nodes": None}
    facts = {"model": "m", "hop": 441, "mflop": 13.04, "transform_mflop": 0.56}
    (line,) = step_tables.models({"models": [work | facts]}).splitlines()[2:]
    assert line == "| m | 441 | 1.30 M | 5.2 | 2.5 | 13.0 | 0.6 | 1.36 | 856 | - |"


def test_the_sliding_window_in_a_sentence() -> None:
    result = {
        "model": "m",
        "machine": "2 x CPU",
        "tuning": {"sample_rate": 44100},
        "chosen": {"window": 66150, "hop": 22050, "lookahead": 11025},
        **{"steps": 186, "misses": 3, "excused": 2, "p50_ms": 197.1, "p99_ms": 550.9, "watcher_longest_ms": 84.2},
    }
    text = write_tables.sliding(result)
    assert "look-ahead of 250 ms: the planner chose a window of 1.50 s every 500 ms. 3 of 186 steps" in text
    assert "2 of them for the machine; p50 197 ms, p99 551 ms; a process that only sleeps woke up to 84 ms" in text


def test_only_the_quickest_executor_is_drawn(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    drawn: list[Any] = []
    monkeypatch.setattr(draw_steps, "draw", lambda rows, path: drawn.append((rows, path)))
    monkeypatch.setattr(draw_steps, "RESULTS", tmp_path)
    (tmp_path / "steps.json").write_text(json.dumps({"rows": [row(executor="eager"), row()]}))
    monkeypatch.setattr(sys, "argv", ["draw_steps", "there.png"])
    draw_steps.main()
    assert drawn == [([row()], Path("there.png"))]
    monkeypatch.setattr(sys, "argv", ["draw_steps", "--help"])
    with pytest.raises(SystemExit):
        draw_steps.main()
    assert len(drawn) == 1


def test_a_part_that_fails_stops_no_other(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    ran: list[str] = []

    def play(command: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
        ran.append(" ".join(command[1:]))
        return subprocess.CompletedProcess(command, int("benchmarks.peers" in command))

    monkeypatch.setattr(subprocess, "run", play)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(sys, "argv", ["run_all", "steps", "gpu", "peers", "live"])
    assert run_all.main() == 1
    results = run_all.RESULTS
    assert ran == [
        f"-m benchmarks.steps --json {results / 'steps.json'}",
        f"-m benchmarks.peers --json {results / 'peers.json'}",
        f"-m streamsep stream examples/lithium/mix.ogg --stems examples/lithium --json {results / 'live.json'}",
        "-m benchmarks.write_tables",
        "-m benchmarks.draw_steps",
    ]
    said = capsys.readouterr()
    assert "there is no CUDA device: gpu\nabout 6 minutes" in said.out
    assert "[2/3] peers: FAILED" in said.out and "their tables are as they were: peers" in said.err


def test_an_unknown_part_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["run_all", "stepz"])
    with pytest.raises(SystemExit) as stop:
        run_all.main()
    assert stop.value.code == 2 and "there is no part stepz" in capsys.readouterr().err
