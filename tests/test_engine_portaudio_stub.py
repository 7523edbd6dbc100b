"""PortAudio devices without PortAudio: what passes through the callback, refusals, and losses."""

from __future__ import annotations

import threading
import time
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from streamsep.engine.backends import pa_library, portaudio
from streamsep.engine.backends.base import CompiledProcess
from streamsep.engine.backends.pa_plan import JACK, DeviceConfig
from streamsep.engine.backends.portaudio import PortAudioDevice
from streamsep.errors import StreamsepError
from tests.audio_children import Gains
from tests.stub_sounddevice import (
    CallbackAbort,
    CallbackStop,
    PortAudioError,
    Sounddevice,
    device,
    install,
    interface,
    studio_fixture,  # noqa: F401  (a fixture)
)

NOTHING = SimpleNamespace(
    input_overflow=False, input_underflow=False, output_overflow=False, output_underflow=False, priming_output=True
)
LOSS = SimpleNamespace(**{**vars(NOTHING), "output_underflow": True})


@pytest.mark.parametrize(
    ("code", "error"),
    [
        (-9997, "Interface 8 refuses 44100 Hz; choose 48000 Hz"),
        (-9985, "Interface 8 is busy or gone; end the program that uses it, or choose another device"),
        (-9998, "Interface 8 refuses 2 inputs and 2 outputs; choose other channels, or another device"),
        (-9999, "Interface 8 does not open (no luck); choose another device or block size"),
    ],
)
def test_refusals_are_sentences(studio: Sounddevice, code: int, error: str) -> None:
    studio.refusal, studio.accepted = PortAudioError("no luck", code), {48000}
    with pytest.raises(StreamsepError) as caught:
        PortAudioDevice(interface())
    assert str(caught.value) == error
    studio.accepted = set()
    if code == -9997:
        with pytest.raises(StreamsepError, match="leave the rate out, for the device's own"):
            PortAudioDevice(interface())


def running(studio: Sounddevice, process: Gains, **options: Any) -> tuple[PortAudioDevice, Any]:
    """A started device and its stream."""
    opened = PortAudioDevice(interface(**options))
    assert studio.streams[-1].closed and opened.latency == round(0.005 * 44100) + 256
    opened.start(process, None, 0)
    return opened, studio.streams[-1]


def test_a_block_passes_by_the_python_callback(studio: Sounddevice) -> None:
    process = Gains(frames=512)
    opened, stream = running(studio, process)
    indata, outdata = np.full((256, 2), 3, dtype=np.float32), np.zeros((256, 2), dtype=np.float32)
    stream.arguments["callback"](indata, outdata, 256, None, NOTHING)
    assert (outdata == (3, 6)).all() and process.xruns == 0 and not opened.wait(0)
    with pytest.raises(CallbackStop):
        stream.arguments["callback"](indata, outdata, 256, None, LOSS)
    assert process.xruns == 1 and process.pumped == 0
    stream.arguments["finished_callback"]()
    stream.active = False
    assert opened.wait(0) and opened.lost is None
    opened.stop()
    opened.stop()
    assert stream.closed


def test_lock_step_pumps(studio: Sounddevice) -> None:
    opened, process = PortAudioDevice(interface(lock_step=True)), Gains()
    opened.start(process, process.pump, 0)
    block = np.zeros((256, 2), dtype=np.float32)
    studio.streams[-1].arguments["callback"](block, block.copy(), 256, None, NOTHING)
    assert process.pumped == 1 and opened.lock_step
    opened.stop()


def test_a_compiled_callback_pumps_by_itself(studio: Sounddevice) -> None:
    opened, process = PortAudioDevice(interface(lock_step=True)), Gains()
    process.compiled = CompiledProcess(1, 2, 3)
    opened.start(process, process.pump, 0)
    assert studio.streams[-1].arguments["callback"] == ("PaStreamCallback*", 1) and opened.takes_compiled
    opened.stop()


def test_compiled_callbacks_are_handed_over(studio: Sounddevice) -> None:
    process = Gains()
    process.compiled = CompiledProcess(callback=11, capture=22, userdata=33)
    opened = PortAudioDevice(interface(input="USB"))
    opened.start(process, None, 0)
    source, sink = studio.streams[-2:]
    assert opened.separate and (opened.input_rate, opened.sample_rate) == (48000, 44100)
    assert [s.arguments["callback"] for s in (source, sink)] == [("PaStreamCallback*", 22), ("PaStreamCallback*", 11)]
    assert {s.arguments["userdata"] for s in (source, sink)} == {("void*", 33)}
    assert {s.arguments["wrap_callback"] for s in (source, sink)} == {None}
    opened.stop()
    assert source.closed and sink.closed


