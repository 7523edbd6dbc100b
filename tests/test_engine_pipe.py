"""Sound through real pipes: every form, however the bytes are cut, and whatever happens at either end."""

from __future__ import annotations

import contextlib
import io
import os
import select
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import soundfile

from streamsep.engine.backends.base import AudioBackend
from streamsep.engine.backends.descriptor import Descriptor, PolledDescriptor, ThreadedDescriptor
from streamsep.engine.backends.pipe import PipeDevice, PipeSource
from streamsep.engine.pcm import ENCODINGS, Encoding, Pcm, read_wav_header, wav_header
from streamsep.engine.ring import Audio
from streamsep.errors import StreamsepError

ffmpeg = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="needs ffmpeg")
polled = pytest.mark.skipif(not hasattr(select, "poll"), reason="pipes cannot be polled here")
KINDS = [pytest.param(PolledDescriptor, marks=polled), ThreadedDescriptor]
LAG = 37


class Echo:
    """A callback that plays its input on all pairs of outputs, `LAG` frames late."""

    ended, compiled = False, None

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.pumped = 0
        self._past: Audio = np.zeros((2, LAG), np.float32)

    def __call__(self, indata: Audio, outdata: Audio, xrun: bool = False) -> None:
        self.sizes.append(indata.shape[1])
        joined = np.concatenate([self._past, indata], axis=1)
        for first in range(0, outdata.shape[0], 2):
            outdata[first : first + 2] = joined[:, : indata.shape[1]]
        self._past = joined[:, indata.shape[1] :]

    def capture(self, indata: Audio) -> None:
        raise AssertionError("this device is one")

    def pump(self) -> None:
        self.pumped += 1


class Pipes:
    """A pipe in, a pipe out, and threads that feed the one and empty the other."""

    def __init__(self) -> None:
        (self.source, self.feed), (self.drain, self.sink) = os.pipe(), os.pipe()
        self.heard = bytearray()
        self._open = {self.source, self.feed, self.drain, self.sink}
        self._threads: list[threading.Thread] = []

    def send(self, data: bytes, cuts: Callable[[], int] = lambda: 65536) -> None:
        """Feed `data` in pieces of `cuts()` bytes, then end the stream."""

        def feed() -> None:
            position = 0
            while position < len(data):
                position += os.write(self.feed, data[position : position + cuts()])
            self.close(self.feed)

        self._go(feed)

    def listen(self) -> None:
        def hear() -> None:
            while piece := os.read(self.drain, 65536):
                self.heard.extend(piece)

        self._go(hear)

    def close(self, number: int) -> None:
        if number in self._open:
            self._open.remove(number)
            os.close(number)

    def end(self) -> bytes:
        """All that was heard, once the device is done."""
        self.close(self.sink)
        for thread in self._threads:
            thread.join(20)
            assert not thread.is_alive()
        return bytes(self.heard)

    def tidy(self) -> None:
        for number in list(self._open):
            self.close(number)

    def _go(self, function: Callable[[], None]) -> None:
        self._threads.append(threading.Thread(target=function))
        self._threads[-1].start()


@pytest.fixture
def pipes() -> Iterator[Pipes]:
    made = Pipes()
    yield made
    made.tidy()


def play(device: AudioBackend, echo: Echo | None = None) -> Echo:
    echo = echo or Echo()
    device.start(echo, echo.pump, LAG)
    try:
        while not device.wait(0.05):
            pass
    finally:
        device.stop()
    return echo


def noise(frames: int, channels: int = 2) -> Audio:
    return np.random.default_rng(0).uniform(-0.5, 0.5, (channels, frames)).astype(np.float32)


def echoed(samples: Audio, played: Audio) -> None:
    """`played` is `samples`, `LAG` later, with silence around it."""
    frames = samples.shape[1]
    assert played.shape[1] >= frames + LAG
    np.testing.assert_array_equal(played[:, LAG : LAG + frames], samples)
    assert not played[:, :LAG].any()
    assert not played[:, LAG + frames :].any()


