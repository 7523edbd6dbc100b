"""What tests do with PortAudio, each in a process of its own: see `tests.audio_servers.Child`."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import threading
import time
from dataclasses import asdict
from typing import Any

import numpy as np

from streamsep.engine.backends.base import CompiledProcess
from streamsep.engine.backends.loopback import measure_round_trip
from streamsep.engine.backends.pa_plan import DeviceConfig
from streamsep.engine.backends.portaudio import PortAudioDevice
from streamsep.engine.ring import Audio
from streamsep.errors import StreamsepError


class Gains:
    """Output channel c plays input channel c mod 2, times c + 1; ends after `frames` frames, or never (0)."""

    compiled: CompiledProcess | None = None

    def __init__(self, frames: int = 0) -> None:
        self.frames, self.done, self.sizes = frames, 0, set[int]()
        self.captured: list[Audio] = []
        self.xruns = self.pumped = 0

    @property
    def ended(self) -> bool:
        return 0 < self.frames <= self.done

    def __call__(self, indata: Audio, outdata: Audio, xrun: bool = False) -> None:
        for channel, out in enumerate(outdata):
            if len(indata):
                out[:] = indata[channel % len(indata)] * np.float32(channel + 1)
            else:
                out[:] = np.arange(self.done, self.done + len(out)) * np.float32(channel + 1)
        self.done += outdata.shape[1]
        self.sizes.add(outdata.shape[1])
        self.xruns += xrun

    def capture(self, indata: Audio) -> None:
        self.captured.append(indata.copy())

    def pump(self) -> None:
        self.pumped += 1


class CompiledGains(Gains):
    """The same as one C function."""

    def __init__(self, frames: int, inputs: int, outputs: int) -> None:
        super().__init__(frames)
        import numba
        from numba import types

        signature = types.intc(*[types.CPointer(types.float32)] * 2, types.uint64, types.voidptr, types.uint64,
                               types.CPointer(types.int64))  # fmt: skip

        @numba.cfunc(signature)
        def callback(indata, outdata, frames, when, flags, counters):  # type: ignore[no-untyped-def]
            for frame in range(frames):
                for channel in range(outputs):
                    outdata[frame * outputs + channel] = indata[frame * inputs + channel % inputs] * (channel + 1)
            counters[0] += frames
            return 1 if 0 < counters[1] <= counters[0] else 0

        self._callback, self._counters = callback, np.array([0, frames], dtype=np.int64)
        assert callback.address is not None
        address: int = self._counters.__array_interface__["data"][0]
        self.compiled = CompiledProcess(callback.address, 0, address)

    @property
    def ended(self) -> bool:
        return bool(0 < self._counters[1] <= self._counters[0])

    def __call__(self, indata: Audio, outdata: Audio, xrun: bool = False) -> None:
        raise AssertionError("the compiled form was not used")


def say(thing: Any) -> None:
    print(json.dumps(thing), flush=True)


def delay(config: dict[str, Any], frames: int = 0, compiled: bool = False) -> None:
    """Run `Gains` until it ends, or until told to; says the latency before, and what happened after."""
    device = PortAudioDevice(DeviceConfig(**config))
    process = CompiledGains(frames, device.inputs, device.outputs) if compiled else Gains(frames)
    guess = device.latency
    device.start(process, process.pump if device.lock_step else None, 0)
    say({"guess": guess, "latency": device.latency, "block": device.block, "separate": device.separate})
    ended = device.wait(30) if frames else bool(sys.stdin.read())
    device.stop()
    say({"ended": ended, "sizes": sorted(process.sizes), "pumped": process.pumped, "lost": device.lost})


def survive(config: dict[str, Any]) -> None:
    """Say what happens to a device, until told to end: "lost", and then "back", with the seconds since the start."""
    device, process, start = PortAudioDevice(DeviceConfig(**config)), Gains(), time.monotonic()
    device.start(process, None, 0)
    closing = threading.Event()

    def close() -> None:
        sys.stdin.read()
        closing.set()

    threading.Thread(target=close, daemon=True).start()
    say(_state("running", start, device, process))
    while not closing.wait(0.05):
        if device.lost is not None:
            say(_state(device.lost, start, device, process))
            while not closing.wait(0.05):
                if device.reopen():
                    say(_state("back", start, device, process))
                    break
    before = time.monotonic()
    device.stop()
    say({"stopped": time.monotonic() - before})


def _state(what: str, start: float, device: PortAudioDevice, process: Gains) -> dict[str, Any]:
    handles, threads = (len(os.listdir(f"/proc/self/{kind}")) for kind in ("fd", "task"))
    return {
        "what": what,
        "seconds": time.monotonic() - start,
        "handles": handles,
        "threads": threads,
        "latency": device.latency,
        "done": process.done,
        "sizes": sorted(process.sizes),
    }


def capture(config: dict[str, Any], frames: int) -> None:
    """Record `frames` of a separate input and say it, while the output plays a ramp."""
    device, process = PortAudioDevice(DeviceConfig(**config)), Gains()
    device.start(process, None, 0)
    while process.done < frames or sum(block.shape[1] for block in list(process.captured)) < frames:
        time.sleep(0.001)
    device.stop()
    heard = np.concatenate(process.captured, axis=1)
    say({"separate": device.separate, "rates": [device.input_rate, device.sample_rate], "latency": device.latency})
    say(heard[:, :frames].tolist())


def round_trip(config: dict[str, Any], repeats: int, seconds: float) -> None:
    """Measure a device while its first output is connected to its first input, besides what it is connected to."""
    device = PortAudioDevice(DeviceConfig(**config))
    measuring = threading.Event()
    threading.Thread(target=_connect, args=(measuring,), daemon=True).start()
    try:
        trip = measure_round_trip(device, repeats, seconds=seconds)
    except StreamsepError as error:
        say(str(error))
    else:
        say(asdict(trip) | {"latency": device.latency})
    measuring.set()


def _connect(measuring: threading.Event) -> None:
    import jack

    client = jack.Client("cable", no_start_server=True)
    jack.set_error_function(lambda message: None)
    while not measuring.wait(0.02):
        with contextlib.suppress(jack.JackError):  # the ports are not there yet
            client.connect("streamsep:out_0", "streamsep:in_0")
            break
    measuring.wait()
    client.close()


def refused(config: dict[str, Any]) -> None:
    """Say the error that a device meets."""
    try:
        PortAudioDevice(DeviceConfig(**config))
    except StreamsepError as error:
        say(str(error))


def main() -> None:
    function, arguments = sys.argv[1:]
    globals()[function](**json.loads(arguments))


if __name__ == "__main__":
    main()
