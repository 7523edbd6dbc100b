"""Devices without hardware: blocks, pace, faults, files."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from streamsep.engine.backends.base import AudioBackend
from streamsep.engine.backends.clocked import ClockedDevice, Clocking, Faults
from streamsep.engine.backends.fake import ArraySink, ArraySource, FakeDevice
from streamsep.engine.backends.file import FileDevice
from streamsep.errors import StreamsepError
from tests.engine_toys import Audio, delayed, noise


class Echo:
    """A callback that plays its input on all pairs of outputs, `lag` frames late, and notes what it is told."""

    ended, compiled = False, None

    def capture(self, indata: Audio) -> None:
        """Never called: input and output are one device."""

    def __init__(self, lag: int = 0, channels: int = 2) -> None:
        self.sizes: list[int] = []
        self.flags: list[bool] = []
        self.pumped: list[int] = []
        self._past: Audio = np.zeros((channels, lag), np.float32)

    def __call__(self, indata: Audio, outdata: Audio, xrun: bool = False) -> None:
        self.sizes.append(indata.shape[1])
        self.flags.append(bool(xrun))
        pairs = outdata.shape[0] // 2
        joined = np.concatenate([self._past, np.tile(indata, (pairs, 1))], axis=1)
        outdata[:] = joined[:, : indata.shape[1]]
        self._past = joined[:, indata.shape[1] :]

    def pump(self) -> None:
        self.pumped.append(len(self.sizes))


def play(device: AudioBackend, echo: Echo, lag: int = 0) -> None:
    device.start(echo, echo.pump if device.lock_step else None, lag)
    while not device.wait(0.05):
        pass
    device.stop()


@pytest.mark.parametrize("lag", [0, 5, 100])
def test_everything_comes_back_with_the_lag_of_the_callback(lag: int) -> None:
    samples = noise(105)
    device = FakeDevice(samples, clocking=Clocking(16))
    play(device, Echo(lag), lag)
    assert device.played.shape[1] % 16 == 0
    assert device.played.shape[1] >= 105 + lag
    np.testing.assert_array_equal(device.played, delayed(samples, lag, device.played.shape[1]))


def test_block_sizes_follow_the_pattern() -> None:
    device, echo = FakeDevice(noise(60), clocking=Clocking((7, 16, 1))), Echo()
    assert (device.block, device.max_block, device.latency) == (None, 16, 16)
    play(device, echo)
    assert echo.sizes == [7, 16, 1, 7, 16, 1, 7, 16]
    assert FakeDevice(noise(1), clocking=Clocking((8, 8))).block == 8


def test_the_worker_runs_after_every_block_but_the_stalled_ones() -> None:
    device, echo = FakeDevice(noise(80), clocking=Clocking(8), faults=Faults(stalled=frozenset({2, 3}))), Echo()
    play(device, echo)
    assert echo.pumped == [1, 2, 5, 6, 7, 8, 9, 10, 11]


def test_a_dropped_block_is_silent_and_flags_the_next() -> None:
    samples = noise(80)
    device, echo = FakeDevice(samples, clocking=Clocking(8), faults=Faults(dropped=frozenset({4}))), Echo()
    play(device, echo)
    assert echo.flags == [False] * 4 + [True] + [False] * 5
    expected = delayed(samples, 0, 88)
    expected[:, 32:40] = 0
    np.testing.assert_array_equal(device.played, expected)


def test_a_corrupted_block_is_not_a_number() -> None:
    device, echo = FakeDevice(noise(80), clocking=Clocking(8), faults=Faults(corrupted=frozenset({1}))), Echo()
    play(device, echo)
    assert np.isnan(device.played[:, 8:16]).all()
    assert np.isfinite(device.played[:, 16:]).all()


def test_stop_ends_a_long_stream_early_and_may_come_first() -> None:
    device = FakeDevice(noise(44100), clocking=Clocking(64, realtime=True))
    device.stop()
    device.start(Echo(), None, 0)
    device.stop()
    assert device.wait(0.0)
    assert device.played.shape[1] < 44100


def test_an_error_in_the_callback_reaches_who_waits() -> None:
    class Fails(Echo):
        def __call__(self, indata: Audio, outdata: Audio, xrun: bool = False) -> None:
            raise RuntimeError("boom")

    device = FakeDevice(noise(64))
    device.start(Fails(), None, 0)
    with pytest.raises(RuntimeError, match="boom"):
        device.wait(10.0)
    device.stop()


def test_a_clocked_device_is_never_early() -> None:
    device, echo = FakeDevice(noise(4410), clocking=Clocking(441, realtime=True)), Echo()
    assert not device.lock_step
    began = time.monotonic()
    play(device, echo)
    assert time.monotonic() - began >= 0.1
    np.testing.assert_array_equal(device.played[:, :4410], noise(4410))


def test_a_clock_that_overslept_moves_its_timeline_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    naps: list[float] = []

    def sleep(seconds: float) -> None:
        naps.append(seconds)
        now[0] += 0.5 if len(naps) == 3 else seconds

    monkeypatch.setattr("streamsep.engine.backends.clocked.time.sleep", sleep)
    monkeypatch.setattr("streamsep.engine.backends.clocked.time.monotonic", lambda: now[0])
    source, sink, echo = ArraySource(noise(70)), ArraySink(2, 100), Echo()
    device = ClockedDevice(source, sink, 2, sample_rate=100, clocking=Clocking(10, realtime=True))
    device._deliver(echo, None, 0)
    assert echo.flags == [False, False, True, False, False, False, False, False]
    assert device.stalls == 1
    np.testing.assert_allclose(naps, 0.1, atol=1e-9)
    np.testing.assert_array_equal(sink.samples[:, :70], noise(70))


def test_blocks_must_be_positive() -> None:
    with pytest.raises(ValueError, match="positive"):
        FakeDevice(noise(8), clocking=Clocking((4, 0)))


def test_sink_grows_beyond_its_reserve() -> None:
    sink, samples = ArraySink(2, 3), noise(100)
    for start in range(0, 100, 7):
        sink.write(samples[:, start : start + 7])
    np.testing.assert_array_equal(sink.samples, samples)


def test_what_comes_back_has_room_however_late_it_is() -> None:
    device = FakeDevice(noise(100), clocking=Clocking(64))
    play(device, Echo(9000), 9000)
    reserved = device._array._data.shape[1]
    assert device.played.shape[1] >= 9100 and reserved == 100 + 9000 + 64


@pytest.mark.parametrize(("channels", "rate"), [(1, 44100), (2, 44100), (2, 22050), (6, 44100)])
def test_a_file_comes_back_aligned_at_its_own_rate_and_length(tmp_path: Path, channels: int, rate: int) -> None:
    time_line = np.arange(3001) / rate
    song = np.stack([0.2 * np.sin(2 * np.pi * (300 + 50 * c) * time_line) for c in range(channels)])
    path = tmp_path / "song.wav"
    soundfile.write(path, song.T, rate, subtype="FLOAT")
    device = FileDevice(path, 8, clocking=Clocking(64))
    play(device, Echo(37, channels=8), 37)
    recording = device.recording()
    assert recording.shape == (8, 3001)
    assert (device.rate, device.song.shape) == (rate, (channels, 3001))
    inner = slice(200, -200)  # a resampler rings at the ends
    np.testing.assert_allclose(recording[2:4, inner], device.stereo[:, inner], atol=2e-3 if rate != 44100 else 0)


def test_a_part_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "song.wav"
    soundfile.write(path, noise(2000).T, 1000, subtype="FLOAT")
    device = FileDevice(path, 2, sample_rate=1000, seconds=0.5)
    assert device.frames == device.song.shape[1] == 500
    with pytest.raises(StreamsepError, match="longer part"):
        FileDevice(path, 2, sample_rate=1000, seconds=1e-9)


def test_what_is_not_finite_in_a_file_is_silence(tmp_path: Path) -> None:
    song = noise(500)
    song[0, 100] = np.nan
    path = tmp_path / "song.wav"
    soundfile.write(path, song.T, 22050, subtype="FLOAT")
    device = FileDevice(path, 2)
    play(device, Echo())
    assert np.isfinite(device.recording()).all()


def test_an_unreadable_file_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(StreamsepError):
        FileDevice(tmp_path / "missing.wav", 2)


def test_a_callback_that_has_enough_ends_the_device() -> None:
    class Enough(Echo):
        def __call__(self, indata: Audio, outdata: Audio, xrun: bool = False) -> None:
            super().__call__(indata, outdata, xrun)
            self.ended = len(self.sizes) == 3

    device = FakeDevice(noise(1000), clocking=Clocking(64))
    device.start(Enough(), lambda: None, 500)
    assert device.wait(10)
    assert device.played.shape[1] == 3 * 64
