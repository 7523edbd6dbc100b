"""How `streamsep stream` fails: in one sentence, early, and over nobody's files."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from streamsep.cli import main
from streamsep.files import read_audio
from tests.engine_toys import DelaySplit, noise
from tests.sounds import plain_user
from tests.stream_runs import song, stream, toy_fixture  # noqa: F401  (a fixture)


def test_ctrl_c_ends_cleanly(
    tmp_path: Path, toy: DelaySplit, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    song(tmp_path / "song.wav", noise(200_000))
    calls: list[float] = []

    def wait(self: Any, timeout: float) -> bool:
        calls.append(timeout)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return False

    monkeypatch.setattr("streamsep.engine.stream.Stream.wait", wait)
    before = threading.active_count()
    assert stream(tmp_path / "song.wav", "-o", tmp_path / "out", "--realtime", "--queue", "4") == 130
    assert threading.active_count() == before
    assert [path for path in (tmp_path / "out").rglob("*") if path.is_file()] == []
    assert "late hops" in capsys.readouterr().out


def test_a_model_that_fails_in_the_middle_is_one_sentence(
    tmp_path: Path, toy: DelaySplit, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    song(tmp_path / "song.wav")
    step, steps = DelaySplit.step, []

    def fail(mix: Any, state: Any) -> Any:
        steps.append(1)
        if len(steps) == 20:
            raise RuntimeError("boom")
        return step(toy, mix, state)

    monkeypatch.setattr(toy, "step", fail)
    assert stream(tmp_path / "song.wav", "-o", tmp_path / "out") == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert error == "streamsep: error: the model failed in the middle of the stream: RuntimeError: boom"
    assert [path for path in (tmp_path / "out").rglob("*") if path.is_file()] == []


@pytest.mark.usefixtures("toy")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["missing.wav"], "there is no file"),
        (["song.wav", "--stems", "nowhere"], "check --stems"),
        (["song.wav", "--executor", "quick"], "choose one of"),
        (["song.wav", "--executor", "cuda-graph"], "--executor eager"),
        (["song.wav", "--gain", "guitar=0"], "there is no stem"),
        (["song.wav", "--format", "flac", "--float32"], "flac holds"),
        (["song.wav", "--format", "mp3", "--int24"], "leave out --int24, or --format mp3"),
        (["song.wav", "--format", "mp3", "--float32"], "leave out --float32, or --format mp3"),
        (["song.wav", "--seconds", "1e-9"], "longer part"),
        (["song.wav", "--json", "song.wav/x.json"], "choose another --json"),
    ],
)
def test_mistakes_are_one_sentence(
    tmp_path: Path,
    arguments: list[str],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    song(tmp_path / "song.wav")
    assert stream(*arguments, "-o", "out") == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("streamsep: error: ")
    assert message in error


@pytest.mark.parametrize(
    "flags", [["--gain", "vocals"], ["--gain", "vocals=loud"], ["--seconds", "0"], ["--block", "0"]]
)
def test_wrong_usage_is_argparses(flags: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        stream("song.wav", *flags)
    assert stop.value.code == 2
    assert flags[0] in capsys.readouterr().err


@pytest.mark.parametrize(
    ("gain", "message"),
    [
        ("vocals", "'vocals' is not of the form STEM=DB, such as vocals=-6"),
        ("vocals=loud", "'loud' is no level in dB, such as -6 or -inf"),
        ("vocals=nan", "a level in dB is at most 60, not nan"),
        ("vocals=61", "a level in dB is at most 60, not 61"),
    ],
)
def test_a_gain_is_refused_as_by_live(gain: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    for command in (["stream", "song.wav"], ["live"]):
        with pytest.raises(SystemExit):
            main([*command, "--gain", gain])
        assert capsys.readouterr().err.endswith(f"error: argument --gain: {message}\n")


@pytest.mark.usefixtures("toy")
def test_a_folder_without_permission_is_known_before_the_song(
    shared_tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    song(shared_tmp_path / "song.wav")
    shared_tmp_path.chmod(0o555)
    with plain_user():
        assert stream(shared_tmp_path / "song.wav", "-o", shared_tmp_path / "out") == 1
    shared_tmp_path.chmod(0o755)
    captured = capsys.readouterr()
    assert "cannot write into" in captured.err
    assert captured.out == ""


@pytest.mark.usefixtures("toy")
def test_the_song_is_never_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "live-23-small" / "bass" / "bass.wav"
    samples = song(path)
    assert stream(path, "-o", tmp_path) == 1
    assert "is the song itself" in capsys.readouterr().err
    np.testing.assert_array_equal(read_audio(path)[0], samples)


def test_an_offline_model_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    song(tmp_path / "song.wav")
    monkeypatch.setattr("streamsep.models.registry.load_model", lambda name, device=None: torch.nn.Linear(2, 2))
    assert stream(tmp_path / "song.wav", "-n", "htdemucs") == 1
    assert "htdemucs is an offline model, which streams only with some future in view" in capsys.readouterr().err
