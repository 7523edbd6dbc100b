"""Faults at real sizes: what is heard during each, that nothing clicks, and that the delay is afterwards what it was.

The programme is a pair of sines in quadrature: its magnitude over both channels never moves, so silence and clicks have
nowhere to hide. The stems of the toy sum to the mix.
"""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from torch import Tensor

from streamsep.engine.backends.clocked import Clocking, Faults
from streamsep.engine.backends.fake import FakeDevice
from streamsep.engine.executor import make_executor
from streamsep.engine.host import Host
from streamsep.engine.process_host import ProcessHost
from streamsep.engine.recorder import Recorder
from streamsep.engine.stream import Stream
from streamsep.engine.stream_config import StreamConfig
from streamsep.engine.thread_host import ThreadHost
from streamsep.files import Codec, read_audio
from tests.engine_toys import SHARES, Audio, DelaySplit, PastState, delayed, noise, run_stream
from tests.test_engine_hosts import TOY, wait_until

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


@pytest.mark.parametrize("seconds", [0.05, 0.5, 5.0])
def test_a_stalled_worker(seconds: float) -> None:
    samples = programme(8.0)
    blocks = round(seconds * 44100 / BLOCK)
    stream = make(DelaySplit(HOP, LATENCY), samples, faults=Faults(stalled=frozenset(range(200, 200 + blocks))))
    played = played_by(stream)
    check(stream, played, samples)
    report = stream.report()
    assert report.fades == 1
    assert report.late_hops + report.skipped_hops > 0
    # From the mix to stems that sum to the mix: nothing of it may be heard.
    np.testing.assert_allclose(played, delayed(samples, stream.delay, played.shape[1]), atol=1e-6)


@pytest.mark.parametrize("seconds", [0.05, 0.5, 5.0])
def test_a_stalled_worker_of_a_karaoke_is_silence_and_never_the_singer(seconds: float) -> None:
    samples = programme(8.0)
    blocks = round(seconds * 44100 / BLOCK)
    faults = Faults(stalled=frozenset(range(200, 200 + blocks)))
    stream = make(DelaySplit(HOP, LATENCY), samples, faults=faults, on_overload="mute")
    stream.set_mute("drums", True)
    played = played_by(stream)
    assert np.hypot(*played).max() <= LEVEL / 2 + 1e-6
    assert greatest_step(played[:, stream.delay : samples.shape[1]]) <= greatest_step(samples) + LEVEL / FADE
    assert longest_silence(played[:, stream.delay : samples.shape[1]]) < blocks * BLOCK + 0.15 * 44100


class FailsAt(DelaySplit):
    """Fails at the steps in `failures`, whatever state it is given."""

    def __init__(self, failures: set[int]) -> None:
        super().__init__(HOP, LATENCY)
        self._failures, self._steps = failures, 0

    def step(self, mix: Tensor, state: PastState) -> tuple[Tensor, PastState]:
        self._steps += 1
        if self._steps in self._failures:
            raise RuntimeError("boom")
        return super().step(mix, state)


def failing(failures: set[int], samples: Audio, kind: type[ThreadHost] = ThreadHost) -> Stream:
    """A stream in real time whose steps fail at `failures`; what is heard is checked."""
    device = FakeDevice(samples, clocking=Clocking(BLOCK, realtime=True))
    host = kind(make_executor("eager", FailsAt(failures), max_chunk=4))
    stream = Stream(host, device, StreamConfig(fade=FADE, queue=20, restart=True))
    stream.start()
    while not stream.wait(0.02):
        pass
    stream.close()
    host.close()
    check(stream, device.played, samples)
    return stream


def test_an_executor_that_raises_is_replaced_by_a_fresh_one() -> None:
    samples = programme(3.0)
    stream = failing({60}, samples)
    report = stream.report()
    assert (report.worker_restarts, report.fades, report.error) == (1, 1, None)
    assert "RuntimeError: boom" in stream.events()[0]


class Lingering(ThreadHost):
    """Its thread, like one the scheduler has put aside, ends a while after it has told its error."""

    def _run(self) -> None:
        super()._run()
        time.sleep(0.1)


def test_a_thread_that_has_told_its_error_is_replaced_once_though_it_lingers() -> None:
    assert failing({60}, programme(3.0), Lingering).report().worker_restarts == 1


class StuckAt(DelaySplit):
    """Its step number `step` takes until `go_on` is set."""

    def __init__(self, step: int) -> None:
        super().__init__(HOP, LATENCY)
        self._left, self.go_on = step, threading.Event()

    def step(self, mix: Tensor, state: PastState) -> tuple[Tensor, PastState]:
        self._left -= 1
        if self._left == 0:
            self.go_on.wait()
        return super().step(mix, state)


def test_a_stuck_thread_is_told_of_and_not_said_to_be_started_anew() -> None:
    model = StuckAt(60)
    host = ThreadHost(make_executor("eager", model, max_chunk=4))
    device = FakeDevice(programme(30.0), clocking=Clocking(BLOCK, realtime=True))
    stream = Stream(host, device, StreamConfig(fade=FADE, queue=20, restart=True))
    stream._supervisor._patience = 0.3
    events: list[str] = []

    def told(count: int) -> bool:
        events.extend(stream.events())
        return len(events) >= count

    stream.start()
    wait_until(stream, lambda: told(1))
    model.go_on.set()
    wait_until(stream, lambda: told(2))
    stream.close()
    host.close()
    assert events == ["the worker has stopped (it is stuck)", "the worker is back"]
    assert stream.report().worker_restarts == 0


def test_an_executor_that_always_raises_leaves_the_mix() -> None:
    samples = programme(2.0)
    stream = failing(set(range(60, 10**6)), samples)
    assert stream.report().worker_restarts >= 1  # how often in how long: test_engine_supervisor


def test_what_is_not_a_number_is_silence() -> None:
    samples = programme(3.0)
    stream = make(DelaySplit(HOP, LATENCY), samples, faults=Faults(corrupted=frozenset({200, 201, 300})))
    played = played_by(stream)
    assert np.isfinite(played).all()
    expected = delayed(samples, stream.delay, played.shape[1])
    broken = [slice(b * BLOCK + stream.delay, (b + 1) * BLOCK + stream.delay) for b in (200, 201, 300)]
    for part in broken:
        np.testing.assert_array_equal(played[:, part], 0)
        expected[:, part] = 0
    np.testing.assert_allclose(played, expected, atol=1e-6)


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


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one megabyte."""
    place = tmp_path / "small"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", place], capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip("cannot mount a small disk here")
    yield place
    subprocess.run(["umount", "-l", place], check=True)


def test_a_full_disk_ends_the_recording_and_nothing_else(small_disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamsep.engine.stream.Recorder", partial(Recorder, reserve=0))
    samples = programme(4.0)
    device = FakeDevice(samples, clocking=Clocking(BLOCK, realtime=True))
    host = ThreadHost(make_executor("eager", DelaySplit(HOP, LATENCY), max_chunk=4))
    stream = Stream(host, device, StreamConfig(fade=FADE, queue=30, record_seconds=1.0))
    stream.start()
    stream.record(small_disk, Codec("wav", 32))
    while not stream.wait(0.02):
        pass
    events = stream.events()
    stream.close()
    host.close()
    assert len(events) == 1 and str(small_disk) in events[0]
    check(stream, device.played, samples)
    lengths = {read_audio(path)[0].shape[1] for path in small_disk.glob("*/*.wav")}
    assert len(list(small_disk.glob("*/*.wav"))) == 5
    assert min(lengths) > 4410


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
