"""PortAudio's streams: opened with a Python or a compiled callback, and closed within a bounded time."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from streamsep.engine.backends import pa_library
from streamsep.engine.backends.pa_devices import DeviceInfo, Kind, accepted_rates
from streamsep.engine.backends.pa_plan import Plan, wasapi_settings
from streamsep.errors import StreamsepError

_CLOSE_SECONDS = 2.0
# Of PortAudio's header.
_INVALID_RATE, _UNAVAILABLE, _INVALID_CHANNELS = -9997, -9985, -9998


@dataclass(frozen=True)
class Callbacks:
    """What a stream calls.

    Attributes:
        play: the callback of the duplex or output stream: a Python function of `sounddevice.Stream`'s signature, or
            the address of a C function of PortAudio's.
        capture: likewise, that of a separate input stream.
        userdata: address handed to C functions.
        finished: called when the duplex or output stream has ended.
    """

    play: Callable[..., None] | int
    capture: Callable[..., None] | int
    userdata: int
    finished: Callable[[], None]


class Streams:
    """A duplex stream, or an input and an output stream; opened, not yet started.

    They act on the library that opened them, whichever has taken its place since.

    Raises:
        StreamsepError: the device refuses; says what it would accept.
    """

    def __init__(self, plan: Plan, callbacks: Callbacks, exclusive: bool = False) -> None:
        self._plan = plan
        self._library = pa_library.load()._lib
        self._streams: list[Any] = []
        self._given_up = threading.Event()
        for kind in ("input", "output") if plan.separate else ("duplex",):
            try:
                self._streams.append(_open(plan, kind, callbacks, exclusive))
            except StreamsepError:
                self.close(_CLOSE_SECONDS)
                raise

    @property
    def latency(self) -> int:
        """Frames from the air to the callback and back, by `Plan.frames`."""
        first, last = self._streams[0], self._streams[-1]
        return self._plan.frames((first.latency, last.latency) if self._plan.separate else first.latency)

    @property
    def active(self) -> bool:
        """False once one has ended, by itself or because it was told to."""
        return all(self._library.Pa_IsStreamActive(stream._ptr) == 1 for stream in self._streams)

    @property
    def pulse(self) -> tuple[float, ...]:
        """Of each stream, something that changes with every block, whoever handles it: PortAudio's measure of load."""
        return tuple(self._library.Pa_GetStreamCpuLoad(stream._ptr) for stream in self._streams)

    def start(self) -> None:
        """Begin.

        Raises:
            StreamsepError: the device refuses.
        """
        for stream in self._streams:
            with pa_library.quiet_stderr():
                code = self._library.Pa_StartStream(stream._ptr)
            if code < 0:
                raise StreamsepError(f"{self._plan.output.name} does not start (PortAudio error {code}); try again")

    def close(self, timeout: float, dead: bool = False) -> None:
        """Abort and close in at most `timeout` seconds; a library that does not return is abandoned.

        Args:
            timeout: seconds.
            dead: the JACK server is known to be gone; nothing is tried.
        """
        thread = threading.Thread(target=self._close, name="streamsep-device-close", daemon=True)
        if not dead:
            thread.start()
            thread.join(timeout)
        if dead or thread.is_alive():
            self._given_up.set()
            pa_library.abandon(self._library, *self._streams)

    def _close(self) -> None:
        for stream in self._streams:
            self._library.Pa_AbortStream(stream._ptr)
            if self._given_up.is_set():
                return
            self._library.Pa_CloseStream(stream._ptr)


def _open(plan: Plan, kind: Kind | Any, callbacks: Callbacks, exclusive: bool) -> Any:
    sd = pa_library.load()
    callback: Any = callbacks.capture if kind == "input" else callbacks.play
    compiled = isinstance(callback, int)
    settings = wasapi_settings(sd, exclusive)
    try:
        with pa_library.quiet_stderr():
            return sd._StreamBase(
                kind=kind,
                samplerate=plan.capture_rate if kind == "input" else plan.rate,
                blocksize=plan.host_block,
                device=_side(kind, plan.input.number, plan.output.number),
                channels=_side(kind, plan.inputs, plan.outputs),
                dtype="float32",
                latency=_side(kind, *plan.seconds),
                extra_settings=_side(kind, settings, settings),
                clip_off=True,
                dither_off=True,
                callback=sd._ffi.cast("PaStreamCallback*", callback) if compiled else callback,
                userdata=sd._ffi.cast("void*", callbacks.userdata) if compiled else None,
                wrap_callback=None if compiled else "array",
                finished_callback=None if kind == "input" else callbacks.finished,
            )
    except sd.PortAudioError as error:
        raise _refusal(error, plan, kind) from error


def _side(kind: Any, source: Any, sink: Any) -> Any:
    return (source, sink) if kind == "duplex" else source if kind == "input" else sink


def _refusal(error: Exception, plan: Plan, kind: Any) -> StreamsepError:
    code = error.args[1] if len(error.args) > 1 else None
    device, rate = (plan.input, plan.capture_rate) if kind == "input" else (plan.output, plan.rate)
    if code == _INVALID_RATE:
        return StreamsepError(f"{device.name} refuses {rate} Hz; {_rates(plan, device, kind)}")
    if code == _UNAVAILABLE:
        return StreamsepError(f"{device.name} is busy or gone; end the program that uses it, or choose another device")
    if code == _INVALID_CHANNELS:
        channels = f"{plan.inputs} inputs and {plan.outputs} outputs"
        return StreamsepError(f"{device.name} refuses {channels}; choose other channels, or another device")
    text = str(error.args[0]) if error.args else str(error)
    return StreamsepError(f"{device.name} does not open ({text}); choose another device or block size")


def _rates(plan: Plan, device: DeviceInfo, kind: Any) -> str:
    side: Kind = "input" if kind == "input" else "output"
    rates = accepted_rates(device, side, plan.inputs if side == "input" else plan.outputs)
    if not rates:
        return "leave the rate out, for the device's own"
    return f"choose {' or '.join(str(rate) for rate in rates)} Hz"
