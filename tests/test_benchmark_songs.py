"""Sets of songs beside each other: what a short stem gives, and how the sets are named."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import songs
from streamsep.files import write_audio


@pytest.fixture
def folder(tmp_path: Path, rng: np.random.Generator) -> Path:
    """A song of less than a block."""
    for name in ("drums", "bass"):
        stem = (0.1 * rng.standard_normal((2, 2000))).astype(np.float32)
        write_audio(tmp_path / "songs" / "short" / f"{name}.wav", stem, 44100)
    return tmp_path / "songs"


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["songs", *arguments])
    return songs.main()


def test_a_stem_may_be_shorter_than_a_block(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    figures = folder.parent / "songs.json"
    assert run(monkeypatch, f"few={folder}", "--json", str(figures)) == 0
    drums = json.loads(figures.read_text())["sets"]["few"]["drums"]
    assert drums["songs"] == 1 and drums["sounding"]["p50"] == 1
    assert drums["level_db"]["p50"] == pytest.approx(-3, abs=0.3)


def test_a_set_of_nothing_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    song = tmp_path / "moises" / "moisesdb_v0.1" / "one"
    write_audio(song / "drums" / "1.wav", np.full((2, 2000), 0.1, np.float32), 44100)
    tracks = [{"id": "1", "extension": "wav", "trackType": "kick"}]
    (song / "data.json").write_text(json.dumps({"stems": [{"stemName": "drums", "tracks": tracks}]}))
    assert run(monkeypatch, f"m={tmp_path / 'moises'}", "--json", str(tmp_path / "out.json")) == 1
    assert "no stem in" in capsys.readouterr().err and not (tmp_path / "out.json").exists()


def test_a_set_without_a_name_costs_no_figures(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    figures = folder.parent / "songs.json"
    figures.write_text("old")
    with pytest.raises(SystemExit) as stop:
        run(monkeypatch, f"few={folder}", str(folder), "--json", str(figures))
    assert stop.value.code == 2 and "is not of the form NAME=FOLDER" in capsys.readouterr().err
    assert figures.read_text() == "old"
