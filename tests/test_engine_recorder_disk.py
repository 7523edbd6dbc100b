"""Recordings at their limits: a full or silent disk, four gigabytes, a killed process; what was written is readable."""

from __future__ import annotations

import errno
import io
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from streamsep.engine import recorder as recorder_module
from streamsep.engine.pcm import Pcm, wav_header
from streamsep.engine.recorder import Recorder
from streamsep.engine.tracks import Track
from streamsep.files import Codec
from tests.recorder_band import (
    FLAC,
    FLOAT,
    LATENCY,
    NAMES,
    RATE,
    Band,
    check_cut_short,
    overfill,
    play_all,
    quick_fixture,  # noqa: F401  (a fixture)
    read,
    until,
)


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """A file system of one megabyte; not in pytest's own folders, which it could not remove if ours stayed mounted."""
    place = Path(tempfile.mkdtemp(prefix="streamsep-small-disk-"))
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)]
    mounted = (
        shutil.which("mount") is not None and not subprocess.run(command, capture_output=True, check=False).returncode
    )
    try:
        if not mounted:
            pytest.skip("a file system of one's own needs root")
        yield place
    finally:
        if mounted:
            subprocess.run(["umount", "-l", str(place)], check=True)  # at once, even if a file is still open
        place.rmdir()


@pytest.mark.parametrize("codec", [FLOAT, Codec("wav", 16), FLAC, Codec("flac", 16)])
def test_a_full_disk_ends_the_recording_readably(small_disk: Path, codec: Codec) -> None:
    band = Band(120_000)
    if codec.bits == 16:  # on the grid, so that they come back as they went
        for sound in (band.mix, band.late, band.stems):
            sound[:] = np.round(sound * 2**15) / 2**15
    recorder = band.recorder(small_disk, codec)
    overfill(band, recorder)
    check_cut_short(band, recorder, 12_000, "No space left on device")
    assert shutil.disk_usage(small_disk).free < 200_000


@pytest.mark.parametrize("codec", [FLOAT, FLAC])
def test_a_recording_ends_before_the_disk_is_full(small_disk: Path, codec: Codec) -> None:
    band = Band(120_000)
    recorder = band.recorder(small_disk, codec, reserve=300_000)
    overfill(band, recorder)
    check_cut_short(band, recorder, 8000, "MB are kept")
    assert 200_000 < shutil.disk_usage(small_disk).free < 400_000


def flac_blocks(path: Path) -> int:
    """Whole blocks in a file, whatever its header says: some readers go on to the end of the file."""
    return path.read_bytes().count(b"\xff\xf8\xc4")


@pytest.mark.parametrize("pages", range(8))
def test_a_disk_that_fills_in_the_last_moment(small_disk: Path, pages: int) -> None:
    """The encoder holds some frames back until it is closed: they may be what the disk no longer takes."""
    band = Band(8800 + LATENCY)
    recorder = band.recorder(small_disk, FLAC)
    recorder.start()
    play_all(band, recorder, 500, 8800 + LATENCY)
    until(lambda: recorder.seconds == 1.1)
    with (small_disk / "other").open("wb", buffering=0) as other:
        while shutil.disk_usage(small_disk).free > 4096 * pages:
            other.write(bytes(4096))
    paths = recorder.stop(10)
    files = read(paths)
    length = round(recorder.seconds * RATE)
    assert {sound.shape for sound in files.values()} == {(2, length)}
    assert {flac_blocks(path) for path in paths} == {2}
    assert length == (8800 if recorder.error is None else 8192)
    if recorder.error is not None:  # no checksum of a sound that is not there
        assert {path.read_bytes()[26:42] for path in paths} == {bytes(16)}
    assert pages > 0 or recorder.error is not None
    np.testing.assert_allclose(files["mix"], band.mix[:, :length], atol=2.0**-24)
    np.testing.assert_allclose(files["vocals"], band.stems[6:, :length], atol=2.0**-24)


class Narrow:
    """A raw file for which the disk has room for so many bytes."""

    def __init__(self, raw: io.FileIO, room: int) -> None:
        self._raw, self._room = raw, room

    def __getattr__(self, name: str) -> Any:
        return getattr(self._raw, name)

    def write(self, data: memoryview) -> int:
        left = self._room - self._raw.tell()
        if left <= 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return self._raw.write(data[:left])


