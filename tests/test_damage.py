"""Files that are not whole, or do not know how long they are."""

from __future__ import annotations

import logging
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile

from streamsep.evaluation.songs import read_pieces
from streamsep.files import read_audio
from streamsep.training.clips import read_recording

FRAMES = 3 * 44100
SNDFILE = [("a.wav", "PCM_16"), ("a.wav", "FLOAT"), ("a.aiff", "PCM_16"), ("a.flac", "PCM_16"), ("a.ogg", "VORBIS")]
SNDFILE += [("a.ogg", "OPUS"), ("a.mp3", "MPEG_LAYER_III"), ("a.au", "PCM_16"), ("a.w64", "PCM_16")]
CODED: list[tuple[str, list[str]]] = [("a.m4a", ["-movflags", "faststart"]), ("a.mka", ["-c:a", "ac3"]), ("a.mp3", [])]
CODED += [("a.ogg", []), ("a.flac", []), ("a.wma", []), ("a.aac", []), ("a.opus", ["-ar", "48000"])]
PIPED = ["wav", "flac", "ogg", "mp3", "adts", "au", "caf", "w64"]
needs_ffmpeg = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="needs ffmpeg")


def noise(path: Path, subtype: str | None = None) -> Path:
    """A song of three seconds that no coder makes small."""
    rate = 48000 if subtype == "OPUS" else 44100
    soundfile.write(path, np.random.default_rng(0).normal(0, 0.1, (FRAMES, 2)), rate, subtype=subtype)
    return path


def ffmpeg(source: Path, target: str, *options: str) -> bytes:
    """Code `source` anew; what comes on stdout."""
    command = ["ffmpeg", "-v", "error", "-nostdin", "-i", str(source), *options, target]
    return subprocess.run(command, check=True, capture_output=True).stdout


def cut(path: Path) -> Path:
    """The file as a download that stopped halfway leaves it."""
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 3 // 5])
    return path


def warnings_of(path: Path, caplog: pytest.LogCaptureFixture) -> list[str]:
    """What reading the file warns of."""
    caplog.clear()
    with caplog.at_level(logging.WARNING, "streamsep"):
        assert read_audio(path)[0].size
    return caplog.messages


@pytest.mark.parametrize(("name", "subtype"), SNDFILE)
def test_a_file_is_told_of_only_when_cut(
    tmp_path: Path, name: str, subtype: str, caplog: pytest.LogCaptureFixture
) -> None:
    if name.endswith(".flac") and shutil.which("ffmpeg") is None:
        pytest.skip("ffmpeg reads what libsndfile gives up")
    path = noise(tmp_path / name, subtype)
    assert warnings_of(path, caplog) == []
    if name.endswith(".w64"):
        return  # libsndfile does not tell what its header claims
    (told,) = warnings_of(cut(path), caplog)
    assert told.startswith(f"{path} is damaged or cut short") and told.endswith("fetch it anew")


@needs_ffmpeg
@pytest.mark.parametrize(("name", "options"), CODED)
def test_what_ffmpeg_coded_is_told_of_only_when_cut(
    tmp_path: Path, name: str, options: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    ffmpeg(noise(tmp_path / "source.wav"), str(tmp_path / name), *options)
    assert warnings_of(tmp_path / name, caplog) == []
    assert len(warnings_of(cut(tmp_path / name), caplog)) == 1


@needs_ffmpeg
@pytest.mark.parametrize("form", PIPED)
def test_a_file_written_to_a_pipe_is_whole(tmp_path: Path, form: str, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / f"piped.{form}"
    path.write_bytes(ffmpeg(noise(tmp_path / "source.wav"), "pipe:1", "-f", form))
    assert warnings_of(path, caplog) == []
    assert read_audio(path)[0].shape[1] >= FRAMES


@needs_ffmpeg
def test_a_flac_of_unknown_length_is_read_wherever_songs_are(tmp_path: Path) -> None:
    path = tmp_path / "piped.flac"
    path.write_bytes(ffmpeg(noise(tmp_path / "source.wav"), "pipe:1", "-f", "flac"))
    whole, _ = soundfile.read(tmp_path / "source.wav", dtype="float32")
    assert np.array_equal(read_audio(path)[0], whole.T)
    assert np.array_equal(np.concatenate(list(read_pieces(path, 44100))), whole)
    assert np.array_equal(read_recording(path)[0], whole)


@needs_ffmpeg
def test_a_flac_that_claims_more_than_memory_holds_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    path = tmp_path / "damaged.flac"
    samples = np.random.default_rng(0).integers(-3000, 3000, (44100, 2)).astype(np.int16)
    soundfile.write(path, samples, 44100)
    data = bytearray(path.read_bytes())
    sizes = int.from_bytes(data[18:26], "big")  # of a STREAMINFO block: the lower 36 bits are the frames
    data[18:26] = (sizes >> 36 << 36 | 1 << 35).to_bytes(8, "big")
    path.write_bytes(data)
    assert np.array_equal(read_audio(path)[0], samples.T / np.float32(32768))


@needs_ffmpeg
def test_an_mp3_that_does_not_tell_its_length_is_read_to_its_end(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.mp3"
    ffmpeg(noise(tmp_path / "source.wav"), str(path), "-q:a", "4", "-write_xing", "0")
    path.write_bytes(path.read_bytes() + b"LYRICSBEGIN" + 700 * b"a" + b"000711LYRICS200")
    assert soundfile.info(path).frames < FRAMES / 2
    assert warnings_of(path, caplog) == []
    assert read_audio(path)[0].shape[1] >= FRAMES
    assert sum(map(len, read_pieces(path, 44100))) >= FRAMES
    monkeypatch.setenv("PATH", str(tmp_path))
    assert 0 < read_audio(path)[0].shape[1] < FRAMES


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
def test_an_ogg_with_a_hole_is_told(tmp_path: Path, subtype: str, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "a.ogg"
    noise(path, subtype)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2] + bytes(3000) + data[len(data) // 2 + 3000 :])
    with caplog.at_level(logging.WARNING, "streamsep"):
        assert read_audio(path)[0].shape[1] < FRAMES
    assert len(caplog.messages) == 1


@needs_ffmpeg
def test_ogg_files_one_behind_the_other_are_read_to_the_end(tmp_path: Path) -> None:
    """As a radio's stream has them; libsndfile reads the first."""
    parts = []
    for serial in (b"\1\0\0\0", b"\2\0\0\0"):
        parts.append(with_serial(noise(tmp_path / "a.ogg").read_bytes(), serial))
    (tmp_path / "a.ogg").write_bytes(b"".join(parts))
    assert read_audio(tmp_path / "a.ogg")[0].shape[1] == pytest.approx(2 * FRAMES, abs=2048)


def with_serial(data: bytes, serial: bytes) -> bytes:
    """The Ogg file with another number of its stream, and the checksums that fit."""
    pages = [bytearray(b"OggS" + page) for page in data.split(b"OggS")[1:]]
    for page in pages:
        page[14:18], page[22:26] = serial, bytes(4)
        page[22:26] = ogg_checksum(bytes(page)).to_bytes(4, "little")
    return b"".join(pages)


def ogg_checksum(data: bytes) -> int:
    """RFC 3533, section 6."""
    value = 0
    for byte in data:
        value ^= byte << 24
        for _ in range(8):
            value = (value << 1) ^ (0x104C11DB7 if value & 0x80000000 else 0)
    return value
