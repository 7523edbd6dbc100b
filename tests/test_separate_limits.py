"""Files that soundfile cannot read by itself, disks that fill up, and names and models that lead nowhere."""

from __future__ import annotations

import errno
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from streamsep.cli import main
from streamsep.cli.songs import Output
from streamsep.errors import StreamsepError
from streamsep.evaluation.songs import read_pieces
from streamsep.files import Codec, Samples, read_audio, staged, write_audio
from streamsep.models.apply import apply_model
from streamsep.models.checkpoint import save_checkpoint
from streamsep.models.htdemucs import HTDemucs
from streamsep.models.registry import build_preset
from streamsep.training.clips import read_recording

needs_ffmpeg = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="needs ffmpeg")


def noise(channels: int = 2) -> Any:
    return np.random.default_rng(0).normal(0, 0.1, (44100, channels))


@needs_ffmpeg
def test_what_soundfile_cannot_seek_in_is_read_all_the_same(tmp_path: Path) -> None:
    """GSM in a wav, of which soundfile asks how many frames it is to read."""
    path = tmp_path / "a.wav"
    soundfile.write(path, noise(1), 44100, subtype="GSM610")
    assert read_audio(path)[0].shape[1] == pytest.approx(44100, abs=320)
    assert sum(map(len, read_pieces(path, 44100))) == read_recording(path)[0].shape[0] == read_audio(path)[0].shape[1]


@pytest.mark.parametrize("name", ["a.raw", "a.RAW", "a.vox"])
def test_names_of_files_without_a_header_are_one_sentence(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(bytes(100))
    for read in (read_audio, lambda path: list(read_pieces(path, 44100))):
        with pytest.raises(StreamsepError, match=r"is not a sound file|install ffmpeg|no sound"):
            read(tmp_path / name)


@pytest.mark.parametrize("codec", [Codec("flac"), Codec("mp3")])
def test_a_disk_that_fills_up_as_a_file_is_closed_is_told(tmp_path: Path, codec: Codec) -> None:
    """libsndfile says nothing of what it cannot write at the end; the limit of a file's size stands for the disk."""
    resource = pytest.importorskip("resource")
    sound: Samples = noise().T.astype(np.float32)
    write_audio(tmp_path / "whole", sound, 44100, codec)
    size = (tmp_path / "whole").stat().st_size
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    for short in (1, 50, 400, 4000):
        resource.setrlimit(resource.RLIMIT_FSIZE, (size - short, before[1]))
        try:
            with pytest.raises(StreamsepError, match="cannot write into"):
                write_audio(tmp_path / "x", sound, 44100, codec)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert [path.name for path in tmp_path.iterdir()] == ["whole"]


def test_who_reads_our_output_and_goes_is_not_the_disk(tmp_path: Path) -> None:
    with pytest.raises(BrokenPipeError), staged([tmp_path / "a"]):
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")
    assert not list(tmp_path.iterdir())


def small_config(**changes: Any) -> Any:
    config: Any = build_preset("offline-small").config
    return replace(config, **changes)


def test_a_segment_of_no_sample_is_refused() -> None:
    with pytest.raises(StreamsepError, match="less than one sample"):
        apply_model(HTDemucs(small_config()), torch.zeros(1, 2, 4410), segment=1e-6)


@pytest.mark.parametrize("command", [["separate", "song.wav"], ["tune", "--seconds", "0.01", "--trial", "0.01"]])
def test_a_model_that_is_not_for_stereo_is_refused(
    tmp_path: Path, command: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    save_checkpoint(HTDemucs(small_config(audio_channels=1)), "mono.safetensors", {})
    soundfile.write("song.wav", noise(1), 44100)
    assert main([*command, "-n", "mono.safetensors"]) == 1
    assert "mono.safetensors is not for stereo" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["...wav", "..wav"])
def test_stems_stay_in_their_folder_whatever_the_song_is_called(tmp_path: Path, name: str) -> None:
    assert Output(tmp_path).path(Path(name), "bass") == tmp_path / name / "bass.wav"
