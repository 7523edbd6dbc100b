"""Recordings: aligned to the sample, begun where they are told, equally long, and refused where they cannot be."""

from __future__ import annotations

import itertools
import os
import shutil
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from streamsep.engine import recorder as recorder_module
from streamsep.engine.recorder import Recorder
from streamsep.engine.tracks import open_track
from streamsep.errors import StreamsepError
from streamsep.files import Codec
from tests.recorder_band import (
    FLAC,
    FLOAT,
    LATENCY,
    NAMES,
    RATE,
    Band,
    play_all,
    quick_fixture,  # noqa: F401  (a fixture)
    read,
    until,
)


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
