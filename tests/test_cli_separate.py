"""`streamsep separate`, from the command line to the files on disk."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from streamsep.files import Codec, read_audio, write_audio
from streamsep.models import registry
from streamsep.models.checkpoint import save_checkpoint
from streamsep.models.defaults import FILE_DEFAULT
from tests.separate_runs import GAINS, check_stems, separate, song, stems, toy_fixture  # noqa: F401  (a fixture)
from tests.sounds import tones
from tests.toys import ToySeparator


@pytest.mark.parametrize(
    ("rate", "seconds", "channels", "subtype"),
    [
        (44100, 0.5, 2, "PCM_16"),
        (48000, 0.5, 2, "PCM_24"),
        (22050, 0.5, 1, "PCM_16"),
        (96000, 0.5, 2, "FLOAT"),
        (44100, 0.2, 2, "PCM_16"),
        (44100, 0.001, 2, "PCM_16"),
        (8000, 0.2, 1, "PCM_U8"),
    ],
)
@pytest.mark.usefixtures("toy")
def test_stems_have_the_songs_rate_length_and_channels(
    tmp_path: Path, rate: int, seconds: float, channels: int, subtype: str
) -> None:
    samples = song(tmp_path / "song.wav", rate, seconds, channels, subtype)
    assert separate(tmp_path / "song.wav", "-o", tmp_path / "out") == 0
    check_stems(tmp_path / "out" / FILE_DEFAULT / "song", samples, rate, 5e-3 if subtype == "PCM_U8" else 5e-4)


@pytest.mark.usefixtures("toy")
def test_an_mp3_keeps_its_place(tmp_path: Path) -> None:
    write_audio(tmp_path / "song.mp3", tones(44100, 0.5, 300, 400), 44100, Codec("mp3"))
    assert separate(tmp_path / "song.mp3", "-o", tmp_path / "out") == 0
    check_stems(tmp_path / "out" / FILE_DEFAULT / "song", read_audio(tmp_path / "song.mp3")[0], 44100, 1e-4)


@pytest.mark.usefixtures("toy")
def test_surround_gives_stereo(tmp_path: Path) -> None:
    samples = song(tmp_path / "song.wav", 48000, channels=6)
    assert separate(tmp_path / "song.wav", "-o", tmp_path / "out", "--clip-mode", "none", "--float32") == 0
    mixed = samples[:2] + 0.5**0.5 * (samples[2] + samples[4:])
    check_stems(tmp_path / "out" / FILE_DEFAULT / "song", mixed, 48000, 5e-4)


@pytest.mark.parametrize(("flags", "ext", "tolerance"), [(["--flac"], "flac", 1e-4), (["--mp3"], "mp3", 1e-2)])
@pytest.mark.usefixtures("toy")
def test_formats(tmp_path: Path, flags: list[str], ext: str, tolerance: float) -> None:
    samples = song(tmp_path / "song.wav")
    assert separate(tmp_path / "song.wav", "-o", tmp_path, "-n", "toy", *flags) == 0
    check_stems(tmp_path / "toy" / "song", samples, 44100, tolerance, ext)


@pytest.mark.parametrize(
    ("flags", "subtype"), [([], "PCM_16"), (["--int24"], "PCM_24"), (["--float32"], "FLOAT"), (["--flac"], "PCM_16")]
)
@pytest.mark.usefixtures("toy")
def test_bits(tmp_path: Path, flags: list[str], subtype: str) -> None:
    song(tmp_path / "song.wav")
    template = "{track}-{trackext}-{stem}.{ext}"
    assert separate(tmp_path / "song.wav", "-o", tmp_path, "-n", "toy", "--filename", template, *flags) == 0
    names = {path.stem: soundfile.info(path).subtype for path in (tmp_path / "toy").iterdir()}
    assert names == {f"song-wav-{stem}": subtype for stem in GAINS}


@pytest.mark.usefixtures("toy")
def test_the_rest_is_the_sum_of_the_others_unless_told(tmp_path: Path) -> None:
    song(tmp_path / "song.wav")
    assert separate(tmp_path / "song.wav", "-o", tmp_path, "--two-stems", "bass") == 0
    assert stems(tmp_path / FILE_DEFAULT / "song").keys() == {"bass", "no_bass"}


@pytest.mark.parametrize(("method", "rest"), [("add", "no_vocals"), ("minus", "minus_vocals"), ("none", None)])
@pytest.mark.usefixtures("toy")
def test_two_stems(tmp_path: Path, method: str, rest: str | None) -> None:
    samples = song(tmp_path / "song.wav", 48000)
    assert separate(tmp_path / "song.wav", "-o", tmp_path, "--two-stems", "vocals", "--other-method", method) == 0
    found = stems(tmp_path / FILE_DEFAULT / "song")
    assert found.keys() == {"vocals", rest} - {None}
    if rest:
        total = found["vocals"][0] + found[rest][0]
        np.testing.assert_allclose(total[:, 2400:-2400], samples[:, 2400:-2400], rtol=0, atol=5e-4)


def test_the_model_default_and_device_reach_the_loader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    song(tmp_path / "song.wav")
    asked = []

    def load_model(name: str, *, device: torch.device) -> ToySeparator:
        asked.append((name, str(device)))
        return ToySeparator()

    monkeypatch.setattr(registry, "load_model", load_model)
    assert separate(tmp_path / "song.wav", "-o", tmp_path, "-n", "other/path/mine.safetensors", "-d", "cpu") == 0
    assert asked == [("other/path/mine.safetensors", "cpu")] and (tmp_path / "mine" / "song" / "bass.wav").exists()


@pytest.mark.parametrize(
    ("flags", "name"),
    [
        ([], "bidirectional-small"),
        (["--mode", "stream"], "live-23-bag"),
        (["--lookahead", "100ms"], "live-23-bag"),
        (["--mode", "offline"], "bidirectional-small"),
    ],
)
def test_which_model_is_taken_where_none_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flags: list[str], name: str
) -> None:
    """What hears the whole song where nobody wants a stream, and what streams where somebody does."""
    song(tmp_path / "song.wav")
    monkeypatch.setenv("STREAMSEP_CACHE", str(tmp_path / "cache"))  # where nothing was pulled
    asked = []

    def load_model(name: str, *, device: torch.device) -> ToySeparator:
        asked.append(name)
        return ToySeparator()

    monkeypatch.setattr(registry, "load_model", load_model)
    separate(tmp_path / "song.wav", "-o", tmp_path, *flags)
    assert asked == [name]


def test_a_streaming_checkpoint_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_checkpoint(registry.build_preset("live-6-small"), tmp_path / "mine.safetensors", {})
    samples = song(tmp_path / "song.wav", seconds=0.2)
    assert separate(tmp_path / "song.wav", "-o", tmp_path, "-n", tmp_path / "mine.safetensors", "--float32") == 0
    found = stems(tmp_path / "mine" / "song")
    # Mix consistency: the stems add up to the song.
    np.testing.assert_allclose(sum(stem for stem, _ in found.values()), samples, rtol=0, atol=1e-3)
    assert "0.2 s of music in" in capsys.readouterr().out


@pytest.mark.usefixtures("toy")
def test_samples_that_are_not_finite_count_as_silence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    samples = tones(44100, 0.2, 300, 400)
    broken = samples.copy()
    broken[0, 4410:4420] = [np.nan, np.inf] * 5
    samples[0, 4410:4420] = 0
    soundfile.write(tmp_path / "song.wav", broken.T, 44100, subtype="FLOAT")
    assert separate(tmp_path / "song.wav", "-o", tmp_path, "--float32") == 0
    check_stems(tmp_path / FILE_DEFAULT / "song", samples, 44100, 1e-6)
    assert "10 samples are not finite" in capsys.readouterr().err


@pytest.mark.usefixtures("toy")
def test_absurd_amplitudes_are_limited(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    samples = tones(44100, 0.2, 300, 400)
    samples[:, 4410:4420] = np.float32(1e29)
    soundfile.write(tmp_path / "song.wav", samples.T, 44100, subtype="FLOAT")
    assert separate(tmp_path / "song.wav", "-o", tmp_path, "--float32", "--clip-mode", "none") == 0
    check_stems(tmp_path / FILE_DEFAULT / "song", samples.clip(-64, 64), 44100, 1e-5)
    assert "10 samples are far over full scale" in capsys.readouterr().err


@pytest.mark.usefixtures("toy")
def test_a_name_that_is_no_text_is_a_name(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"so\xffng.wav")
    samples = song(tmp_path / "song.wav")
    (tmp_path / "song.wav").rename(path)
    assert separate(path, "-o", tmp_path) == 0
    check_stems(tmp_path / FILE_DEFAULT / path.stem, samples, 44100, 5e-4)


@pytest.mark.usefixtures("toy")
def test_a_second_run_replaces_the_first(tmp_path: Path) -> None:
    song(tmp_path / "song.wav")
    assert separate(tmp_path / "song.wav", "-o", tmp_path) == 0
    samples = song(tmp_path / "song.wav", seconds=0.3)
    assert separate(tmp_path / "song.wav", "-o", tmp_path) == 0
    check_stems(tmp_path / FILE_DEFAULT / "song", samples, 44100, 5e-4)
