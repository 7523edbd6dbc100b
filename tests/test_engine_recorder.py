"""Recordings: aligned, equally long, and readable whatever happens to the disk or the process."""

from __future__ import annotations

import errno
import io
import itertools
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from streamsep.engine import recorder as recorder_module
from streamsep.engine.pcm import Pcm, wav_header
from streamsep.engine.recorder import Recorder
from streamsep.engine.ring import Audio, Ring
from streamsep.engine.tracks import Track, open_track
from streamsep.errors import StreamsepError
from streamsep.files import Codec

NAMES = ("drums", "bass", "other", "vocals")
RATE, LATENCY = 8000, 300  # a chunk is 800 frames
FLOAT, FLAC = Codec("wav", 32), Codec("flac", 24)


class Band:
    """Both producers: a mix and its stems, `LATENCY` later, by absolute index, never waiting for the reader."""

    def __init__(
        self, frames: int, mix_room: int = 8000, stems_room: int = 8000, names: tuple[str, ...] = NAMES
    ) -> None:
        generator = np.random.default_rng(1)
        self.stems: Audio = generator.uniform(-0.2, 0.2, (8, frames)).astype(np.float32)
        self.mix: Audio = self.stems.reshape(4, 2, frames).sum(axis=0)
        self.late = np.pad(self.stems, ((0, 0), (LATENCY, 0)))
        self.rings = Ring(2, mix_room), Ring(8, stems_room)
        self.names: tuple[str, ...] = NAMES

    def recorder(self, folder: Path, codec: Codec = FLOAT, reserve: int = 0) -> Recorder:
        mix, stems = self.rings
        return Recorder(
            mix,
            stems,
            sources=self.names,
            sample_rate=RATE,
            latency=LATENCY,
            folder=folder,
            codec=codec,
            reserve=reserve,
        )

    def play(self, until: int) -> None:
        """Write everything up to frame `until` of the input, as far as there is room."""
        for ring, sound in zip(self.rings, (self.mix, self.late), strict=True):
            ring.write(sound[:, ring.written : until])


def until(condition: Callable[[], bool], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.002)


def play_all(band: Band, recorder: Recorder, blocks: int | Iterator[int], frames: int) -> None:
    """Write block after block, and let the recorder come after before a ring is full."""
    position, sizes = 0, itertools.repeat(blocks) if isinstance(blocks, int) else blocks
    while position < frames:
        position = min(frames, position + next(sizes))
        until(lambda: min(ring.capacity - ring.readable for ring in band.rings) > 2000 or recorder.error is not None)
        band.play(position)


def read(paths: list[Path]) -> dict[str, Audio]:
    return {path.stem: soundfile.read(path, dtype="float32")[0].T for path in paths}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder_module, "_PAUSE", 0.002)


@pytest.mark.parametrize(
    ("codec", "error"),
    [
        (Codec("wav", 16), 2.0**-16),
        (Codec("wav", 24), 2.0**-24),
        (FLOAT, 0),
        (Codec("flac", 16), 2.0**-16),
        (FLAC, 2.0**-24),
    ],
)
def test_all_files_are_aligned_to_the_sample(tmp_path: Path, codec: Codec, error: float) -> None:
    band = Band(5000)
    recorder = band.recorder(tmp_path, codec)
    recorder.start()
    band.play(5000)
    paths = recorder.stop(10)
    assert [path.name for path in paths] == [f"{name}.{codec.format}" for name in ("mix", *NAMES)]
    assert {path.parent.parent for path in paths} == {tmp_path}
    files = read(paths)
    length = 5000 - LATENCY  # no stem is there yet for the last of the mix
    assert recorder.seconds == length / RATE
    assert recorder.error is None
    assert files["mix"].shape == (2, length)
    np.testing.assert_allclose(files["mix"], band.mix[:, :length], atol=error)
    for number, name in enumerate(NAMES):
        np.testing.assert_allclose(files[name], band.stems[2 * number : 2 * number + 2, :length], atol=error)
    information = soundfile.info(paths[0])
    assert (information.samplerate, information.channels) == (RATE, 2)
    assert information.subtype == ("FLOAT" if codec.bits == 32 else f"PCM_{codec.bits}")


def test_what_is_too_loud_for_integers_is_clipped(tmp_path: Path) -> None:
    band = Band(2000)
    band.mix[:] = np.linspace(-2, 2, 2000, dtype=np.float32)
    band.mix[0, 100] = np.nan
    recorder = band.recorder(tmp_path, Codec("wav", 16))
    recorder.start()
    band.play(2000)
    mix = read(recorder.stop(10))["mix"]
    expected = np.nan_to_num(band.mix[:, : 2000 - LATENCY]).clip(-1, 1 - 2.0**-15)
    np.testing.assert_allclose(mix, expected, atol=2.0**-16)


