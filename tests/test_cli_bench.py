"""`streamsep bench`: one row, for programs and for people."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from streamsep import cli
from streamsep.bench import case
from streamsep.models.registry import weights_folder

QUICK = ["bench", "--model", "live-6-small", "--executor", "eager"]


def told(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    assert cli.main([*arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_a_row_of_the_shipped_model(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime"), pytest.importorskip("matplotlib")
    picture = tmp_path / "steps.png"
    row = told(capsys, "bench", "--steps", "60", "--histogram", str(picture))
    assert (row["model"], row["executor"], row["device"]) == ("live-23-small", "onnx", "cpu")
    assert (row["hop"], row["batch"], row["threads"], row["core"]) == (512, 1, 1, None)
    assert row["hop_ms"] == pytest.approx(512 / 44.1) and row["latency_ms"] == pytest.approx(1024 / 44.1)
    assert row["p50_ms"] <= row["p99_ms"] <= row["p999_ms"] == row["longest_ms"]
    assert row["rtf"] == pytest.approx(row["p50_ms"] / row["hop_ms"])
    assert row["in_time"] == (row["p999_ms"] < row["hop_ms"])
    assert row["steps"] == sum(row["histogram"].values()) == 60 == sum(row["control"]["histogram"].values())
    assert row["misses_per_million"]["rate"] == pytest.approx(1e6 * row["late"] / 60)
    scores = json.loads((weights_folder() / "live-23-small.json").read_text())["training"]["validation"]["sdr"]
    assert row["trained"] and row["sdr"] == pytest.approx(sum(scores.values()) / len(scores))
    assert 30 < row["memory"]["start_mb"] <= row["memory"]["peak_mb"]
    assert row["torch"] and row["onnxruntime"] and row["python"].startswith("3.")
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_the_row_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    untrained = ["bench", "--model", "live-93-small", "--executor", "eager", "--steps", "20", "--batch", "2"]
    assert cli.main(untrained) == 0
    text = capsys.readouterr().out
    assert "live-93-small on eager (cpu, float32, 2 streams, 1 thread)" in text
    assert "SDR none: untrained" in text and "of 20)" in text and "hop of 23.22 ms" in text
    assert "onnx" not in text.split("a step")[1].split("\n")[0]


def test_as_many_steps_as_fit(capsys: pytest.CaptureFixture[str]) -> None:
    row = told(capsys, *QUICK, "--seconds", "0.15", "--realtime")
    assert row["steps"] == round(0.15 / (128 / 44100)) and row["realtime"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--executor", "onnx", "--threads", "2"], "runs on one thread; leave --threads out"),
        (["--model", "htdemucs-small"], "add --lookahead 500ms"),
        (["--model", "live-24"], "no model or file 'live-24'"),
        (["--executor", "fast"], "unknown executor 'fast'"),
        (["--precision", "bfloat16"], "computes in float32"),
    ],
)
def test_what_cannot_be_measured(arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["bench", *arguments]) == 1
    assert words in capsys.readouterr().err


def test_a_picture_needs_matplotlib(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert cli.main([*QUICK, "--steps", "1", "--histogram", str(tmp_path / "x.png")]) == 1
    assert "run: pip install 'streamsep[evaluation]'" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system pins nothing")
def test_a_core_of_its_own(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    kept: list[set[int]] = []
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {2, 5})
    monkeypatch.setattr(os, "sched_setaffinity", lambda pid, cores: kept.append(cores))
    assert told(capsys, *QUICK, "--steps", "1", "--core", "5")["core"] == 5 and kept == [{5}]
    assert cli.main([*QUICK, "--core", "3"]) == 1
    assert "there is no core 3 here; choose one of 2, 5" in capsys.readouterr().err
    monkeypatch.delattr(os, "sched_setaffinity")
    assert cli.main([*QUICK, "--core", "2"]) == 1
    assert "leave --core out" in capsys.readouterr().err


def test_weights_without_a_record_have_no_sdr(tmp_path: Path) -> None:
    from streamsep.models.checkpoint import save_checkpoint
    from tests.models import tiny

    path = tmp_path / "bare.safetensors"
    save_checkpoint(tiny(), path, {})
    assert case.is_trained(str(path)) and case.recorded_sdr(str(path)) is None
    assert not case.is_trained("live-93-small") and case.recorded_sdr("live-93-small") is None
