"""The tool that compares systems on a song: what it tells and writes, and what it refuses."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from streamsep.errors import StreamsepError
from streamsep.evaluation import apart, separation
from streamsep.evaluation.measures import song as song_measures
from streamsep.evaluation.separation import Task, separate
from streamsep.files import write_audio
from streamsep.models.checkpoint import save_checkpoint
from tests.compare_material import FRAMES, STEMS, models_fixture, song_fixture  # noqa: F401  (fixtures)
from tests.models import tiny
from tools import compare_streaming_offline as tool


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Systems run in this process, and BSS eval has short filters: starting another, and long ones, take seconds."""
    monkeypatch.setattr(apart, "run_apart", lambda work, *arguments, name="": work(*arguments))
    monkeypatch.setattr(song_measures, "bss_frames", partial(song_measures.bss_frames, taps=8))


def compare_song(song: Path, models: Path, *arguments: str) -> int:
    """With the causal model, unless systems are named."""
    flags = ["-o", str(song.parent / "out"), "--chunk", "64"]
    if not any(argument.startswith("-s") for argument in arguments):  # long flags begin with two dashes
        flags += ["--model", str(models / "causal.safetensors")]
    return tool.main([str(song), *flags, *arguments])


def told(song: Path) -> Any:
    return json.loads((song.parent / "out" / "compare.json").read_text(encoding="utf-8"))


def test_the_tool_with_everything(song: Path, models: Path, here: None, capsys: pytest.CaptureFixture[str]) -> None:
    assert compare_song(song, models, "--offline", str(models / "six.safetensors")) == 0
    facts = told(song)
    (only,) = facts["songs"]
    assert only["true_stems"]["drums"] == str(song.parent / "drums.wav") and facts["cpu_threads"] == 1
    assert list(facts["systems"]) == list(only["results"]) == ["stream", "full pass", "offline"]
    for system in facts["systems"].values():
        assert list(system["scores"]) == ["drums", "bass", "other", "vocals", "mean"]
        assert system["scores"]["bass"]["usdr"] is None  # it is silent
        assert system["real_time_factor"] > 0 and system["memory_mib"]["peak"] > 0
        # Three stems of equal energy: the best gain is 1/3, and leaves 2/3 of the energy.
        assert system["scores"]["drums"]["baseline_sdr"] == pytest.approx(10 * np.log10(3 / 2), abs=0.2)
    latencies = [system["algorithmic_latency_ms"] for system in facts["systems"].values()]
    assert latencies == [pytest.approx(1000 * 32 / 44100, rel=1e-4), None, None]
    assert facts["systems"]["stream"]["latency_heard_ms"] == latencies[0]
    same, other = only["differences"]
    assert (same["against"], other["against"]) == ("full pass", "offline")
    assert max(row["max"] for row in same["stems"].values()) < 1e-5 < other["stems"]["drums"]["max"]
    text = capsys.readouterr().out
    assert "best gain" in text and "on one CPU thread" in text and "0.7 ms" in text
    names = sorted(path.name for path in (song.parent / "out").iterdir())
    assert names == ["compare.csv", "compare.json", "report.html", "songs"]
    assert (song.parent / "out" / "report.html").stat().st_size > 50_000