@pytest.mark.parametrize(
    ("mix", "stems", "first"), [(1000, 1000, 1000), (700, 700, 700), (0, 0, 500), (2500, 2500, 2500)]
)
def test_a_recording_begins_where_it_is_told(tmp_path: Path, mix: int, stems: int, first: int) -> None:
    """Frames that have gone already, and frames that are still to come."""
    band = Band(6000)
    band.play(2000)
    band.rings[0].skip(500)
    band.rings[1].skip(600)
    recorder = band.recorder(tmp_path)
    recorder.start(mix, stems)
    band.play(6000)
    files = read(recorder.stop(10))
    np.testing.assert_array_equal(files["mix"], band.mix[:, first : 6000 - LATENCY])
    np.testing.assert_array_equal(files["bass"], band.stems[2:4, first : 6000 - LATENCY])


def test_rings_with_counts_of_their_own(tmp_path: Path) -> None:
    band = Band(3000)
    band.late = np.pad(band.late, ((0, 0), (777, 0)))
    recorder = band.recorder(tmp_path)
    recorder.start(0, 777)
    band.play(3000)
    files = read(recorder.stop(10))
    np.testing.assert_array_equal(files["mix"], band.mix[:, : 3000 - LATENCY - 777])
    np.testing.assert_array_equal(files["vocals"], band.stems[6:, : 3000 - LATENCY - 777])


@pytest.mark.parametrize("codec", [FLOAT, FLAC])
def test_many_wraps_with_blocks_of_any_size(tmp_path: Path, codec: Codec, rng: np.random.Generator) -> None:
    frames = 200_000
    band = Band(frames, 4801, 5003)
    recorder = band.recorder(tmp_path, codec)
    recorder.start()
    play_all(band, recorder, (int(rng.integers(1, 1500)) for _ in itertools.count()), frames)
    files = read(recorder.stop(10))
    assert files["mix"].shape[1] == frames - LATENCY
    np.testing.assert_allclose(files["mix"], band.mix[:, : frames - LATENCY], atol=2.0**-24)
    np.testing.assert_allclose(files["other"], band.stems[4:6, : frames - LATENCY], atol=2.0**-24)


def test_a_producer_that_found_no_room_keeps_every_position(tmp_path: Path) -> None:
    """As the callback does: what was dropped becomes silence later."""
    band = Band(9000, 4000, 9000)
    recorder = band.recorder(tmp_path)
    band.play(4000)
    band.rings[1].write(band.late[:, 4000:6000])
    recorder.start()
    until(lambda: band.rings[0].readable < 1000 + LATENCY)
    assert band.rings[0].write_silence(2000) == 2000
    until(lambda: band.rings[0].readable < 1000 + LATENCY)
    band.play(9000)
    files = read(recorder.stop(10))
    expected = band.mix[:, : 9000 - LATENCY].copy()
    expected[:, 4000:6000] = 0
    np.testing.assert_array_equal(files["mix"], expected)
    np.testing.assert_array_equal(files["drums"], band.stems[:2, : 9000 - LATENCY])


