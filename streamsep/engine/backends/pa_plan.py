"""What is asked of PortAudio and what delay that means, by the rules of each host API."""

from __future__ import annotations

import math
import re
import sys
from dataclasses import dataclass
from typing import Any, Literal

from streamsep.engine.backends import pa_library
from streamsep.engine.backends.pa_devices import DeviceInfo, Kind, find_device, list_devices
from streamsep.errors import StreamsepError

JACK = "JACK Audio Connection Kit"
_ALSA_PERIODS = 4  # that PortAudio asks of ALSA
_LONGEST = 2.0  # seconds; some JACK servers tell garbage for a latency
_CARD = re.compile(r" \(hw:\d+,\d+\)$")  # a card that is plugged in again may get another number


@dataclass(frozen=True)
class DeviceConfig:
    """Which devices are opened, and how.

    Attributes:
        input: number or (part of the) name of the input device, None for the system's default.
        output: likewise for output.
        hostapi: host API (or a part of its name) to find them in.
        sample_rate: in Hz; None for the devices' own.
        block: frames of every block; None leaves it to the device, and on JACK is the server's period.
        latency: buffering asked of the device: "low", "high" or seconds.
        inputs: channels to open, None for two, or one where there is but one.
        outputs: channels to open.
        exclusive: keep other programs from the device (WASAPI only).
        lock_step: for a virtual device without a clock: the callback waits for the worker.
    """

    input: int | str | None = None
    output: int | str | None = None
    hostapi: str | None = None
    sample_rate: int | None = None
    block: int | None = 256
    latency: Literal["low", "high"] | float = "low"
    inputs: int | None = None
    outputs: int = 2
    exclusive: bool = False
    lock_step: bool = False


@dataclass(frozen=True)
class Plan:
    """A configuration after devices have been found.

    Attributes:
        input: device.
        output: device.
        separate: True for two devices with a clock each.
        inputs: channels to open.
        outputs: channels to open.
        rate: of the output device, in Hz.
        capture_rate: of the input device.
        block: frames of every block, or None where they vary.
        host_block: frames to ask of PortAudio, 0 for those of the device.
        period: frames that the device handles at once, where that is known, otherwise what can be expected.
        seconds: latency to ask of the input and of the output device.
    """

    input: DeviceInfo
    output: DeviceInfo
    separate: bool
    inputs: int
    outputs: int
    rate: int
    capture_rate: int
    block: int | None
    host_block: int
    period: int
    seconds: tuple[float, float]

    @property
    def max_block(self) -> int:
        """Most frames that come at once: a device whose period is longer delivers blocks in bundles."""
        return max(self.period, self.block or 1)

    def frames(self, reported: tuple[float, float]) -> int:
        """Frames at `rate` from the air to the callback and back, given the latencies of the open stream in seconds.

        ALSA: the output buffer, which is the reported output latency and one period. PortAudio reports for the input
        what is left of its buffer, which is no delay.
        JACK: what the server says of the ports, and one block where PortAudio has to cut blocks anew, which it does
        whenever it is asked for a size.
        Others: the sum of both.
        """
        if self.output.hostapi == "ALSA":
            return round(_plausible(reported[1]) * self.rate) + self.period
        if self.output.hostapi == JACK:
            ports = _plausible(self.input.input_latency[0]) + _plausible(self.output.output_latency[0])
            return round(ports * self.rate) + self.host_block
        return round((_plausible(reported[0]) + _plausible(reported[1])) * self.rate)


def make_plan(config: DeviceConfig) -> Plan:
    """Find the devices.

    Raises:
        StreamsepError: unknown devices, too few channels, options that do not fit.
    """
    source = find_device(config.input, "input", config.hostapi)
    return _plan(config, source, find_device(config.output, "output", config.hostapi))


def plan_again(config: DeviceConfig, before: Plan) -> Plan:
    """The plan for the same devices, by name, after PortAudio has been started anew.

    Raises:
        StreamsepError: they are not there, or not with as many channels or at the same rate as before.
    """
    plan = _plan(config, _same(before.input), _same(before.output))
    if (plan.rate, plan.capture_rate) != (before.rate, before.capture_rate):
        raise StreamsepError(f"{plan.output.name} has come back at {plan.rate} Hz; set it to {before.rate} Hz")
    if plan.block != before.block:  # the engine was built for blocks as they were: PortAudio cuts them
        return _plan(config, plan.input, plan.output, before.block)
    return plan


