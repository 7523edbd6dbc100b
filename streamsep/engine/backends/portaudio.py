"""Real audio devices, by way of PortAudio: ALSA, JACK and PipeWire, Core Audio, ASIO, WASAPI."""

from __future__ import annotations

import threading
import time
from typing import Any

import numpy as np

from streamsep.engine.backends import pa_library
from streamsep.engine.backends.base import AudioBackend, LiveProcess, Pump
from streamsep.engine.backends.pa_plan import JACK, DeviceConfig, make_plan, plan_again
from streamsep.engine.backends.pa_stream import Callbacks, Streams
from streamsep.engine.ring import Audio
from streamsep.errors import StreamsepError

_STOP_SECONDS = 0.45
_SILENT_SECONDS = 1.0  # without a block, a device counts as gone
_START_SECONDS = 2.0
_FLOWING = 3  # blocks; PulseAudio delivers a part of one, and then nothing for seconds


class PortAudioDevice(AudioBackend):
    """One duplex device, or two with a clock each.

    It is opened and closed once at construction, except on JACK, so that errors come before a model is loaded and
    `latency` is known before the start. `latency` is right to the sample on ALSA's file device and on JACK, whose ports
    tell their delay; the rule is that of `Plan.frames`. What a converter and its driver keep to themselves only a
    loopback measurement tells (`streamsep.engine.backends.loopback`).

    One such device may be open in a program: finding a lost one starts PortAudio anew for all.

    Args:
        config: which devices, and how.

    Attributes:
        names: of the input and the output device.

    Raises:
        StreamsepError: no such device, or it refuses; says what can be done.
    """

    takes_compiled = True

    def __init__(self, config: DeviceConfig | None = None) -> None:
        self.config = config or DeviceConfig()
        self.lock_step = self.config.lock_step
        self._plan = make_plan(self.config)
        self.sample_rate = self._plan.rate
        self.inputs, self.outputs = self._plan.inputs, self._plan.outputs
        self.block, self.max_block = self._plan.block, self._plan.max_block
        self.separate, self.input_block = self._plan.separate, self._plan.max_block
        self.names = (self._plan.input.name, self._plan.output.name)
        self._process: Any = None  # LiveProcess, from `start` on
        self._pump: Pump | None = None
        self._streams: Streams | None = None
        self._changing = threading.Lock()  # held while streams are opened and closed
        self._stopped, self._ended = threading.Event(), threading.Event()
        self._error: BaseException | None = None
        self._lost: str | None = None
        self._seen: list[tuple[float, float]] = []  # of each stream: the pulse, and when it last changed
        self._probe()

    @property
    def input_rate(self) -> int:
        """See `AudioBackend`."""
        return self._plan.capture_rate

    def start(self, process: LiveProcess, pump: Pump | None, lag: int) -> None:
        """See `AudioBackend`; `lag` is of no use to a device that has no end.

        Raises:
            StreamsepError: the device refuses, by now.
        """
        self._process, self._pump = process, pump
        with self._changing:
            self._open()

    def stop(self) -> None:
        """See `AudioBackend`; takes half a second at most, even if the sound server hangs."""
        self._stopped.set()
        if not self._changing.acquire(timeout=_STOP_SECONDS):
            pa_library.abandon(pa_library.load()._lib)  # `reopen` hangs in it
            return
        try:
            self._close()
        finally:
            self._changing.release()

    def wait(self, timeout: float) -> bool:
        """See `AudioBackend`."""
        ended = self._ended.wait(timeout)
        if self._error is not None:
            raise self._error
        return ended

    @property
    def lost(self) -> str | None:
        """Why no more blocks come, in a sentence, or None; to be asked several times a second."""
        if self._lost is None and self._changing.acquire(blocking=False):
            try:
                self._lost = self._diagnose(self._streams) if self._streams else None
            finally:
                self._changing.release()
        return self._lost

    def reopen(self) -> bool:
        """Try once to find the devices again, by name; True when blocks flow. May block for seconds."""
        with self._changing:
            if self._stopped.is_set():
                return False
            self._close()
            try:
                pa_library.restart()
                self._plan = plan_again(self.config, self._plan)
                streams = self._open()
            except StreamsepError as error:
                self._lost = str(error)
                return False
            if not self._flows(streams):
                self._lost = f"{self.names[1]} is there, but delivers nothing"
                self._close()
                return False
            self._lost = None
            return True

    def _probe(self) -> None:
        """Open and close, for what the device says about it; JACK's ports say it without, and would be numbered on."""
        if self._plan.output.hostapi == JACK:
            self.latency = self._plan.frames((0.0, 0.0))
            return
        silent = Callbacks(_silence, _silence, 0, lambda: None)
        streams = Streams(self._plan, silent, self.config.exclusive)
        self.latency = streams.latency
        streams.close(_START_SECONDS)

    def _open(self) -> Streams:
        streams = self._streams = Streams(self._plan, self._callbacks(), self.config.exclusive)
        self.latency = streams.latency
        self._seen = [(pulse, time.monotonic()) for pulse in streams.pulse]
        try:
            streams.start()
        except StreamsepError:
            self._close()
            raise
        return streams

    def _close(self) -> None:
        streams, self._streams = self._streams, None
        if streams is not None:
            # A stream that ends without being told to is one of a dead server; JACK's cannot be closed any more.
            jack = self._plan.output.hostapi == JACK
            streams.close(_STOP_SECONDS, dead=jack and not self._ended.is_set() and not streams.active)

    def _callbacks(self) -> Callbacks:
        compiled = self._process.compiled  # which in lock step waits for the worker by itself
        if compiled is None:
            return Callbacks(self._play, self._capture, 0, self._finished)
        return Callbacks(compiled.callback, compiled.capture, compiled.userdata, self._finished)

    def _play(self, *block: Any) -> None:
        """The callback of `sounddevice`: ([indata,] outdata, frames, time, status)."""
        outdata, _, _, status = block[-4:]
        indata: Audio = np.zeros((0, len(outdata)), dtype=np.float32) if self.separate else block[0].T
        try:
            self._process(indata, outdata.T, _lossy(status))
            if self._pump is not None:
                self._pump()
        except BaseException as error:
            self._fail(error)
        if self._process.ended:
            raise pa_library.load().CallbackStop

    def _capture(self, indata: Any, frames: int, when: Any, status: Any) -> None:
        try:
            self._process.capture(indata.T)
        except BaseException as error:
            self._fail(error)

    def _fail(self, error: BaseException) -> None:
        self._error = error
        self._ended.set()
        raise pa_library.load().CallbackAbort from error

    def _finished(self) -> None:
        if self._process.ended:
            self._ended.set()

    def _diagnose(self, streams: Streams) -> str | None:
        if self._ended.is_set() or self._process.ended:
            return None
        name = " and ".join(dict.fromkeys(self.names))
        if not streams.active:
            return f"{name} is gone: unplugged, or its sound server has ended"
        now = time.monotonic()
        pairs = zip(streams.pulse, self._seen, strict=True)
        self._seen = [seen if pulse == seen[0] else (pulse, now) for pulse, seen in pairs]
        silent = now - min(changed for _, changed in self._seen)
        longest = max(_SILENT_SECONDS, 4 * self.max_block / self.sample_rate)
        return f"{name} has delivered nothing for {silent:.1f} s" if silent > longest else None

    def _flows(self, streams: Streams) -> bool:
        """Whether blocks come, several of them, within a time that a server may take to begin."""
        deadline = time.monotonic() + max(_START_SECONDS, 10 * self.max_block / self.sample_rate)
        last, changes = streams.pulse, [0] * len(self._seen)
        while time.monotonic() < deadline and not self._stopped.is_set():
            pulse = streams.pulse
            changes = [count + (new != old) for count, new, old in zip(changes, pulse, last, strict=True)]
            if min(changes) >= _FLOWING:
                return True
            last = pulse
            time.sleep(0.005)
        return False


def _silence(*block: Any) -> None:
    """A callback for streams that are never started."""


def _lossy(status: Any) -> bool:
    return bool(status.input_overflow or status.input_underflow or status.output_overflow or status.output_underflow)
