"""Streams at real sizes: any block, any rate, recordings to the sample, and a thousand starts and stops."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil
import pytest

from streamsep.engine.backends.clocked import Clocking
from streamsep.engine.backends.fake import FakeDevice
from streamsep.engine.executor import make_executor
from streamsep.engine.host import Host
from streamsep.engine.process_host import ProcessHost
from streamsep.engine.stream import Stream
from streamsep.engine.stream_config import StreamConfig
from streamsep.engine.thread_host import ThreadHost
from streamsep.files import Codec, read_audio
from tests.engine_toys import SHARES, DelaySplit, delayed, noise, run_stream
from tests.hosts import TOY, wait_until
from tests.programmes import BLOCK, FADE, HOP, LATENCY, make, played_by, programme


def test_two_hundred_random_block_sizes() -> None:
    sizes = tuple(int(size) for size in np.random.default_rng(7).integers(1, 8194, 200))
    samples = noise(sum(sizes))
    device = FakeDevice(samples, 8, clocking=Clocking(sizes))
    host = ThreadHost(make_executor("eager", DelaySplit(HOP, LATENCY), max_chunk=17))
    stream = Stream(host, device, StreamConfig(output="stems"))
    run_stream(stream)
    expected = delayed(samples, stream.delay, device.played.shape[1])
    for number, share in enumerate(SHARES):
        np.testing.assert_array_equal(device.played[2 * number : 2 * number + 2], expected * np.float32(share))
    assert stream.report().dry_blocks == 0


@pytest.mark.parametrize("rate", [8000, 11025, 16000, 22050, 32000, 44100, 48000, 88200, 96000, 176400, 192000])
def test_sample_rates(rate: int) -> None:
    samples = programme(1.5, rate)
    stream = make(DelaySplit(HOP, LATENCY), samples, rate=rate, queue=2)
    played = played_by(stream)
    begin = stream.delay + rate // 20
    np.testing.assert_allclose(
        played[:, begin : samples.shape[1]], samples[:, rate // 20 : samples.shape[1] - stream.delay], atol=2e-4
    )
    assert stream.report().dry_blocks == 0
    lag = stream.budget.milliseconds(stream.budget.lag + stream.budget.resampling)
    assert lag == pytest.approx(1000 * stream.delay / rate, abs=1e-6)


def test_a_recording_is_the_mix_and_the_stems_to_the_sample(tmp_path: Path) -> None:
    samples = noise(3 * 44100)
    device = FakeDevice(samples, clocking=Clocking(BLOCK, realtime=True))
    host = ThreadHost(make_executor("eager", DelaySplit(HOP, LATENCY), max_chunk=4))
    stream = Stream(host, device, StreamConfig(fade=FADE, queue=60, record_seconds=2.0))
    stream.set_mute("bass", True)
    stream.start()
    takes = []
    for _ in range(2):
        stream.record(tmp_path, Codec("wav", 32))
        wait_until(stream, lambda: (stream.recording or 0) > 0.5)
        takes.append(stream.stop_recording())
    stream.close()
    host.close()
    assert takes[0] != takes[1]
    for paths in takes:
        assert [path.name for path in paths] == [f"{name}.wav" for name in ("mix", *DelaySplit().sources)]
        mix, *stems = (read_audio(path)[0] for path in paths)
        assert mix.shape[1] > 22050
        start = next(i for i in range(samples.shape[1]) if (samples[:, i : i + 50] == mix[:, :50]).all())
        np.testing.assert_array_equal(mix, samples[:, start : start + mix.shape[1]])
        for stem, share in zip(stems, SHARES, strict=True):
            np.testing.assert_array_equal(stem, mix * np.float32(share))


def test_a_recording_from_the_start_misses_nothing(tmp_path: Path) -> None:
    samples = noise(5000)
    device = FakeDevice(samples, clocking=Clocking(BLOCK))
    host = ThreadHost(make_executor("eager", DelaySplit(HOP, LATENCY), max_chunk=4))
    stream = Stream(host, device, StreamConfig(fade=FADE, record_seconds=2.0))
    stream.start(lambda: stream.record(tmp_path, Codec("wav", 32)))
    while not stream.wait(0.05):
        pass
    mix, *stems = (read_audio(path)[0] for path in stream.stop_recording())
    stream.close()
    host.close()
    assert mix.shape[1] >= 5000
    np.testing.assert_array_equal(mix[:, :5000], samples)
    for stem, share in zip(stems, SHARES, strict=True):
        np.testing.assert_array_equal(stem, mix * np.float32(share))


def cycles(host: Host, count: int) -> None:
    """Start and stop that many streams; nothing may be left of them."""
    me = psutil.Process()

    def things() -> tuple[int, int, int, int]:
        shared = sum("psm_" in area.path for area in me.memory_maps())
        return me.num_fds(), threading.active_count(), len(me.children()), shared

    def once() -> None:
        stream = Stream(host, FakeDevice(noise(64), clocking=Clocking(64, True)), StreamConfig(restart=True))
        stream.start()
        stream.wait(0.0)
        stream.close()

    for _ in range(3):
        once()
    before, memory = things(), me.memory_info().rss
    for _ in range(count):
        once()
    assert all(now <= then for now, then in zip(things(), before, strict=True))
    assert me.memory_info().rss - memory < 30e6


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["thread", "process"])
def test_a_thousand_starts_and_stops(kind: str) -> None:
    hosts: dict[str, Callable[[], Host]] = {"thread": lambda: ThreadHost(TOY()), "process": lambda: ProcessHost(TOY)}
    host = hosts[kind]()
    cycles(host, 1000)
    host.close()


@pytest.mark.slow
def test_processes_come_and_go() -> None:
    me = psutil.Process()
    ProcessHost(TOY).close()
    before = me.num_fds(), threading.active_count(), len(me.children())
    for _ in range(5):
        host = ProcessHost(TOY)
        cycles(host, 1)
        host.close()
    assert (me.num_fds(), threading.active_count(), len(me.children())) == before