def test_an_error_in_the_callback_ends_the_wait(studio: Sounddevice) -> None:
    class Broken(Gains):
        def __call__(self, *block: Any, **options: Any) -> None:
            raise ZeroDivisionError

    opened, stream = running(studio, Broken())
    block = np.zeros((256, 2), dtype=np.float32)
    with pytest.raises(CallbackAbort):
        stream.arguments["callback"](block, block, 256, None, NOTHING)
    with pytest.raises(ZeroDivisionError):
        opened.wait(0)
    opened.stop()


def test_a_stream_that_ends_by_itself_is_lost_and_found(studio: Sounddevice) -> None:
    process = Gains()
    opened, stream = running(studio, process)
    stream.active = False
    assert opened.lost == "Interface 8 is gone: unplugged, or its sound server has ended"
    studio.coming = [[device("Speakers", 0, 2)], [device("Speakers", 0, 2), device("Interface 8", 2, 8)]]
    assert not opened.reopen()
    assert str(opened.lost).startswith("Interface 8 is not there")
    assert stream.closed
    flow = threading.Thread(target=_play_soon, args=(studio, len(studio.streams)))
    flow.start()
    assert opened.reopen()
    assert str(opened.lost) == "None"
    flow.join()
    assert studio.streams[-1].arguments["device"] == (1, 1)
    opened.stop()
    assert not opened.reopen()  # once stopped, it stays so


def _play_soon(studio: Sounddevice, before: int) -> None:
    """Let the next stream begin to call back."""
    while len(studio.streams) == before or not studio.streams[-1].active:
        time.sleep(0.001)
    while studio.streams[-1].load < 1:
        studio.streams[-1].load += 0.01
        time.sleep(0.001)


def test_a_device_that_comes_back_silent_is_not_back(studio: Sounddevice, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(portaudio, "_START_SECONDS", 0.0)
    opened, stream = running(studio, Gains())
    stream.active = False
    assert not opened.reopen() and studio.streams[-1].closed
    assert opened.lost == "Interface 8 is there, but delivers nothing"
    opened.stop()


def test_a_stream_without_blocks_is_lost(studio: Sounddevice, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(portaudio, "time", SimpleNamespace(monotonic=lambda: now[0], sleep=time.sleep))
    opened = PortAudioDevice(interface(input="USB"))
    opened.start(Gains(), None, 0)
    source, sink = studio.streams[-2:]
    for now[0] in (100.5, 101.0, 101.5):
        sink.load += 0.1
        source.load += 0.1
        assert opened.lost is None
    for now[0] in (102.0, 102.5):
        sink.load += 0.1  # the microphone alone is silent
        assert opened.lost is None
    now[0] = 102.75
    assert opened.lost == "USB Mic (hw:1,0) and Interface 8 has delivered nothing for 1.2 s"
    opened.stop()


def test_a_device_that_does_not_start_is_closed(studio: Sounddevice, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = PortAudioDevice(interface())
    monkeypatch.setattr("tests.stub_sounddevice.Stream.start_code", -9999)
    with pytest.raises(StreamsepError, match=r"Interface 8 does not start \(PortAudio error -9999\); try again"):
        opened.start(Gains(), None, 0)
    assert studio.streams[-1].closed


def test_a_library_that_hangs_is_abandoned(studio: Sounddevice, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pa_library, "_fresh_copy", lambda ffi: "fresh")
    opened, stream = running(studio, Gains())
    library = studio._lib
    library.hang.clear()
    opened.stop()
    assert studio._lib == "fresh" and studio._initialized == 0
    assert any(kept[0] is library for kept in pa_library._abandoned)
    library.hang.set()
    for thread in threading.enumerate():
        if thread.name == "streamsep-device-close":
            thread.join()
    assert not stream.closed  # nobody touches it any more


def test_streams_of_a_dead_jack_server_are_not_touched(monkeypatch: pytest.MonkeyPatch) -> None:
    stub = install(monkeypatch, device("system", host=JACK))
    monkeypatch.setattr(pa_library, "jack_period", lambda: 256)
    monkeypatch.setattr(pa_library, "_fresh_copy", lambda ffi: stub._lib)
    opened = PortAudioDevice(DeviceConfig(input="system", output="system"))
    assert stub.streams == []  # ports would be numbered on
    opened.start(Gains(), None, 0)
    stub.streams[0].active = False
    stub._lib.hang.clear()
    begin = time.monotonic()
    opened.stop()
    assert not stub.streams[0].closed and time.monotonic() - begin < 5 and stub._initialized == 0


def test_a_stop_does_not_wait_for_a_reopening(studio: Sounddevice, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pa_library, "_fresh_copy", lambda ffi: "fresh")
    opened, stream = running(studio, Gains())
    stream.active = False
    inside, go = threading.Event(), threading.Event()

    def restart() -> None:
        inside.set()
        go.wait(10)
        raise StreamsepError("no server")

    monkeypatch.setattr(pa_library, "restart", restart)
    helper = threading.Thread(target=opened.reopen)
    helper.start()
    assert inside.wait(10) and opened.lost is None  # it is being seen to
    opened.stop()
    assert studio._lib == "fresh"
    go.set()
    helper.join()
