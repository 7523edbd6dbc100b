"""Sound through real pipes: every form, however the bytes are cut, and whatever happens at either end."""

from __future__ import annotations

import contextlib
import io
import os
import select
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import soundfile

from streamsep.engine.backends.descriptor import Descriptor, PolledDescriptor, ThreadedDescriptor
from streamsep.engine.backends.pipe import PipeDevice, PipeSource
from streamsep.engine.pcm import ENCODINGS, Encoding, Pcm, read_wav_header, wav_header
from streamsep.errors import StreamsepError
from tests.pipes import LAG, Echo, Pipes, echoed, noise, pipes_fixture, play  # noqa: F401  (a fixture)

polled = pytest.mark.skipif(not hasattr(select, "poll"), reason="pipes cannot be polled here")
KINDS = [pytest.param(PolledDescriptor, marks=polled), ThreadedDescriptor]


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
