"""Tempos found in songs: of clicks on a grid, not of a band that wavers."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from streamsep.training.in_time import Tempo, tempo_of
from tools.find_tempos import find_tempo, main, steady

RATE = 44100


def drummed(beats: np.ndarray, seconds: float = 30.0) -> np.ndarray:
    """A burst of noise on every beat."""
    sound = np.zeros(round(seconds * RATE), np.float32)
    burst = (np.random.default_rng(0).normal(0, 0.3, 3000) * np.exp(-np.arange(3000) / 500)).astype(np.float32)
    for start in (beats * RATE).astype(int):
        sound[start : start + 3000] += burst[: len(sound) - start]
    return sound


@pytest.mark.parametrize(("bpm", "first"), [(120.0, 0.1), (97.3, 0.31)])
def test_the_tempo_of_a_grid(bpm: float, first: float) -> None:
    tempo = find_tempo(drummed(np.arange(first, 29.5, 60 / bpm)), RATE)
    assert tempo is not None and tempo.bpm == pytest.approx(bpm, rel=2e-3)
    period = 60 / bpm
    away = (tempo.first - first + period / 2) % period - period / 2
    assert abs(away) < 0.04


def test_beats_that_lie_on_no_line_have_no_tempo() -> None:
    even = np.arange(60) * 0.5 + 0.2
    assert steady(even) == Tempo(120, 0.2)
    assert steady(np.delete(even, [7, 8, 30])) == Tempo(120, 0.2), "beats may be missing"
    assert steady(even[:20]) is None, "too few"
    assert steady(np.cumsum(np.linspace(0.4, 0.6, 60))) is None, "it slows down"
    assert find_tempo(np.zeros(20 * RATE, np.float32), RATE) is None


Run = Callable[..., int]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    def run(*arguments: object) -> int:
        monkeypatch.setattr(sys, "argv", ["find_tempos", *map(str, arguments)])
        return main()

    return run


def test_songs_are_told_their_tempo_once(tmp_path: Path, run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    grid = np.arange(0.2, 29.5, 0.5)
    for name, beats in {"steady": grid, "known": grid, "quiet": grid[:0]}.items():
        (tmp_path / name).mkdir()
        soundfile.write(tmp_path / name / "drums.wav", drummed(beats), RATE)
    (tmp_path / "known" / "song.json").write_text('{"tempo": 77}')
    (tmp_path / "steady" / "song.json").write_text('{"artist": "nobody"}')
    assert run(tmp_path, "--dry-run") == 0
    assert "steady: 1" in capsys.readouterr().out and tempo_of(tmp_path / "steady") is None
    assert run(tmp_path) == 0
    told = capsys.readouterr().out
    assert "quiet: keeps no tempo" in told and "known" not in told
    tempo = tempo_of(tmp_path / "steady")
    assert tempo is not None and tempo.bpm == pytest.approx(120, rel=2e-3)
    assert json.loads((tmp_path / "steady" / "song.json").read_text())["artist"] == "nobody"
    assert tempo_of(tmp_path / "known") == Tempo(77) and not (tmp_path / "quiet" / "song.json").exists()


def test_a_folder_without_songs_is_one_sentence(tmp_path: Path, run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path) == 1
    told = capsys.readouterr().err
    assert told.startswith("find_tempos: error: no song in") and told.count("\n") == 1
