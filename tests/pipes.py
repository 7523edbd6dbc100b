"""Two real pipes for a device between them, and a callback that plays its input late."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from streamsep.engine.backends.base import AudioBackend
from streamsep.engine.ring import Audio

LAG = 37


class Echo:
    """A callback that plays its input on all pairs of outputs, `LAG` frames late."""

    ended, compiled = False, None

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.pumped = 0
        self._past: Audio = np.zeros((2, LAG), np.float32)

    def __call__(self, indata: Audio, outdata: Audio, xrun: bool = False) -> None:
        self.sizes.append(indata.shape[1])
        joined = np.concatenate([self._past, indata], axis=1)
        for first in range(0, outdata.shape[0], 2):
            outdata[first : first + 2] = joined[:, : indata.shape[1]]
        self._past = joined[:, indata.shape[1] :]

    def capture(self, indata: Audio) -> None:
        raise AssertionError("this device is one")

    def pump(self) -> None:
        self.pumped += 1


class Pipes:
    """A pipe in, a pipe out, and threads that feed the one and empty the other."""

    def __init__(self) -> None:
        (self.source, self.feed), (self.drain, self.sink) = os.pipe(), os.pipe()
        self.heard = bytearray()
        self._open = {self.source, self.feed, self.drain, self.sink}
        self._threads: list[threading.Thread] = []

    def send(self, data: bytes, cuts: Callable[[], int] = lambda: 65536) -> None:
        """Feed `data` in pieces of `cuts()` bytes, then end the stream."""

        def feed() -> None:
            position = 0
            while position < len(data):
                position += os.write(self.feed, data[position : position + cuts()])
            self.close(self.feed)

        self._go(feed)

    def listen(self) -> None:
        def hear() -> None:
            while piece := os.read(self.drain, 65536):
                self.heard.extend(piece)

        self._go(hear)

    def close(self, number: int) -> None:
        if number in self._open:
            self._open.remove(number)
            os.close(number)

    def end(self) -> bytes:
        """All that was heard, once the device is done."""
        self.close(self.sink)
        for thread in self._threads:
            thread.join(20)
            assert not thread.is_alive()
        return bytes(self.heard)

    def tidy(self) -> None:
        for number in list(self._open):
            self.close(number)

    def _go(self, function: Callable[[], None]) -> None:
        self._threads.append(threading.Thread(target=function))
        self._threads[-1].start()


@pytest.fixture(name="pipes")
def pipes_fixture() -> Iterator[Pipes]:
    made = Pipes()
    yield made
    made.tidy()


def play(device: AudioBackend, echo: Echo | None = None) -> Echo:
    echo = echo or Echo()
    device.start(echo, echo.pump, LAG)
    try:
        while not device.wait(0.05):
            pass
    finally:
        device.stop()
    return echo


def noise(frames: int, channels: int = 2) -> Audio:
    return np.random.default_rng(0).uniform(-0.5, 0.5, (channels, frames)).astype(np.float32)


def echoed(samples: Audio, played: Audio) -> None:
    """`played` is `samples`, `LAG` later, with silence around it."""
    frames = samples.shape[1]
    assert played.shape[1] >= frames + LAG
    np.testing.assert_array_equal(played[:, LAG : LAG + frames], samples)
    assert not played[:, :LAG].any()
    assert not played[:, LAG + frames :].any()
