"""The measured round trip, on devices whose output runs into their input."""

from __future__ import annotations

import numpy as np
import pytest

from streamsep.engine.backends.clocked import ClockedDevice, Clocking
from streamsep.engine.backends.loopback import LoopbackDevice, correlate, measure_round_trip
from streamsep.engine.ring import Audio
from streamsep.errors import StreamsepError
from tests.audio_children import Gains


class Cable:
    """Source and sink: what was played comes back `delay` frames later, through `gain`, with noise."""

    def __init__(self, delay: int, gain: float = 1.0, noise: float = 0.0, outputs: int = 2) -> None:
        self._line: Audio = np.zeros((outputs, delay), dtype=np.float32)
        self._gain, self._noise, self._rng = gain, noise, np.random.default_rng(1)

    def read(self, out: Audio) -> int:
        frames = out.shape[1]
        out[:] = self._gain * self._line[:2, :frames] + self._noise * self._rng.standard_normal(out.shape)
        self._line = self._line[:, frames:]
        return frames

    def write(self, block: Audio) -> None:
        self._line = np.concatenate([self._line, block], axis=1)


def looped(cable: Cable, blocks: int | tuple[int, ...] = 256, outputs: int = 2) -> ClockedDevice:
    return ClockedDevice(cable, cable, outputs, clocking=Clocking(blocks))


@pytest.mark.parametrize(("delay", "blocks"), [(256, 256), (1000, 64), (5000, (1, 200, 77)), (8000, 1024)])
def test_the_delay_of_a_cable_is_found(delay: int, blocks: int | tuple[int, ...]) -> None:
    trip = measure_round_trip(looped(Cable(delay, gain=0.5), blocks), repeats=3, seconds=0.3)
    assert trip.frames == pytest.approx(delay, abs=1e-6) and trip.spread == pytest.approx(0, abs=1e-6)
    assert (trip.found, trip.repeats, trip.sample_rate) == (3, 3, 44100)
    assert trip.gain == pytest.approx(0.5, rel=1e-3)
    assert trip.milliseconds == pytest.approx(1000 * delay / 44100)


def test_noise_and_polarity_do_no_harm() -> None:
    # The bursts are at -12 dBFS; the noise is 12 dB above what comes back of them.
    trip = measure_round_trip(looped(Cable(777, gain=-0.02, noise=0.02)), repeats=4, seconds=0.3)
    assert trip.frames == pytest.approx(777, abs=0.3) and trip.found >= 3


def test_fractions_of_a_frame_are_found(rng: np.random.Generator) -> None:
    burst = rng.choice(np.array([-1, 1], dtype=np.float32), 2048)
    spectrum = np.fft.rfft(burst, 8192)
    shift = np.exp(-2j * np.pi * np.arange(len(spectrum)) * 1234.3125 / 8192)
    heard = np.fft.irfft(spectrum * shift).astype(np.float32)
    assert int(np.argmax(correlate(burst, heard))) / 16 == 1234.3125


@pytest.mark.parametrize(
    ("cable", "error"),
    [
        (Cable(500, gain=0.0), "nothing comes back; connect an output to an input with a cable, and turn both up"),
        (
            Cable(500, gain=0.0, noise=0.1),
            r"what comes back \(peak -\d+ dBFS\) is not what was played; connect an output",
        ),
        (Cable(30000), r"what comes back .* is not what was played|nothing comes back"),
    ],
)
def test_no_cable_is_told(cable: Cable, error: str) -> None:
    with pytest.raises(StreamsepError, match=error):
        measure_round_trip(looped(cable), repeats=1, seconds=0.3)


class Late(Gains):
    """Passes the input on, `delay` frames late, as an engine would."""

    def __init__(self, delay: int) -> None:
        super().__init__()
        self._line: Audio = np.zeros((2, delay), dtype=np.float32)
        self.given: list[float] = []

    def __call__(self, indata: Audio, outdata: Audio, xrun: bool = False) -> None:
        self._line = np.concatenate([self._line, indata], axis=1)
        outdata[:] = np.tile(self._line[:, : outdata.shape[1]], (len(outdata) // 2, 1))
        self._line = self._line[:, outdata.shape[1] :]
        self.given.append(float(np.abs(indata).max()))


def test_with_an_engine_between_the_whole_way_is_measured() -> None:
    process = Late(600)
    loop = LoopbackDevice(looped(Cable(512, outputs=4), outputs=4), repeats=2, seconds=0.3)
    loop.start(process, lambda: None, 600)
    while not loop.wait(1):
        pass
    loop.stop()
    trip = loop.result()
    assert trip.frames == pytest.approx(1112, abs=1e-6) and trip.found == 2
    assert max(process.given) == 0.25  # its own output does not come back to it


def test_two_clocks_alone_are_refused() -> None:
    device = looped(Cable(256))
    device.separate = True
    with pytest.raises(StreamsepError, match="two devices have no round trip of their own; measure with one, or with"):
        measure_round_trip(device, repeats=1)
