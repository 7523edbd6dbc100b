"""A stand-in for the package sounddevice: a list of devices, streams that tests drive by hand, refusals to order."""

from __future__ import annotations

import sys
import threading
from types import SimpleNamespace
from typing import Any

import pytest

from streamsep.engine.backends.pa_plan import DeviceConfig

HOSTS = ("ALSA", "JACK Audio Connection Kit", "Windows WASAPI", "MME")


class PortAudioError(Exception):
    """As sounddevice's: a text and PortAudio's code."""


class CallbackStop(Exception):
    """As sounddevice's."""


class CallbackAbort(Exception):
    """As sounddevice's."""


def device(name: str, inputs: int = 2, outputs: int = 2, host: str = "ALSA", rate: float = 44100.0) -> dict[str, Any]:
    """A device as `query_devices` describes it: 10 ms of latency in, 20 ms out, three times that when high."""
    return {
        "name": name,
        "hostapi": HOSTS.index(host),
        "max_input_channels": inputs,
        "max_output_channels": outputs,
        "default_samplerate": rate,
        "default_low_input_latency": 0.01,
        "default_low_output_latency": 0.02,
        "default_high_input_latency": 0.03,
        "default_high_output_latency": 0.06,
    }


class Library:
    """PortAudio's functions on the streams below; `hang` holds up `Pa_AbortStream`."""

    def __init__(self) -> None:
        self.hang = threading.Event()
        self.hang.set()

    def Pa_StartStream(self, stream: Stream) -> int:
        stream.active = True
        return stream.start_code

    def Pa_AbortStream(self, stream: Stream) -> int:
        self.hang.wait(10)
        stream.active = False
        return 0

    def Pa_CloseStream(self, stream: Stream) -> int:
        stream.closed = True
        return 0

    def Pa_IsStreamActive(self, stream: Stream) -> int:
        return int(stream.active)

    def Pa_GetStreamCpuLoad(self, stream: Stream) -> float:
        return stream.load


class Stream:
    """What `_StreamBase` would be, with its arguments."""

    start_code = 0

    def __init__(self, latency: Any, **arguments: Any) -> None:
        self.latency, self.arguments = latency, arguments
        self.active = self.closed = False
        self.load = 0.0
        self._ptr = self


class Sounddevice:
    """The module."""

    PortAudioError, CallbackStop, CallbackAbort = PortAudioError, CallbackStop, CallbackAbort

    def __init__(self, *devices: dict[str, Any], default: tuple[int, int] = (0, 0)) -> None:
        self.devices, self.default = list(devices), SimpleNamespace(device=default)
        self.streams: list[Stream] = []
        self.refusal: PortAudioError | None = None
        self.latency: Any = (0.005, 0.005)
        self.accepted: set[int] = {44100, 48000}
        self.coming: list[list[dict[str, Any]]] = []  # the lists of devices after each restart
        self._initialized = 1
        self._lib: Any = Library()
        self._ffi = SimpleNamespace(cast=lambda kind, value: (kind, value), dlopen=lambda path: Library())

    def query_hostapis(self) -> list[dict[str, str]]:
        return [{"name": name} for name in HOSTS]

    def query_devices(self) -> list[dict[str, Any]]:
        return self.devices

    def check_input_settings(self, device: int, channels: int, dtype: str, samplerate: int) -> None:
        if samplerate not in self.accepted:
            raise PortAudioError("Invalid sample rate", -9997)

    check_output_settings = check_input_settings

    def WasapiSettings(self, exclusive: bool) -> str:
        return f"exclusive={exclusive}"

    def _StreamBase(self, **arguments: Any) -> Stream:
        if self.refusal is not None:
            raise self.refusal
        both = arguments.pop("latency"), self.latency
        kind = arguments["kind"]
        latency = both[1] if kind == "duplex" else both[1][kind == "output"]
        stream = Stream(latency, asked=both[0], **arguments)
        self.streams.append(stream)
        return stream

    def _terminate(self) -> None:
        self._initialized -= 1

    def _initialize(self) -> None:
        self._initialized += 1
        if self.coming:
            self.devices = self.coming.pop(0)


def install(monkeypatch: pytest.MonkeyPatch, *devices: dict[str, Any], **options: Any) -> Sounddevice:
    """Put the stand-in in the place of sounddevice."""
    stub = Sounddevice(*devices, **options)
    monkeypatch.setitem(sys.modules, "sounddevice", stub)
    return stub


@pytest.fixture(name="studio")
def studio_fixture(monkeypatch: pytest.MonkeyPatch) -> Sounddevice:
    """An interface of eight outputs, a microphone, speakers."""
    devices = (device("Interface 8", 2, 8), device("USB Mic (hw:1,0)", 1, 0, rate=48000.0), device("Speakers", 0, 2))
    return install(monkeypatch, *devices)


def interface(**options: Any) -> DeviceConfig:
    """The studio's interface in both directions, unless told otherwise."""
    return DeviceConfig(**{"input": "Interface 8", "output": "Interface 8", **options})
