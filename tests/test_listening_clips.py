"""Clips to hear: where they are, and what the tool does with odd songs and pages."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from streamsep.evaluation.metrics import sdr
from streamsep.files import Codec, write_audio
from tests.toys import ToySeparator
from tools import listening_clips


@pytest.fixture(autouse=True)
def model(monkeypatch: pytest.MonkeyPatch) -> None:
    """A separator of gains, late by 100 samples, stands in for every model."""
    monkeypatch.setattr(listening_clips, "load_model", lambda name: ToySeparator(hop=64, latency=100))


def write_song(folder: Path, rng: np.random.Generator, level: float = 0.01, seconds: int = 1) -> dict[str, np.ndarray]:
    """Drums and bass, the last second louder."""
    stems = {name: level * rng.standard_normal((2, seconds * 44100)).astype(np.float32) for name in ("drums", "bass")}
    for name, stem in stems.items():
        stem[:, -44100:] *= 10
        write_audio(folder / f"{name}.wav", stem, 44100, Codec(bits=32))
    return stems


def test_clips(tmp_path: Path, rng: np.random.Generator) -> None:
    """They are where most is going on, aligned, and told as is."""
    stems = write_song(tmp_path / "song", rng, seconds=3)
    page = tmp_path / "docs" / "heard.md"
    assert listening_clips.main([str(tmp_path / "song"), "--seconds", "1", "--page", str(page)]) == 0
    files = sorted(path.name for path in (page.with_suffix("") / "song").iterdir())
    assert files == ["bass-true.ogg", "bass.ogg", "drums-true.ogg", "drums.ogg", "mix.ogg", "spectrograms.webp"]
    mix, drums = (
        torch.from_numpy(np.stack([stems[n] for n in names]).sum(0)[:, 88200:]) for names in (stems, ["drums"])
    )
    text = page.read_text(encoding="utf-8")
    assert "From 2.0 s on" in text and f"| {sdr(drums, 0.5 * mix):.2f} |" in text
    heard, rate = soundfile.read(page.with_suffix("") / "song" / "bass-true.ogg")
    assert rate == 44100 and len(heard) == 44100
    assert listening_clips.main([str(tmp_path), "--page", str(page)]) == 1


def test_links_and_seconds_are_those_of_the_song(tmp_path: Path, rng: np.random.Generator) -> None:
    write_song(tmp_path / "My <Song>", rng)
    page = tmp_path / "heard.md"
    assert (
        listening_clips.main([str(tmp_path / "My <Song>"), "--seconds", "0.5", "--model", "x", "--page", str(page)])
        == 0
    )
    text = page.read_text(encoding="utf-8")
    assert "0.5 seconds of songs that `x` never saw" in text
    assert "(heard/My%20%3CSong%3E/mix.ogg)" in text and text.count("](heard/My%20%3CSong%3E/") == 6


def test_what_cannot_be_made_is_known_before_the_work(
    tmp_path: Path, rng: np.random.Generator, capsys: pytest.CaptureFixture[str]
) -> None:
    song, other = tmp_path / "song", tmp_path / "other" / "song"
    for folder in (song, other):
        write_song(folder, rng)
    for given, sentence in (
        (
            [song, "--page", tmp_path / "page"],
            "the page needs an ending",
        ),
        ([song, other, "--page", tmp_path / "page.md"], "two songs are called song"),
        ([song, "--page", song / "drums.wav" / "page.md"], "choose another --page"),
    ):
        assert listening_clips.main([*map(str, given), "--seconds", "0.5"]) == 1
        assert sentence in capsys.readouterr().err
    assert not (tmp_path / "page").exists() and not (tmp_path / "page.md").exists()


@pytest.mark.parametrize("seconds", ["0", "-1", "nan"])
def test_seconds_out_of_range_are_wrong_usage(capsys: pytest.CaptureFixture[str], seconds: str) -> None:
    with pytest.raises(SystemExit):
        listening_clips.main(["song", f"--seconds={seconds}"])
    assert "is not a positive number" in capsys.readouterr().err


def test_a_silent_song_is_named(tmp_path: Path, rng: np.random.Generator, capsys: pytest.CaptureFixture[str]) -> None:
    write_song(tmp_path / "song", rng, level=1e-6)
    assert listening_clips.main([str(tmp_path / "song"), "--page", str(tmp_path / "page.md")]) == 1
    assert "no stem of song sounds" in capsys.readouterr().err and not (tmp_path / "page.md").exists()
