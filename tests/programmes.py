"""A programme that shows every fault: a pair of sines in quadrature, and streams that play it at real sizes.

Its magnitude over both channels never moves, so silence and clicks have nowhere to hide. The stems of the toy sum to
the mix.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from streamsep.engine.backends.clocked import Clocking, Faults
from streamsep.engine.backends.fake import FakeDevice
from streamsep.engine.executor import make_executor
from streamsep.engine.stream import Stream
from streamsep.engine.stream_config import StreamConfig
from streamsep.engine.thread_host import ThreadHost
from tests.engine_toys import Audio, delayed, run_stream

HOP, LATENCY, BLOCK, FADE = 512, 512, 256, 64
LEVEL = 0.5


def programme(seconds: float, rate: int = 44100, hertz: float = 110.0) -> Audio:
    """`[2, T]` of constant magnitude."""
    phase = 2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate
    return (LEVEL * np.stack([np.cos(phase), np.sin(phase)])).astype(np.float32)


def greatest_step(samples: Audio) -> float:
    return float(np.abs(np.diff(samples)).max())


def longest_silence(played: Audio) -> int:
    """Frames in a row whose magnitude is below a tenth of the programme's."""
    quiet = np.hypot(*played) < LEVEL / 10
    edges = np.flatnonzero(np.diff(np.concatenate([[0], quiet, [0]])))
    return int(max(edges[1::2] - edges[::2], default=0))


def make(separator: Any, samples: Audio, *, faults: Faults | None = None, rate: int = 44100, **config: Any) -> Stream:
    device = FakeDevice(samples, sample_rate=rate, clocking=Clocking(config.pop("blocks", BLOCK)), faults=faults)
    host = ThreadHost(make_executor("eager", separator, max_chunk=4))
    return Stream(host, device, StreamConfig(fade=FADE, **config))


def played_by(stream: Stream) -> Audio:
    run_stream(stream)
    assert isinstance(stream.backend, FakeDevice)
    return stream.backend.played


def check(stream: Stream, played: Audio, samples: Audio, silence: int = FADE) -> None:
    """No click, no silence beyond the fade, and the first and last half second at the declared delay."""
    body = played[:, stream.delay : samples.shape[1]]
    # Two sounds of the programme's slope, and the slope of the fade between them.
    assert greatest_step(body) <= 2 * greatest_step(samples) + LEVEL / FADE
    assert longest_silence(body) <= silence
    expected = delayed(samples, stream.delay, played.shape[1])
    for part in (slice(0, 22050), slice(samples.shape[1] - 22050, samples.shape[1])):
        np.testing.assert_allclose(played[:, part], expected[:, part], atol=1e-6)
