"""Faults at real sizes: what is heard during each, that nothing clicks, and that the delay is the same afterwards."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from torch import Tensor

from streamsep.engine.backends.clocked import Clocking, Faults
from streamsep.engine.backends.fake import FakeDevice
from streamsep.engine.executor import make_executor
from streamsep.engine.recorder import Recorder
from streamsep.engine.stream import Stream
from streamsep.engine.stream_config import StreamConfig
from streamsep.engine.thread_host import ThreadHost
from streamsep.files import Codec, read_audio
from tests.engine_toys import Audio, DelaySplit, PastState, delayed
from tests.hosts import wait_until
from tests.programmes import (
    BLOCK,
    FADE,
    HOP,
    LATENCY,
    LEVEL,
    check,
    greatest_step,
    longest_silence,
    make,
    played_by,
    programme,
)


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