def _plan(config: DeviceConfig, source: DeviceInfo, sink: DeviceInfo, block: int | None = None) -> Plan:
    inputs = min(2, source.inputs) if config.inputs is None else config.inputs
    _check_channels(source, "input", inputs)
    _check_channels(sink, "output", config.outputs)
    if sink.hostapi == JACK and config.sample_rate not in (None, sink.sample_rate):
        refused = f"{sink.name} refuses {config.sample_rate} Hz"
        raise StreamsepError(f"{refused}; the JACK server runs at {sink.sample_rate} Hz, so leave the rate out")
    if config.exclusive and "WASAPI" not in sink.hostapi:
        other = f"{sink.name} is a device of {sink.hostapi}"
        raise StreamsepError(f"exclusive mode is for WASAPI and {other}; leave it out, or choose the host API WASAPI")
    block, host_block, period = _blocks(config, sink, block or config.block)
    return Plan(
        input=source,
        output=sink,
        separate=not _one_clock(source, sink),
        inputs=inputs,
        outputs=config.outputs,
        rate=config.sample_rate or sink.sample_rate,
        capture_rate=config.sample_rate or source.sample_rate,
        block=block,
        host_block=host_block,
        period=period,
        seconds=(
            _suggested(config, source, source.input_latency, block),
            _suggested(config, sink, sink.output_latency, block),
        ),
    )


def _one_clock(source: DeviceInfo, sink: DeviceInfo) -> bool:
    return source.number == sink.number or source.hostapi == sink.hostapi == JACK


def _blocks(config: DeviceConfig, sink: DeviceInfo, block: int | None) -> tuple[int | None, int, int]:
    """(block, host_block, period) of `Plan`."""
    if sink.hostapi == JACK:
        period = pa_library.jack_period() or block or 1024
        # Asked for its own period by number, PortAudio would still add a block of delay.
        return (period, 0, period) if block in (None, period) else (block, block or 0, period)
    if block is None:
        rate = config.sample_rate or sink.sample_rate
        frames = max(1, int(_seconds(config, sink.output_latency) * rate) // _ALSA_PERIODS)
        return None, 0, 1 << math.ceil(math.log2(frames))
    return block, block, block


def _suggested(config: DeviceConfig, device: DeviceInfo, defaults: tuple[float, float], block: int | None) -> float:
    """Latency to ask for.

    PortAudio lets ALSA collect several blocks at once when this is long, and then calls back in bursts; three blocks
    beyond the one at hand is the most that keeps them apart.
    """
    seconds = _seconds(config, defaults)
    if device.hostapi == "ALSA" and block is not None:
        rate = config.sample_rate or device.sample_rate
        return min(seconds, (_ALSA_PERIODS - 1) * block / rate)
    return seconds


def _seconds(config: DeviceConfig, defaults: tuple[float, float]) -> float:
    if isinstance(config.latency, str):
        return defaults[config.latency == "high"]
    return config.latency


def _check_channels(device: DeviceInfo, kind: Kind, needed: int) -> None:
    has = device.channels(kind)
    if needed > has:
        few = f"{device.name} has {has} {kind} channels and {needed} are asked for"
        raise StreamsepError(f"{few}; choose another --{kind}-device, or channels from 1 to {has}")


def _same(before: DeviceInfo) -> DeviceInfo:
    found = [device for device in list_devices() if device.hostapi == before.hostapi]
    for named in (lambda name: name, lambda name: _CARD.sub("", name)):
        twins = [device for device in found if named(device.name) == named(before.name)]
        for device in sorted(twins, key=lambda device: device.number != before.number):
            return device
    raise StreamsepError(f"{before.name} is not there; plug it in, or start its sound server")


def _plausible(seconds: Any) -> float:
    return float(seconds) if 0 <= seconds <= _LONGEST else 0.0


def wasapi_settings(sd: Any, exclusive: bool) -> Any:
    """The `extra_settings` of a stream: exclusive mode on Windows, nothing anywhere else."""
    return sd.WasapiSettings(exclusive=True) if exclusive and sys.platform == "win32" else None