@pytest.mark.parametrize("codec", [FLOAT, FLAC])
def test_stop_while_the_producers_go_on(tmp_path: Path, codec: Codec, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk is slower than they are: there is always more to write."""
    band, playing = Band(400_000), threading.Event()
    playing.set()
    write = Recorder._write

    def slow(self: Recorder, frames: int) -> None:
        time.sleep(0.01)
        write(self, frames)

    monkeypatch.setattr(Recorder, "_write", slow)

    def produce() -> None:
        while playing.is_set():
            band.play(band.rings[0].written + 64)

    producer = threading.Thread(target=produce)
    recorder = band.recorder(tmp_path, codec)
    recorder.start()
    producer.start()
    until(lambda: recorder.seconds > 0.5)
    paths = recorder.stop(10)
    assert recorder.error is None
    assert producer.is_alive()
    playing.clear()
    producer.join()
    files = read(paths)
    length = round(recorder.seconds * RATE)
    assert {sound.shape for sound in files.values()} == {(2, length)}
    assert paths == recorder.stop()


def test_the_thread_sleeps_and_takes_whole_chunks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    write = Recorder._write

    def noting(self: Recorder, frames: int) -> None:
        sizes.append(frames)
        write(self, frames)

    monkeypatch.setattr(Recorder, "_write", noting)
    monkeypatch.setattr(recorder_module, "_PAUSE", 0.05)
    band = Band(6000)
    recorder = band.recorder(tmp_path)
    recorder.start()
    band.play(2000)
    until(lambda: recorder.seconds >= 0.2)
    began = time.process_time()
    time.sleep(0.3)
    assert time.process_time() - began < 0.1, "a busy loop"
    recorder.stop(10)
    assert sizes == [800, 800, 100]


@pytest.mark.parametrize("codec", [FLOAT, FLAC])
def test_two_recordings_in_one_second_get_folders_of_their_own(
    tmp_path: Path, codec: Codec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "strftime", lambda form: "2026-01-02_03-04-05")
    folders = []
    for _ in range(3):
        band = Band(1500)
        recorder = band.recorder(tmp_path / "new", codec)
        recorder.start()
        band.play(1500)
        folders.append(recorder.stop(10)[0].parent.name)
    assert folders == ["2026-01-02_03-04-05", "2026-01-02_03-04-05_2", "2026-01-02_03-04-05_3"]


@pytest.mark.parametrize("codec", [FLOAT, FLAC])
def test_nothing_played_leaves_nothing(tmp_path: Path, codec: Codec) -> None:
    recorder = Band(100).recorder(tmp_path / "in" / "it", codec)
    assert recorder.stop() == []
    recorder.start()
    assert recorder.stop(10) == []
    assert (recorder.error, recorder.seconds) == (None, 0)
    assert list((tmp_path / "in" / "it").iterdir()) == []


def test_a_folder_that_cannot_be_written_is_told_before(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(
        StreamsepError, match=r"cannot record into .*file.* \(.+\); free some space or record into anoth"
    ):
        Band(100).recorder(tmp_path / "file" / "below").start()
    with pytest.raises(StreamsepError, match="cannot record into"):
        Band(100).recorder(tmp_path / "file").start()


def test_a_nearly_full_disk_is_told_before(tmp_path: Path) -> None:
    free = shutil.disk_usage(tmp_path).free
    with pytest.raises(StreamsepError, match=r"\(\d+ MB are free and \d+ MB are kept\); free some space"):
        Band(100).recorder(tmp_path, reserve=2 * free).start()
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StreamsepError, match="wav or flac"):
        Band(100).recorder(tmp_path, Codec("mp3"))
    with pytest.raises(ValueError, match="two chunks of 800 frames"):
        Band(100, mix_room=1600 + LATENCY - 1).recorder(tmp_path)
    with pytest.raises(ValueError, match="two chunks"):
        Band(100, stems_room=1599).recorder(tmp_path)
    Band(100, mix_room=1600 + LATENCY, stems_room=1600).recorder(tmp_path)
    band = Band(100)
    band.names = NAMES[:2]
    with pytest.raises(ValueError, match="2 and 4 channels"):
        band.recorder(tmp_path)


def check_cut_short(band: Band, recorder: Recorder, blocks: int, reason: str) -> None:
    """The recording has ended by itself: told, readable, equally long, and the producers never noticed."""
    assert recorder.error is not None
    folder = recorder.stop(10)[0].parent
    assert recorder.error.startswith(f"cannot record into {folder} any longer (")
    assert reason in recorder.error
    assert recorder.error.endswith("can be read; free some space or record into another folder")
    files = read(recorder.stop())
    length = round(recorder.seconds * RATE)
    assert {sound.shape for sound in files.values()} == {(2, length)}
    assert length > blocks
    np.testing.assert_allclose(files["mix"], band.mix[:, :length], atol=2.0**-24)
    np.testing.assert_allclose(files["vocals"], band.stems[6:, :length], atol=2.0**-24)
    assert band.rings[0].written + 1000 > recorder.seconds * RATE
    assert not [thread for thread in threading.enumerate() if thread.name == "streamsep-recorder"]


def overfill(band: Band, recorder: Recorder) -> None:
    recorder.start()
    play_all(band, recorder, 500, band.mix.shape[1])
    until(lambda: recorder.error is not None)


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
        "from tests.test_engine_recorder import Band, overfill, check_cut_short\n"
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
        "from tests.test_engine_recorder import Band, play_all\n"
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


@pytest.mark.parametrize("codec", [FLOAT, FLAC])
def test_two_hundred_recordings_leave_no_thread_and_no_open_file(tmp_path: Path, codec: Codec) -> None:
    if not Path("/proc/self/fd").exists():
        pytest.skip("needs /proc")

    def one() -> None:
        band = Band(2000)
        recorder = band.recorder(tmp_path, codec)
        recorder.start()
        band.play(2000)
        assert len(recorder.stop(10)) == 5
        shutil.rmtree(next(tmp_path.iterdir()))

    one()
    threads, handles = threading.active_count(), len(os.listdir("/proc/self/fd"))
    for _ in range(200):
        one()
    assert threading.active_count() == threads
    assert len(os.listdir("/proc/self/fd")) == handles


def test_a_track_overwrites_nothing(tmp_path: Path) -> None:
    (tmp_path / "mix.wav").write_bytes(b"precious")
    with pytest.raises(FileExistsError):
        open_track(tmp_path / "mix.wav", RATE, FLOAT)
    assert (tmp_path / "mix.wav").read_bytes() == b"precious"
