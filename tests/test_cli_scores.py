"""`streamsep stream` beside true stems: what it must never write over, and where its figures go."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from streamsep.cli import main
from streamsep.cli.scores import refuse_overwriting
from streamsep.errors import StreamsepError
from tests.engine_toys import NAMES, DelaySplit, noise


@pytest.fixture(autouse=True)
def toy(monkeypatch: pytest.MonkeyPatch) -> None:
    """A separator that stands in for every model."""
    separator = DelaySplit(hop=64, latency=96)
    monkeypatch.setattr("streamsep.models.registry.load_model", lambda name, device=None: separator)


@pytest.fixture
def song(tmp_path: Path) -> Path:
    soundfile.write(tmp_path / "song.wav", noise(5000).T, 44100, subtype="FLOAT")
    return tmp_path / "song.wav"


def write_truth(folder: Path) -> dict[str, bytes]:
    """True stems in `folder`, and their bytes."""
    folder.mkdir(parents=True)
    for seed, name in enumerate(NAMES):
        soundfile.write(folder / f"{name}.wav", noise(5000, seed=seed).T, 44100)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def stream(*arguments: str | Path) -> int:
    return main(["stream", *map(str, arguments), "--device", "cpu"])


def test_true_stems_are_never_overwritten(song: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "live-23-small" / "song"
    before = write_truth(folder)
    assert stream(song, "-o", tmp_path, "--stems", folder) == 1
    assert "is one of the true stems" in capsys.readouterr().err
    assert contents(folder) == before


def test_true_stems_behind_a_link_are_not_overwritten(song: Path, tmp_path: Path) -> None:
    before = write_truth(tmp_path / "truth")
    (tmp_path / "live-23-small").mkdir()
    (tmp_path / "live-23-small" / "song").symlink_to(tmp_path / "truth")
    assert stream(song, "-o", tmp_path, "--stems", tmp_path / "truth") == 1
    assert contents(tmp_path / "truth") == before


@pytest.mark.parametrize(
    ("figures", "message"),
    [
        ("song.wav", "is the song itself"),
        ("truth/bass.wav", "is one of the true stems"),
        ("live-23-small/song/bass.wav", "is one of the stems that are written"),
        ("folder", "is a folder"),
    ],
)
def test_figures_go_over_nothing(
    song: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], figures: str, message: str
) -> None:
    before, sound = write_truth(tmp_path / "truth"), song.read_bytes()
    (tmp_path / "folder").mkdir()
    assert stream(song, "-o", tmp_path, "--stems", tmp_path / "truth", "--json", tmp_path / figures) == 1
    assert message in capsys.readouterr().err.splitlines()[-1]
    assert contents(tmp_path / "truth") == before and song.read_bytes() == sound
    assert not (tmp_path / "live-23-small").exists(), "known before the song is played"


@pytest.mark.parametrize(("level", "code"), [("-20", 1), ("-inf", 1), ("0", 0)])
def test_stems_that_were_turned_down_are_not_scored(
    song: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], level: str, code: int
) -> None:
    write_truth(tmp_path / "truth")
    gain = f"--gain={NAMES[0]}={level}"
    assert stream(song, "-o", tmp_path / "out", "--stems", tmp_path / "truth", gain) == code
    assert ("leave out --gain" in capsys.readouterr().err) == bool(code) != (tmp_path / "out").exists()


def test_figures_come_whole_or_not_at_all(song: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    figures = tmp_path / "figures.json"
    figures.write_text("old")

    def fail(*_: object) -> None:
        raise StreamsepError("the model failed")

    with monkeypatch.context() as broken:
        broken.setattr("streamsep.cli.stream._play", fail)
        assert stream(song, "-o", tmp_path / "out", "--json", figures) == 1
    assert figures.read_text() == "old"
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == ["figures.json", "song.wav"]
    assert stream(song, "-o", tmp_path / "out", "--json", figures) == 0
    assert json.loads(figures.read_text())["scores"] == []


def test_a_circle_of_links_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(StreamsepError, match="leads nowhere"):
        refuse_overwriting({"bass": tmp_path / "loop" / "bass.wav"}, None, tmp_path / "song.wav", {})


def test_a_missing_song_is_known_before_the_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[str] = []
    monkeypatch.setattr("streamsep.models.registry.load_model", lambda name, device=None: asked.append(name))
    assert stream(tmp_path / "nosuch.wav") == 1
    assert "there is no file" in capsys.readouterr().err and asked == []


def test_a_queue_has_an_end(song: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert stream(song, "--queue", "100000") == 1
    assert "a queue lasts at most 10 s" in capsys.readouterr().err


@pytest.mark.parametrize("flags", [["--block", "65537"], ["--block", "x"], ["--queue", "0"], ["--seconds", "nan"]])
def test_numbers_out_of_range_are_wrong_usage(flags: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        stream("song.wav", *flags)
    assert "invalid" not in capsys.readouterr().err


def test_flac_cannot_hold_every_rate(song: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    soundfile.write(song, np.zeros((7000, 2)), 700_000)
    assert stream(song, "-o", tmp_path / "out", "--format", "flac") == 1
    assert "flac goes up to 655350 Hz" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