def test_oracles_and_somebody_elses_stems(song: Path, models: Path, here: None) -> None:
    theirs = song.parent / "theirs"
    for name in STEMS:
        samples = np.zeros((2, FRAMES), np.float32) if name != "drums" else np.full((2, FRAMES), 0.1, np.float32)
        write_audio(theirs / f"{name}.flac", samples, 44100)
    systems = ["irm", "ibm:512/128", "mwf:512", "magnitude", "psm", "mixture", "silence", f"theirs=stems:{theirs}"]
    assert compare_song(song, models, "--no-report", *(f"-s={system}" for system in systems)) == 0
    facts = told(song)
    names = ["irm", "ibm 512/128", "mwf 512/128", "magnitude", "psm", "mixture", "silence", "theirs"]
    assert list(facts["systems"]) == names
    scores = {name: system["scores"]["drums"]["usdr"] for name, system in facts["systems"].items()}
    assert scores["irm"] > scores["silence"] == 0 > scores["mixture"] > -4
    with (song.parent / "out" / "compare.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 8 * 4 and {row["song"] for row in rows} == {"song"}
    assert float(rows[0]["usdr"]) == pytest.approx(scores["irm"], rel=1e-4)
    assert [row["usdr"] for row in rows if row["stem"] == "bass"] == [""] * 8


def test_the_tool_without_truth_and_offline_model(
    song: Path, models: Path, here: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("STREAMSEP_CACHE", str(song.parent))
    monkeypatch.setattr("streamsep.models.registry.OFFLINE_DEFAULTS", ("htdemucs",))
    monkeypatch.setattr(separation, "PASS_SECONDS", 0.02)
    (song.parent / "vocals.wav").unlink()
    assert compare_song(song, models, "--no-report", "--seconds", "0.05") == 0
    out, err = capsys.readouterr()
    assert "streamsep models pull htdemucs" in err and "best gain" not in out and "no true stems" in out
    facts = told(song)
    assert facts["songs"][0]["true_stems"] is None and facts["systems"]["stream"]["scores"]["mean"]["usdr"] is None
    seconds = [system["seconds_of_sound"] for system in facts["systems"].values()]
    assert seconds == pytest.approx([0.05, 0.02], rel=1e-3)
    assert "stream against full pass (0.0 s)" in out
    assert not (song.parent / "out" / "report.html").exists()


def test_an_oracle_without_truth_is_listed_and_the_rest_is_done(
    song: Path, models: Path, here: None, capsys: pytest.CaptureFixture[str]
) -> None:
    (song.parent / "vocals.wav").unlink()
    assert compare_song(song, models, "--no-report", "-s", "irm", "-s", "mixture") == 3
    facts = told(song)
    assert [(each["song"], each["system"]) for each in facts["failures"]] == [("song", "irm")]
    assert "made from the true stems" in capsys.readouterr().out
    assert facts["systems"]["mixture"]["songs"] == 1 and facts["systems"]["irm"]["songs"] == 0


def test_a_part_of_a_song_is_not_scored(song: Path, models: Path, here: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(separation, "PASS_SECONDS", 0.02)
    assert compare_song(song, models, "--no-report", "--no-offline") == 0
    results = told(song)["songs"][0]["results"]
    assert results["stream"]["stems"] and not results["full pass"]["stems"]


def test_silence_is_called_silence(song: Path, models: Path, here: None, capsys: pytest.CaptureFixture[str]) -> None:
    write_audio(song, np.zeros((2, 900), np.float32), 44100)
    assert compare_song(song, models, "--no-report", "--no-offline") == 0
    out = capsys.readouterr().out
    assert "drums silent" in out and "nan" not in out.split("one system")[1]


def test_stems_of_another_song_are_noticed(
    song: Path, models: Path, here: None, capsys: pytest.CaptureFixture[str]
) -> None:
    write_audio(song, (np.random.default_rng(1).standard_normal((1, 3000)) / 9).astype(np.float32), 22050)
    assert compare_song(song, models, "--no-report", "--no-offline", "--stems", str(song.parent)) == 0
    assert "are they its own?" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (["--model", "live-32"], "no model or file 'live-32'"),
        (["--model", "{models}/offline.safetensors"], "is an offline model; choose another --model"),
        (["--offline", "{models}/causal.safetensors"], "is a streaming model; choose another --offline"),
        (["--offline", "{models}/two.safetensors"], "choose models that agree"),
        (["--stems", "{models}"], "there is no drums.wav"),
        (["--device", "abacus"], "device 'abacus' is not usable"),
        (["-o", "{song}"], "cannot write into"),
        (["-s", "sliding:x"], "has no look-ahead"),
        (["-s", "sliding:x@soon"], "is not a time"),
        (["-s", "irm:1000/900"], "has no usable STFT"),
        (["-s", "stems:{models}/no"], "there is no folder"),
        (["-s", "stems:{models}"], "there is no drums.wav"),
        (["--data", "{models}"], "no song in"),
        (["{models}"], "no stem in the folder"),
        (["{song}", "--stems", "{models}"], "for a single SONG"),
        (["--subset", "test"], "add --data"),
        (["--songs", "one"], "add --data"),
        (["--data", "{models}", "--subset", "test"], "leave out --subset"),
        (["-s", "irm", "--model", "live-23-small"], "--model has no effect beside --system"),
        (["-s", "irm", "--offline", "htdemucs"], "--offline has no effect beside --system"),
        (["-s", "irm", "--no-offline"], "--no-offline has no effect beside --system"),
        (["-o", "{song}\udcff", "-s", "irm"], "is not UTF-8, as the results are"),
        (["-s", "stems:{models}\udcff"], "is not UTF-8, as the results are"),
    ],
)
def test_mistakes_are_one_sentence(
    song: Path, models: Path, here: None, capsys: pytest.CaptureFixture[str], flags: list[str], sentence: str
) -> None:
    given = [flag.format(models=models, song=song) for flag in flags]
    assert compare_song(song, models, "--no-report", *given) == 1
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("compare_streaming_offline: error: ") and sentence in error
    assert not (song.parent / "out" / "compare.json").exists()


def test_a_folder_s_stems_are_its_own(song: Path, models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert compare_song(song.parent, models, "--no-report", "-s", "irm", "--stems", "nosuch") == 1
    assert "has stems of its own; leave out --stems" in capsys.readouterr().err


def test_a_failure_leaves_what_was_there(song: Path, models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(work: Any, *arguments: Any, name: str) -> None:
        raise StreamsepError("no memory is left; buy some")

    old = song.parent / "out" / "compare.json"
    old.parent.mkdir()
    old.write_text("old", encoding="utf-8")
    monkeypatch.setattr(apart, "run_apart", fail)
    assert compare_song(song, models, "--no-offline") == 1
    assert [path.read_text(encoding="utf-8") for path in old.parent.iterdir()] == ["old"]


def test_weights_that_change_meanwhile_are_noticed(
    song: Path, models: Path, here: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run_and_train(task: Task) -> Any:
        ran = separate(task)
        model = tiny()
        assert model.spectrogram is not None
        torch.nn.init.normal_(model.spectrogram.output_bias)
        save_checkpoint(model, song.parent / "live.safetensors", {})
        return ran

    save_checkpoint(tiny(), song.parent / "live.safetensors", {})
    monkeypatch.setattr("streamsep.evaluation.jobs.separate", run_and_train)
    flags = ["--model", str(song.parent / "live.safetensors"), "--no-offline", "--no-report"]
    assert compare_song(song, models, *flags) == 1
    assert "changed meanwhile" in capsys.readouterr().err


@pytest.mark.parametrize(("absent", "flags"), [("matplotlib", []), ("pyloudnorm", ["--no-report"])])
def test_a_missing_package_is_named_before_the_work(
    song: Path,
    models: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    absent: str,
    flags: list[str],
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == absent else True)
    assert compare_song(song, models, *flags) == 1
    error = capsys.readouterr().err
    assert absent in error and "streamsep[evaluation]" in error and not (song.parent / "out").exists()


def test_help_teaches_without_torch() -> None:
    script = (
        "import runpy, sys; sys.argv = ['tools/compare_streaming_offline.py', '--help']\n"
        "try: runpy.run_path(sys.argv[0], run_name='__main__')\n"
        "finally: assert 'torch' not in sys.modules\n"
    )
    root = Path(tool.__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", script], cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "best gain" in done.stdout and "models pull htdemucs" in done.stdout
