"""A comparison over many songs: continued after a kill, with failures listed, and faults shown for what they are."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.signal import butter, sosfilt

from streamsep.cli import main
from streamsep.errors import StreamsepError
from streamsep.evaluation import apart, separation
from streamsep.evaluation.comparison import compare
from streamsep.evaluation.jobs import read_result
from streamsep.files import write_audio
from tests.comparison_plans import (
    STEMS,
    calls_fixture,  # noqa: F401  (a fixture)
    data_fixture,  # noqa: F401  (a fixture)
    models_fixture,  # noqa: F401  (a fixture)
    plan,
    write_song,
)

ROOT = Path(__file__).parents[1]
TIMES = ("real_time_factor",)  # columns that no two runs share


def test_a_finished_run_has_nothing_left_to_do(data: Path, calls: list[str]) -> None:
    first = compare(plan(data, "mixture", "irm"))
    assert len(calls) == 3 * (1 + 2 + 1) and first.failures == []
    assert [song["name"] for song in first.songs] == ["song 0", "song 1", "song 2"]
    assert not (data.parent / "out" / "work").exists()
    calls.clear()
    assert compare(plan(data, "mixture", "irm")) == first and calls == []


def test_what_else_lies_in_the_work_folder_stays(data: Path, calls: list[str]) -> None:
    theirs = data.parent / "out" / "work" / "thesis"
    theirs.mkdir(parents=True)
    (theirs / "chapter.txt").write_text("years of work")
    assert compare(plan(data, "mixture")).failures == []
    assert (theirs / "chapter.txt").read_text() == "years of work"
    assert [path.name for path in theirs.parent.iterdir()] == ["thesis"]


def test_what_was_done_before_a_kill_is_kept(data: Path, calls: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    run = apart.run_apart

    def die(work: Callable[..., Any], *arguments: Any, name: str = "") -> Any:
        if name == "irm on song 1":
            raise KeyboardInterrupt
        return run(work, *arguments, name=name)

    monkeypatch.setattr(apart, "run_apart", die)
    with pytest.raises(KeyboardInterrupt):
        compare(plan(data, "mixture", "irm"))
    calls.clear()
    monkeypatch.setattr(apart, "run_apart", run)
    outcome = compare(plan(data, "mixture", "irm"))
    assert calls[:3] == ["prepare_song: song 1", "run_system: irm on song 1", "finish_song: song 1"]
    assert len(calls) == 3 + 4 and len(outcome.songs) == 3


def test_a_song_that_fails_is_listed_and_the_others_are_done(data: Path, calls: list[str]) -> None:
    (data / "song 1" / "bass.wav").write_bytes(b"no sound")
    outcome = compare(plan(data, "mixture"))
    assert [song["name"] for song in outcome.songs] == ["song 0", "song 2"]
    (failure,) = outcome.failures
    assert (failure.song, failure.system) == ("song 1", None) and "bass.wav is not a sound file" in failure.reason


def test_a_bug_on_one_song_is_listed(data: Path, calls: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    run = apart.run_apart

    def stumble(work: Callable[..., Any], *arguments: Any, name: str = "") -> Any:
        if name == "mixture on song 2":
            raise ZeroDivisionError("by nothing")
        return run(work, *arguments, name=name)

    monkeypatch.setattr(apart, "run_apart", stumble)
    outcome = compare(plan(data, "mixture", "silence"))
    assert [(f.song, f.system, f.reason) for f in outcome.failures] == [
        ("song 2", "mixture", "ZeroDivisionError: by nothing")
    ]
    assert [len(song["results"]) for song in outcome.songs] == [2, 2, 1]


def test_a_damaged_result_is_no_result(tmp_path: Path) -> None:
    (tmp_path / "half.json").write_text('{"key": "abc", "ste')
    (tmp_path / "other.json").write_text("[1]")
    assert read_result(tmp_path / "half.json") == read_result(tmp_path / "other.json") == read_result(tmp_path) == {}


def test_a_stem_half_written_is_never_taken_for_a_whole_one(
    data: Path, calls: list[str], models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = (f"stream:{models / name}.safetensors" for name in ("small", "other"))
    compare(plan(data, one, other))
    write = separation.write_raw

    def die(path: Path, pieces: Any, limit: int | None) -> int:
        write(path, iter([next(iter(pieces))]), 100)
        raise KeyboardInterrupt

    monkeypatch.setattr(separation, "write_raw", die)
    with pytest.raises(KeyboardInterrupt):
        compare(plan(data, one, other, "pass:" + one.partition(":")[2]))
    monkeypatch.setattr(separation, "write_raw", write)
    outcome = compare(plan(data, one, other, "pass:" + one.partition(":")[2]))
    assert outcome.failures == [] and len(outcome.songs[0]["differences"]) == 2


def test_one_folder_of_stems_is_for_one_song(data: Path, calls: list[str], rng: np.random.Generator) -> None:
    theirs = write_song(data.parent / "theirs", rng, stems=4)
    with pytest.raises(StreamsepError, match=r"no drums\.wav.* in .*theirs.song 0; correct theirs"):
        compare(plan(data, f"theirs=stems:{theirs}"))
    alone = plan(data, f"theirs=stems:{theirs}")
    assert compare(replace(alone, songs=alone.songs[:1])).failures == []


def test_evaluate_compares_into_a_folder(data: Path, calls: list[str]) -> None:
    out = data.parent / "evaluated"
    flags = ["evaluate", "--data", str(data), "--songs", "song 2,song 0", "--no-report", "-o", str(out), "-s", "irm"]
    assert main([*flags, "--excerpt", "0.1", "--at", "0"]) == 0
    facts = json.loads((out / "compare.json").read_text(encoding="utf-8"))
    assert [song["name"] for song in facts["songs"]] == ["song 2", "song 0"]
    assert [song["excerpt"] for song in facts["songs"]] == [[0, 0.1]] * 2
    assert facts["systems"]["irm"]["songs"] == 2


def test_evaluate_without_a_folder_takes_no_systems(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", "--data", str(data), "-s", "irm"]) == 1
    assert "add --out DIR" in capsys.readouterr().err
    assert main(["evaluate", "--data", str(data), "--songs", "nobody", "-s", "irm", "-o", str(data / "x")]) == 1
    assert "no song 'nobody'" in capsys.readouterr().err


def table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8") as file:
        return [{key: value for key, value in row.items() if key not in TIMES} for row in csv.DictReader(file)]


@pytest.mark.slow
def test_killed_twice_and_continued_is_unbroken(tmp_path: Path, rng: np.random.Generator) -> None:
    for index in range(50):
        write_song(tmp_path / "data" / f"{index:02}", rng, 6000 + 100 * index, stems=1 + (index % 10 == 0))

    def start(out: Path) -> subprocess.Popen[bytes]:
        command = [sys.executable, "tools/compare_streaming_offline.py", "--data", str(tmp_path / "data"), "-j", "2"]
        command += ["--no-report", "-o", str(out), "-s", "silence", "-s", "irm:1024"]
        return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)

    def results(out: Path) -> int:
        return len(list(out.glob("songs/*/*.json")))

    broken, unbroken = tmp_path / "broken", tmp_path / "unbroken"
    for least in (20, 70):
        run = start(broken)
        while results(broken) < least:
            assert run.poll() is None, run.stderr and run.stderr.read()
            time.sleep(0.02)
        os.kill(run.pid, signal.SIGKILL)
        run.communicate()
        assert least <= results(broken) < 140
        assert not (broken / "compare.csv").exists()
    for out in (broken, unbroken):
        run = start(out)
        _, error = run.communicate(timeout=300)
        assert run.returncode == 0, error
    rows = table(unbroken / "compare.csv")
    assert table(broken / "compare.csv") == rows and len(rows) == 50 * 2 * 4
    assert not (broken / "work").exists()


def test_planted_faults_are_shown_for_what_they_are(
    tmp_path: Path, rng: np.random.Generator, calls: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    song = tmp_path / "data" / "song"
    truth = {name: sounding(rng, 7.0) for name in STEMS}
    kept = np.arange(len(truth["drums"][0])) % 512 != 511
    clipped = truth["vocals"].clip(-0.3 * np.abs(truth["vocals"]).max(), 0.3 * np.abs(truth["vocals"]).max())
    plants = {
        "dropped": {**truth, "drums": truth["drums"][:, kept]},
        "late": {**truth, "bass": np.pad(truth["bass"], ((0, 0), (132, 0)))},
        "swapped": {**truth, "other": truth["vocals"], "vocals": truth["other"]},
        "clipped": {**truth, "vocals": clipped},
        "sound": truth,
    }
    for name, samples in truth.items():
        write_audio(song / f"{name}.wav", samples, 44100)
    for plant, stems in plants.items():
        for name, samples in stems.items():
            write_audio(tmp_path / plant / f"{name}.wav", samples, 44100)
    flags = [flag for plant in plants for flag in ("-s", f"{plant}=stems:{tmp_path / plant}")]
    assert main(["evaluate", "--data", str(song.parent), "-o", str(tmp_path / "out"), "--no-report", *flags]) == 0
    facts = json.loads((tmp_path / "out" / "compare.json").read_text(encoding="utf-8"))
    results = facts["songs"][0]["results"]
    found = {plant: {(w["stem"], w["kind"]): w["text"] for w in results[plant]["warnings"]} for plant in plants}
    assert set(found["dropped"]) == {("drums", "drift"), ("drums", "seam")}
    assert "one sample of every 512 is missing" in found["dropped"]["drums", "drift"]
    assert "a seam every 511 samples" in found["dropped"]["drums", "seam"]
    assert found["late"] == {("bass", "delay"): "bass is 3.0 ms late (132 samples)"}
    assert set(found["swapped"]) == {("other", "swap"), ("vocals", "swap")}
    assert "other and vocals are swapped" in found["swapped"]["other", "swap"]
    assert set(found["clipped"]) == {("vocals", "clipped")}
    assert found["sound"] == {}
    assert "other and vocals are swapped" in capsys.readouterr().out


def sounding(rng: np.random.Generator, seconds: float) -> np.ndarray:
    """Noise of low frequencies that swells and sinks, `[2, T]`, unlike any other drawn from here."""
    count = round(seconds * 44100)
    noise = rng.standard_normal((1, count + 499)) + 0.4 * rng.standard_normal((2, count + 499))
    smooth = np.cumsum(sosfilt(butter(4, 3000, output="sos", fs=44100), noise)[:, 450:], axis=1)
    slow = 1.2 + np.sin(2 * np.pi * rng.uniform(0.5, 2) * np.arange(count) / 44100)
    return (0.01 * (smooth[:, 49:] - smooth[:, :-49]) * slow).astype(np.float32)
