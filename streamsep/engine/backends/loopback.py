"""The round trip of a device, measured: noise bursts leave by its outputs and are looked for at its inputs.

The burst is white, so that its correlation with what is heard has one narrow peak, which is found to a small part of a
frame; speakers, rooms and cables that colour it do no harm, and neither does an inverted one.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from streamsep.engine.backends.base import AudioBackend, CompiledProcess, LiveProcess, Pump
from streamsep.engine.ring import Audio
from streamsep.errors import StreamsepError

_BURST = 2048  # frames
_LEAD_SECONDS = 0.5  # before the first burst: a device settles
_FINER = 16  # points of the correlation for each frame
_NARROW = 8.0  # a peak this many times above the deviation of the correlation is the burst and not chance
_QUIET = 1e-5


@dataclass(frozen=True)
class RoundTrip:
    """What came back.

    Attributes:
        frames: from an output block to the input block that holds the same sound, by index; the median.
        spread: greatest difference between two bursts, in frames; a device that keeps its delay stays well below one.
        found: bursts that came back.
        repeats: bursts that were played.
        gain: level of what came back over what was played, as a factor.
        sample_rate: in Hz.
    """

    frames: float
    spread: float
    found: int
    repeats: int
    gain: float
    sample_rate: int

    @property
    def milliseconds(self) -> float:
        """`frames` as time."""
        return 1000.0 * self.frames / self.sample_rate


class LoopbackDevice(AudioBackend):
    """A device with an output connected to an input, which plays bursts in place of what it is given.

    Given to a stream in the place of `device`, it measures the whole way, engine included: what the stream plays is
    heard by the measurement alone. With separate input and output devices only the whole way can be measured, as only
    the engine knows how their clocks relate.

    Args:
        device: is opened by `start`; must not be in use.
        repeats: bursts to play.
        level: of the bursts, as a factor of full scale.
        seconds: between bursts; also the longest round trip that can be found.
    """

    def __init__(self, device: AudioBackend, repeats: int = 5, level: float = 0.25, seconds: float = 1.0) -> None:
        self._device, self._repeats = device, repeats
        self.sample_rate, self.inputs, self.outputs = device.sample_rate, device.inputs, device.outputs
        self.block, self.max_block, self.latency = device.block, device.max_block, device.latency
        self.lock_step, self.separate, self.input_block = device.lock_step, device.separate, device.input_block
        self._interval = max(2 * _BURST, round(seconds * device.sample_rate))
        self._lead = round(_LEAD_SECONDS * device.sample_rate)
        self._burst: Audio = np.random.default_rng(0).choice(np.array([-level, level], dtype=np.float32), _BURST)
        self._probe: _Probe | None = None

    @property
    def input_rate(self) -> int:
        """See `AudioBackend`."""
        return self._device.input_rate

    @property
    def lost(self) -> str | None:
        """See `AudioBackend`."""
        return self._device.lost

    def start(self, process: LiveProcess | None, pump: Pump | None, lag: int) -> None:
        """See `AudioBackend`; without a process, the device alone is measured."""
        if process is None and self.separate:
            raise StreamsepError("two devices have no round trip of their own; measure with one, or with the engine")
        total = self._lead + self._repeats * self._interval
        played: Audio = np.zeros(total, dtype=np.float32)
        for start in range(self._lead, total, self._interval):
            played[start : start + _BURST] = self._burst
        channels = self.inputs if process is None else self.outputs
        self._probe = _Probe(played, np.zeros((channels, total), dtype=np.float32), process)
        self._device.start(self._probe, pump, lag)

    def stop(self) -> None:
        """See `AudioBackend`."""
        self._device.stop()

    def wait(self, timeout: float) -> bool:
        """See `AudioBackend`; True once all bursts have been played and had their time to come back."""
        deadline = time.monotonic() + timeout
        while self._probe is None or not self._probe.ended:
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            if self._device.wait(min(left, 0.02)) or self._device.lost:
                break
        return True

    def result(self) -> RoundTrip:
        """What came back.

        Raises:
            StreamsepError: nothing did, or nothing that can be recognised.
        """
        assert self._probe is not None, "not started"
        heard, begins = self._probe.heard, range(self._lead, self._probe.played.size, self._interval)
        places = [self._find(heard[:, begin : begin + self._interval]) for begin in begins]
        found = [place for place in places if place is not None]
        if 2 * len(found) <= len(places):
            raise _nothing(float(np.abs(heard).max()))
        delays, gains = np.array(found).T
        spread = float(delays.max() - delays.min())
        return RoundTrip(
            float(np.median(delays)), spread, len(found), len(places), float(np.median(gains)), self.sample_rate
        )

    def _find(self, heard: Audio) -> tuple[float, float] | None:
        """(frames, gain) of the burst in `heard [C, T]`, on the channel where it is clearest."""
        power = float(np.sum(self._burst.astype(np.float64) ** 2))
        best: tuple[float, float, float] | None = None
        for channel in heard:
            correlation = correlate(self._burst, channel)
            peak = int(np.argmax(np.abs(correlation)))
            clear = abs(correlation[peak]) / (float(np.std(correlation)) + 1e-30)
            if best is None or clear > best[0]:
                best = clear, peak / _FINER, abs(correlation[peak]) / power
        if best is None or best[0] < _NARROW or best[2] < _QUIET:
            return None
        return best[1:]


def measure_round_trip(device: AudioBackend, repeats: int = 5, level: float = 0.25, seconds: float = 1.0) -> RoundTrip:
    """Measure a device alone, through a cable from an output to an input; takes `repeats * seconds`.

    All outputs play the bursts. The device is stopped afterwards.

    Raises:
        StreamsepError: nothing came back, or nothing that can be recognised; the device is lost, or does not open.
    """
    loop = LoopbackDevice(device, repeats, level, seconds)
    try:
        loop.start(None, (lambda: None) if device.lock_step else None, 0)
        loop.wait(2 * (_LEAD_SECONDS + repeats * max(seconds, 2 * _BURST / device.sample_rate)) + 5)
        if device.lost is not None:
            raise StreamsepError(device.lost)
    finally:
        device.stop()
    return loop.result()


def correlate(burst: Audio, heard: Audio) -> NDArray[np.float64]:
    """Correlation of `burst` with `heard`, for delays from 0 on in steps of 1 / 16 frame, by zero-padded spectra."""
    size = 1 << (len(heard) + len(burst)).bit_length()
    spectrum = np.conj(np.fft.rfft(burst, size)) * np.fft.rfft(heard, size)
    return np.fft.irfft(spectrum, size * _FINER)[: len(heard) * _FINER] * _FINER


class _Probe:
    """The callback: plays `played [T]` on all channels, keeps in `heard [C, T]` what the input or `inner` delivers."""

    compiled: CompiledProcess | None = None

    def __init__(self, played: Audio, heard: Audio, inner: LiveProcess | None) -> None:
        self.played, self.heard = played, heard
        self._inner, self._index = inner, 0

    @property
    def ended(self) -> bool:
        return self._index >= self.played.size

    def __call__(self, indata: Audio, outdata: Audio, xrun: bool = False) -> None:
        came = indata
        if self._inner is not None:
            self._inner(indata, outdata, xrun)
            came = outdata
        piece = self.played[self._index : self._index + outdata.shape[1]]
        self.heard[:, self._index : self._index + piece.size] = came[:, : piece.size]
        outdata[:] = 0.0
        outdata[:, : piece.size] = piece
        self._index += outdata.shape[1]

    def capture(self, indata: Audio) -> None:
        if self._inner is not None:
            self._inner.capture(indata)


def _nothing(peak: float) -> StreamsepError:
    if peak < _QUIET:
        return StreamsepError("nothing comes back; connect an output to an input with a cable, and turn both up")
    came = f"what comes back (peak {20 * np.log10(peak):.0f} dBFS) is not what was played"
    return StreamsepError(f"{came}; connect an output to an input with a cable, and check the levels")