@pytest.mark.parametrize("header", [True, False], ids=["wav", "raw"])
@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("kind", KINDS)
def test_every_form_however_it_is_cut(
    pipes: Pipes,
    header: bool,
    encoding: Encoding,
    channels: int,
    kind: type[Descriptor],
    rng: np.random.Generator,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("streamsep.engine.backends.pipe.open_descriptor", kind)
    pcm = Pcm(encoding, 48000, channels)
    data = pcm.encode(noise(3001, channels))
    pipes.send((wav_header(pcm, None) if header else b"") + data, lambda: int(2 ** rng.uniform(0, 12)))
    pipes.listen()
    device = PipeDevice(
        4, raw=None if header else pcm, encoding=encoding, header=header, block=64, source=pipes.source, sink=pipes.sink
    )
    assert (device.sample_rate, device.inputs, device.outputs) == (48000, 2, 4)
    assert (device.block, device.max_block, device.lock_step, device.form) == (64, 64, True, pcm)
    echo = play(device)
    heard = pipes.end()
    out = Pcm(encoding, 48000, 4)
    if header:
        start = len(wav_header(out, None))
        assert read_wav_header(io.BytesIO(heard).read) == (out, None)
        heard = heard[start:]
    assert echo.pumped == len(echo.sizes) == -(-(3001 + LAG) // 64)
    assert set(echo.sizes) == {64}
    played = out.decode(heard)
    assert played.shape[1] == 64 * len(echo.sizes)
    stereo = np.broadcast_to(pcm.decode(data), (2, 3001))
    echoed(stereo, played[:2])
    echoed(stereo, played[2:])


@pytest.mark.parametrize("extra", [1, 3, 5])
def test_an_end_in_the_middle_of_a_frame_is_an_end(pipes: Pipes, extra: int) -> None:
    pcm = Pcm("s24le")
    pipes.send(pcm.encode(noise(1000)) + bytes([255] * extra))
    pipes.listen()
    play(PipeDevice(raw=pcm, header=False, block=50, source=pipes.source, sink=pipes.sink))
    echoed(pcm.decode(pcm.encode(noise(1000))), Pcm().decode(pipes.end()))


def test_what_follows_the_sound_in_a_wav_is_not_played(pipes: Pipes) -> None:
    pcm = Pcm("s16le")
    data = pcm.encode(noise(1000))
    pipes.send(wav_header(pcm, 1000) + data + b"LIST\4\0\0\0INFO")
    pipes.listen()
    play(PipeDevice(header=False, block=8, source=pipes.source, sink=pipes.sink))
    echoed(pcm.decode(data), Pcm().decode(pipes.end()))


def test_an_empty_stream_is_a_short_silence(pipes: Pipes) -> None:
    pipes.send(wav_header(Pcm("s16le"), None))
    pipes.listen()
    play(PipeDevice(encoding="s16le", block=16, source=pipes.source, sink=pipes.sink))
    assert pipes.end() == wav_header(Pcm("s16le"), None) + bytes(4 * 48)


def test_files_in_place_of_pipes(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "in.wav", noise(5000).T, 22050, subtype="FLOAT")
    with (tmp_path / "in.wav").open("rb") as source, (tmp_path / "out.wav").open("wb") as sink:
        play(PipeDevice(8, source=source.fileno(), sink=sink.fileno()))
    played, rate = soundfile.read(tmp_path / "out.wav", dtype="float32")
    assert (rate, played.shape[1]) == (22050, 8)
    echoed(noise(5000), played.T[6:])


@contextlib.contextmanager
def open_zero() -> Iterator[int]:
    """Silence without end."""
    if not Path("/dev/zero").exists():
        pytest.skip("needs /dev/zero")
    number = os.open("/dev/zero", os.O_RDONLY)
    yield number
    os.close(number)


@polled
def test_after_the_end_nothing_is_read(pipes: Pipes) -> None:
    """A named pipe or a terminal has more to give after it has ended once."""

    class Terminal(PolledDescriptor):
        answers: ClassVar = [bytes(8 * 5), b"", bytes(8 * 100)]

        def _read_some(self, count: int) -> bytes:
            return self.answers.pop(0)

    source, block = PipeSource(Terminal(pipes.source, threading.Event()), Pcm()), np.zeros((2, 16), np.float32)
    assert [source.read(block) for _ in range(3)] == [5, 0, 0]


@pytest.mark.parametrize("kind", KINDS)
def test_stop_ends_a_wait_for_sound(pipes: Pipes, kind: type[Descriptor], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamsep.engine.backends.pipe.open_descriptor", kind)
    pipes.listen()
    os.write(pipes.feed, Pcm().encode(noise(100)))
    device = PipeDevice(raw=Pcm(), header=False, block=64, source=pipes.source, sink=pipes.sink)
    device.start(Echo(), lambda: None, LAG)
    assert not device.wait(0.1), "36 frames are no block"
    began = time.monotonic()
    device.stop()
    assert time.monotonic() - began < 5
    assert device.wait(0)
    pipes.close(pipes.feed)  # a thread that was left behind may go
    assert len(pipes.end()) == 64 * 8, "no lag is played out after a stop"


@pytest.mark.parametrize("kind", KINDS)
def test_stop_ends_a_wait_for_a_listener(pipes: Pipes, kind: type[Descriptor], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamsep.engine.backends.pipe.open_descriptor", kind)
    with open_zero() as zeros:
        device = PipeDevice(raw=Pcm(), header=False, block=3000, source=zeros, sink=pipes.sink)
        echo = Echo()
        device.start(echo, lambda: None, LAG)
        while len(echo.sizes) < 3:
            time.sleep(0.002)
        assert not device.wait(0.2), "nobody listens"
        assert sum(echo.sizes) * 8 < 2_000_000
        device.stop()
        assert device.wait(0)
        pipes.close(pipes.drain)


@pytest.mark.parametrize("kind", KINDS)
def test_a_listener_that_goes_is_a_broken_pipe(
    pipes: Pipes, kind: type[Descriptor], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streamsep.engine.backends.pipe.open_descriptor", kind)
    with open_zero() as zeros:
        device = PipeDevice(raw=Pcm(), source=zeros, sink=pipes.sink)
        pipes.close(pipes.drain)
        with pytest.raises(BrokenPipeError):
            play(device)
        device.stop()


def test_a_full_disk_behind_the_output_is_one_sentence() -> None:
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full")
    full = os.open("/dev/full", os.O_WRONLY)
    with (
        open_zero() as zeros,
        pytest.raises(StreamsepError, match=r"\(No space left on device\); choose another place"),
    ):
        play(PipeDevice(raw=Pcm(), source=zeros, sink=full))
    os.close(full)


def test_an_input_that_cannot_be_read_is_one_sentence(pipes: Pipes, tmp_path: Path) -> None:
    folder = os.open(tmp_path, os.O_RDONLY)
    with pytest.raises(StreamsepError, match=r"cannot read the input \(Is a directory\); pipe sound into it: ffmpeg"):
        PipeDevice(source=folder, sink=pipes.sink)
    os.close(folder)


def test_a_terminal_is_refused_at_either_end(pipes: Pipes) -> None:
    pty = pytest.importorskip("pty")
    leader, terminal = pty.openpty()
    with pytest.raises(StreamsepError, match="the input is a terminal, and sound is no text; pipe sound into it"):
        PipeDevice(source=terminal, sink=pipes.sink)
    with pytest.raises(StreamsepError, match="the output is a terminal, and sound is no text; pipe it on or write"):
        PipeDevice(raw=Pcm(), source=pipes.source, sink=terminal)
    os.close(leader)
    os.close(terminal)


def test_a_closed_end_is_refused(pipes: Pipes) -> None:
    pipes.close(pipes.source)
    with pytest.raises(StreamsepError, match="the input is closed; pipe sound into it"):
        PipeDevice(source=pipes.source, sink=pipes.sink)


@pytest.mark.parametrize("channels", [3, 6])
def test_more_than_two_channels_are_refused(pipes: Pipes, channels: int) -> None:
    pipes.send(wav_header(Pcm("s16le", 48000, channels), None) + bytes(600))
    with pytest.raises(StreamsepError, match=f"the input has {channels} channels, and one or two are read; mix"):
        PipeDevice(source=pipes.source, sink=pipes.sink)
    with pytest.raises(StreamsepError, match=f"has {channels} channels"):
        PipeDevice(raw=Pcm("s16le", 48000, channels), source=pipes.source, sink=pipes.sink)


def test_nothing_of_the_input_is_read_ahead(pipes: Pipes) -> None:
    """What lies behind the last block belongs to whoever reads next; a live feed is not hurried."""
    os.write(pipes.feed, bytes(8 * 64 * 3 + 8))
    pipes.listen()
    device, echo = PipeDevice(raw=Pcm(), block=64, source=pipes.source, sink=pipes.sink), Echo()
    device.start(echo, lambda: None, 0)
    assert not device.wait(0.1)
    assert echo.sizes == [64] * 3
    device.stop()


@polled
def test_devices_leave_no_thread_and_no_handle() -> None:
    if not Path("/proc/self/fd").exists():
        pytest.skip("needs /proc")

    def one() -> None:
        pipes = Pipes()
        pipes.send(Pcm().encode(noise(300)))
        pipes.listen()
        play(PipeDevice(raw=Pcm(), source=pipes.source, sink=pipes.sink))
        pipes.end()
        pipes.tidy()

    one()
    threads, handles = threading.active_count(), len(os.listdir("/proc/self/fd"))
    for _ in range(50):
        one()
    assert threading.active_count() <= threads
    assert len(os.listdir("/proc/self/fd")) <= handles


PROGRAM = """
import sys
from streamsep import cli
from streamsep.engine.backends.pipe import PipeDevice, PipeSource
from tests.test_engine_pipe import play
import argparse
def run(args):
    print("ready", file=sys.stderr, flush=True)
    play(PipeDevice(2))
    return 0
def build():
    parser = argparse.ArgumentParser()
    parser.set_defaults(run=run)
    return parser
cli.build_parser = build
sys.exit(cli.main([]))
"""


def program(**streams: Any) -> subprocess.Popen[bytes]:
    """The command line around one device on stdin and stdout."""
    command = [sys.executable, "-W", "error", "-c", PROGRAM]
    process = subprocess.Popen(command, bufsize=0, stderr=subprocess.PIPE, **streams)
    assert process.stderr is not None and process.stderr.readline() == b"ready\n"
    return process


@ffmpeg
@pytest.mark.parametrize(
    ("flags", "channels"),
    [
        (["-c:a", "pcm_s16le"], 2),
        (["-c:a", "pcm_s24le"], 2),
        (["-c:a", "pcm_s32le"], 2),
        (["-c:a", "pcm_f32le"], 2),
        (["-c:a", "pcm_s24le"], 1),
        (["-c:a", "pcm_s16le", "-metadata", "title=a song"], 1),
        (["-c:a", "pcm_s16le", "-rf64", "always"], 2),
    ],
)
def test_between_two_ffmpegs(tmp_path: Path, flags: list[str], channels: int) -> None:
    samples = np.round(noise(20_000, channels) * 2**15) / np.float32(2**15)
    soundfile.write(tmp_path / "song.flac", samples.T, 32000, subtype="PCM_16")
    quiet = ["ffmpeg", "-v", "error", "-nostdin"]
    first = [*quiet, "-i", str(tmp_path / "song.flac"), *flags, "-f", "wav", "-"]
    last = [*quiet, "-f", "wav", "-i", "pipe:", "-c:a", "pcm_f32le", str(tmp_path / "out.wav")]
    with (
        subprocess.Popen(first, stdout=subprocess.PIPE) as before,
        program(stdin=before.stdout, stdout=subprocess.PIPE) as ours,
        subprocess.Popen(last, stdin=ours.stdout) as after,
    ):
        for stream in (before.stdout, ours.stdout):
            assert stream is not None
            stream.close()
        assert ours.stderr is not None
        assert ours.stderr.read() == b""
    assert (before.returncode, ours.returncode, after.returncode) == (0, 0, 0)
    played, rate = soundfile.read(tmp_path / "out.wav", dtype="float32")
    assert rate == 32000
    echoed(np.broadcast_to(samples, (2, 20_000)), played.T)


def test_a_reader_that_closes_ends_the_program_quietly() -> None:
    with program(stdin=subprocess.PIPE, stdout=subprocess.PIPE) as ours:
        assert ours.stdin is not None and ours.stdout is not None and ours.stderr is not None
        ours.stdin.write(wav_header(Pcm(), None) + bytes(8 * 1000))
        assert len(ours.stdout.read(100)) == 100
        ours.stdout.close()
        try:
            while ours.poll() is None:
                ours.stdin.write(bytes(65536))
        except BrokenPipeError:
            pass
        assert (ours.wait(20), ours.stderr.read()) == (1, b"")


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
@pytest.mark.parametrize("begun", [True, False])
def test_an_interrupt_ends_a_program_that_waits_for_sound(begun: bool) -> None:
    with program(stdin=subprocess.PIPE, stdout=subprocess.PIPE) as ours:
        assert ours.stdin is not None and ours.stdout is not None and ours.stderr is not None
        ours.stdin.write(wav_header(Pcm(), None) + bytes(8 * 256) if begun else b"RIFF")
        if begun:
            assert len(ours.stdout.read(100)) == 100
        ours.send_signal(signal.SIGINT)
        assert (ours.wait(20), ours.stderr.read()) == (130, b"streamsep: interrupted\n")