@pytest.mark.parametrize("codec", [FLOAT, FLAC])
@pytest.mark.parametrize("broken", ["mix", "bass", "vocals"])
def test_an_error_in_any_file_cuts_all_to_one_length(
    tmp_path: Path, codec: Codec, broken: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same without a file system of one's own: a file that takes only so much."""
    opened = recorder_module.open_track

    def limited(path: Path, rate: int, codec: Codec) -> Track:
        track = opened(path, rate, codec)
        if path.stem == broken:
            track.file._raw = Narrow(track.file._raw, 123_456)  # type: ignore[assignment]
        return track

    monkeypatch.setattr(recorder_module, "open_track", limited)
    band = Band(60_000)
    recorder = band.recorder(tmp_path, codec)
    overfill(band, recorder)
    check_cut_short(band, recorder, 8000, "No space left on device")
    frames = round(recorder.seconds * RATE)
    if codec is FLAC:
        assert {flac_blocks(path) for path in recorder.stop()} == {frames / 4096}
    else:
        assert {path.stat().st_size for path in recorder.stop()} == {len(wav_header(Pcm(), 0)) + frames * 8}


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX limits")
@pytest.mark.parametrize("kind", ["wav", "flac"])
def test_a_limit_of_the_system_is_told_as_a_full_disk(tmp_path: Path, kind: str) -> None:
    code = (
        "import resource, sys\n"
        "from pathlib import Path\n"
        "from streamsep.engine import recorder\n"
        "from streamsep.files import Codec\n"
        "from tests.recorder_band import Band, overfill, check_cut_short\n"
        "recorder._PAUSE = 0.002\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (200000, 200000))\n"
        "band = Band(60000)\n"
        "made = band.recorder(Path(sys.argv[1]), Codec(sys.argv[2], 24))\n"
        "overfill(band, made)\n"
        "check_cut_short(band, made, 20000, 'File too large')\n"
    )
    run = subprocess.run([sys.executable, "-c", code, str(tmp_path), kind], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
@pytest.mark.parametrize("kind", ["wav", "flac"])
def test_a_killed_process_leaves_readable_files(tmp_path: Path, kind: str) -> None:
    code = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from streamsep.engine import recorder\n"
        "from streamsep.files import Codec\n"
        "from tests.recorder_band import Band, play_all\n"
        "band = Band(200000)\n"
        "made = band.recorder(Path(sys.argv[1]), Codec(sys.argv[2], 24))\n"
        "made.start()\n"
        "play_all(band, made, 100, 40000)\n"
        "while made.seconds < 4.9: time.sleep(0.01)\n"
        "print(made.seconds, flush=True)\n"
        "time.sleep(60)\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path), kind]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        seconds = float(process.stdout.readline())
        process.send_signal(signal.SIGKILL)
    files = read(sorted(tmp_path.glob("*/*")))
    assert set(files) == {"mix", *NAMES}
    band = Band(200000)
    assert len({sound.shape for sound in files.values()}) == 1
    length = files["mix"].shape[1]
    assert 0 <= seconds - length / RATE < 1
    np.testing.assert_allclose(files["mix"], band.mix[:, :length], atol=2.0**-24)
    np.testing.assert_allclose(files["bass"], band.stems[2:4, :length], atol=2.0**-24)


def test_beyond_four_gigabytes_the_wav_becomes_an_rf64(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamsep.engine.pcm.RIFF_LIMIT", 20_000)
    band = Band(20_000)
    recorder = band.recorder(tmp_path, Codec("wav", 24))
    recorder.start()
    play_all(band, recorder, 500, 3000)
    until(lambda: recorder.seconds >= 0.3)
    folder = next(tmp_path.iterdir())
    assert (folder / "mix.wav").read_bytes()[:4] == b"RIFF"
    assert soundfile.info(folder / "mix.wav").format == "WAV"
    play_all(band, recorder, 500, 20_000)
    paths = recorder.stop(10)
    assert paths[0].read_bytes()[:4] == b"RF64"
    assert soundfile.info(paths[0]).format == "RF64"
    files = read(paths)
    np.testing.assert_allclose(files["mix"], band.mix[:, : 20_000 - LATENCY], atol=2.0**-24)


def test_a_disk_that_does_not_answer_does_not_hold_up_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    band, answer, stuck = Band(5000), threading.Event(), threading.Event()
    recorder = band.recorder(tmp_path)
    write = Recorder._write

    def slow(self: Recorder, frames: int) -> None:
        write(self, frames)
        stuck.set()
        answer.wait()

    monkeypatch.setattr(Recorder, "_write", slow)
    recorder.start()
    band.play(5000)
    stuck.wait()
    paths = recorder.stop(0.05)
    assert recorder.error is not None
    assert "does not keep up" in recorder.error
    assert {sound.shape for sound in read(paths).values()} == {(2, 800)}
    answer.set()
    recorder.stop(10)
    assert {sound.shape for sound in read(paths).values()} == {(2, 5000 - LATENCY)}


def test_an_error_of_our_own_ends_the_recording_readably(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    band = Band(5000)
    recorder = band.recorder(tmp_path)
    write, numbers = Recorder._write, iter(range(9))

    def broken(self: Recorder, frames: int) -> None:
        write(self, frames)
        if next(numbers) == 2:
            raise RuntimeError("boom")

    monkeypatch.setattr(Recorder, "_write", broken)
    recorder.start()
    band.play(5000)
    until(lambda: recorder.error is not None)
    assert recorder.error == "the recording ended (RuntimeError: boom) and is readable; start another"
    assert {sound.shape for sound in read(recorder.stop(10)).values()} == {(2, 2400)}
