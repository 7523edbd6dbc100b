"""The audio devices that PortAudio lists, and how one is found by number or name."""

from __future__ import annotations

import difflib
import sys
from dataclasses import dataclass
from typing import Any, Literal

from streamsep.engine.backends import pa_library
from streamsep.errors import StreamsepError

Kind = Literal["input", "output"]

RATES = (44100, 48000, 88200, 96000)
# A name found under several host APIs is opened under the quickest; what is not named here comes last.
_PREFERRED = ("ASIO", "Core Audio", "JACK Audio Connection Kit", "Windows WASAPI", "Windows WDM-KS", "ALSA")


@dataclass(frozen=True)
class DeviceInfo:
    """A device as PortAudio lists it.

    Attributes:
        number: by which it can be chosen until devices change.
        name: by which, or by a part of which, it can be chosen.
        hostapi: the system's sound interface under which it is listed, such as ALSA, JACK, Core Audio or ASIO.
        inputs: most channels that it delivers.
        outputs: most channels that it takes.
        sample_rate: default, in Hz.
        input_latency: its default "low" and "high", in seconds.
        output_latency: likewise.
        default_input: the system's default for input.
        default_output: likewise for output.
    """

    number: int
    name: str
    hostapi: str
    inputs: int
    outputs: int
    sample_rate: int
    input_latency: tuple[float, float]
    output_latency: tuple[float, float]
    default_input: bool
    default_output: bool

    def channels(self, kind: Kind) -> int:
        """Most channels of that direction."""
        return self.inputs if kind == "input" else self.outputs


def list_devices() -> list[DeviceInfo]:
    """All devices, in PortAudio's order.

    Raises:
        StreamsepError: PortAudio is missing.
    """
    sd = pa_library.load()
    hosts = [str(host["name"]) for host in sd.query_hostapis()]
    default_input, default_output = sd.default.device
    return [
        _device(number, found, hosts, number == default_input, number == default_output)
        for number, found in enumerate(sd.query_devices())
    ]


def find_device(wanted: int | str | None, kind: Kind, hostapi: str | None = None) -> DeviceInfo:
    """The device of that number, of that name or a part of it, or the default one (None).

    Case does not matter; a full name goes before a part. A name known to several host APIs is the one of the quickest.

    Args:
        wanted: number, name, or None.
        kind: the direction it must offer.
        hostapi: a host API, or a part of its name, to choose within.

    Raises:
        StreamsepError: no such device, more than one, none at all, or no such host API.
    """
    devices = list_devices()
    if not devices:
        raise StreamsepError(f"there are no audio devices; {no_devices_cure()}")
    if isinstance(wanted, int) or (wanted is not None and wanted.isdecimal()):
        return _numbered(int(wanted), kind, devices)
    usable = [device for device in _within(hostapi, devices) if device.channels(kind)]
    if wanted is None:
        return _default(kind, hostapi, usable)
    return _named(wanted, kind, usable)


def accepted_rates(device: DeviceInfo, kind: Kind, channels: int) -> list[int]:
    """Which of `RATES` the device accepts."""
    sd = pa_library.load()
    check = sd.check_input_settings if kind == "input" else sd.check_output_settings
    accepted = []
    for rate in RATES:
        try:
            with pa_library.quiet_stderr():
                check(device=device.number, channels=channels, dtype="float32", samplerate=rate)
        except sd.PortAudioError:
            continue
        accepted.append(rate)
    return accepted


def no_devices_cure() -> str:
    """What to do where no device is listed."""
    platform: str = sys.platform
    if platform == "linux":
        return "plug one in (this user must be in the group audio), or start JACK, PipeWire or PulseAudio as this user"
    if platform == "darwin":
        return "plug one in, and allow the terminal to use the microphone in System Settings, Privacy"
    return "plug one in, and enable it in the system's sound settings"


def _device(number: int, found: Any, hosts: list[str], default_input: bool, default_output: bool) -> DeviceInfo:
    return DeviceInfo(
        number=number,
        name=str(found["name"]),
        hostapi=hosts[found["hostapi"]],
        inputs=int(found["max_input_channels"]),
        outputs=int(found["max_output_channels"]),
        sample_rate=round(found["default_samplerate"]),
        input_latency=(found["default_low_input_latency"], found["default_high_input_latency"]),
        output_latency=(found["default_low_output_latency"], found["default_high_output_latency"]),
        default_input=default_input,
        default_output=default_output,
    )


def _numbered(number: int, kind: Kind, devices: list[DeviceInfo]) -> DeviceInfo:
    if not 0 <= number < len(devices):
        last = len(devices) - 1
        raise StreamsepError(f"there is no device {number}, the last is {last}; streamsep devices lists them")
    if not devices[number].channels(kind):
        name = devices[number].name
        raise StreamsepError(f"device {number} ({name}) has no {kind}; streamsep devices lists what has")
    return devices[number]


def _within(hostapi: str | None, devices: list[DeviceInfo]) -> list[DeviceInfo]:
    if hostapi is None:
        return devices
    within = [device for device in devices if _plain(hostapi) in _plain(device.hostapi)]
    if not within:
        there = ", ".join(sorted({device.hostapi for device in devices}))
        raise StreamsepError(f"there are no devices of host API {hostapi!r}, but of {there}; choose one of these")
    return within


def _plain(name: str) -> str:
    """Core Audio and coreaudio are one."""
    return name.casefold().replace(" ", "")


def _default(kind: Kind, hostapi: str | None, devices: list[DeviceInfo]) -> DeviceInfo:
    marked = [device for device in devices if (device.default_input if kind == "input" else device.default_output)]
    # A host API other than the system's default one has no marks here; its first device is its default.
    for device in marked or (devices if hostapi else []):
        return device
    raise StreamsepError(f"there is no default {kind} device; choose one that streamsep devices lists")


def _named(wanted: str, kind: Kind, devices: list[DeviceInfo]) -> DeviceInfo:
    names = [device.name.casefold() for device in devices]
    exact = [device for device, name in zip(devices, names, strict=True) if name == wanted.casefold()]
    found = exact or [device for device, name in zip(devices, names, strict=True) if wanted.casefold() in name]
    if not found:
        near = difflib.get_close_matches(wanted.casefold(), names, n=3, cutoff=0.5)
        hint = f"; did you mean {' or '.join(devices[names.index(name)].name for name in near)}?" if near else ""
        raise StreamsepError(f"there is no {kind} device {wanted!r}{hint or '; streamsep devices lists them'}")
    best = min(map(_rank, found))
    found = [device for device in found if _rank(device) == best]
    if len(found) > 1:
        listed = ", ".join(f"{device.number} {device.name}" for device in found)
        raise StreamsepError(f"{wanted!r} is part of several names ({listed}); choose one by number or full name")
    return found[0]


def _rank(device: DeviceInfo) -> int:
    return _PREFERRED.index(device.hostapi) if device.hostapi in _PREFERRED else len(_PREFERRED)
