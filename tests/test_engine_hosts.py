"""Where inference runs: the same stream from a thread and from a process, begun, ended, killed and revived."""

from __future__ import annotations

import os
import pickle
import signal
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import psutil
import pytest

from streamsep.engine.backends.clocked import Clocking
from streamsep.engine.backends.fake import FakeDevice
from streamsep.engine.executor import Executor, make_executor
from streamsep.engine.host import Host
from streamsep.engine.link import Counter
from streamsep.engine.process_host import ProcessHost
from streamsep.engine.stream import Stream, StreamConfig
from streamsep.engine.thread_host import ThreadHost
from streamsep.errors import StreamsepError
from tests.engine_toys import NAMES, DelaySplit, DiesAt, delayed, noise

STEMS = StreamConfig(output="stems", fade=4)


def make(separator: Callable[[], Any], max_chunk: int = 2) -> Executor:
    """What a process calls; it must be found by name."""
    return make_executor("eager", separator(), max_chunk=max_chunk)


def unloadable() -> Executor:
    raise StreamsepError("there is no such model; choose another")


TOY = partial(make, partial(DelaySplit, 8, 24))


@pytest.fixture(scope="module")
def process() -> Iterator[Host]:
    """One process for many streams: it takes seconds to start."""
    host = ProcessHost(TOY, measure=5)
    yield host
    host.close()


@pytest.fixture(params=["thread", "process"])
def host(request: pytest.FixtureRequest) -> Iterator[Host]:
    if request.param == "process":
        yield request.getfixturevalue("process")
    else:
        thread = ThreadHost(TOY(), measure=5)
        yield thread
        thread.close()


def play(host: Host, samples: np.ndarray, config: StreamConfig, realtime: bool = False) -> tuple[Stream, np.ndarray]:
    device = FakeDevice(samples, 8, clocking=Clocking(16, realtime))
    stream = Stream(host, device, config)
    stream.start()
    while not stream.wait(0.05):
        pass
    stream.close()
    return stream, device.played


@pytest.mark.parametrize(
    ("hop", "asked", "steps"), [(512, 200, 200), (11025, 200, 20), (88200, 200, 10), (88200, 5, 5)]
)
def test_long_hops_are_measured_less_often(hop: int, asked: int, steps: int) -> None:
    """Five seconds of sound, and ten steps at least: a model that takes its time must not keep a stream waiting."""
    host = ThreadHost(make(partial(DelaySplit, hop, 0)), measure=asked)
    assert len(host.info.step_times) == steps
    host.close()


def test_it_says_what_it_holds(host: Host) -> None:
    info = host.info
    assert (info.hop, info.latency, info.sample_rate, info.sources) == (8, 24, 44100, NAMES)
    assert (info.max_chunk, info.executor) == (2, "eager")
    assert len(info.step_times) == 5 and min(info.step_times) > 0


def test_one_host_serves_one_stream_after_another(host: Host) -> None:
    for seed in range(3):
        samples = noise(700, seed)
        stream, played = play(host, samples, STEMS)
        assert stream.error is None
        expected = delayed(samples, stream.delay, played.shape[1])
        np.testing.assert_allclose(played.reshape(4, 2, -1).sum(axis=0), expected, atol=1e-7)
        assert stream.report().times.steps >= 700 // 16
        assert not host.alive


def test_in_real_time_the_worker_is_woken(host: Host) -> None:
    samples = noise(8000)
    config = StreamConfig(output="stems", fade=4, queue=200, recover_seconds=0.0)
    stream, played = play(host, samples, config, realtime=True)
    expected = delayed(samples, stream.delay, played.shape[1])
    np.testing.assert_allclose(played.reshape(4, 2, -1).sum(axis=0), expected, atol=1e-6)
    assert stream.report().times.steps > 400


def test_knobs_and_meters_cross_the_border(host: Host) -> None:
    samples = np.ones((2, 600), np.float32)
    device = FakeDevice(samples, 8, clocking=Clocking(16))
    stream = Stream(host, device, STEMS)
    stream.set_gain("bass", 2.0)
    stream.set_mute("vocals", True)
    stream.start()
    while not stream.wait(0.05):
        pass
    stream.close()
    assert stream.levels() == {"drums": 0.5, "bass": 0.5, "other": 0.125, "vocals": 0.0, "input": 1.0, "output": 0.5}


@pytest.mark.parametrize("kind", ["thread", "process"])
def test_a_step_that_fails_ends_the_worker_not_the_sound(kind: str) -> None:
    factory = partial(make, partial(DiesAt, 8, 24))
    host: Host = ThreadHost(factory()) if kind == "thread" else ProcessHost(factory)
    samples = noise(2000)
    stream, played = play(host, samples, StreamConfig(output="stems", fade=4))
    assert stream.error == "RuntimeError: boom"
    tail = slice(1000, 2000)
    expected = delayed(samples, stream.delay, played.shape[1])[:, tail]
    np.testing.assert_allclose(played.reshape(4, 2, -1).sum(axis=0)[:, tail], expected, atol=1e-6)
    host.close()


def test_a_model_that_cannot_be_loaded_over_there_is_told_here() -> None:
    before = set(psutil.Process().children())  # servers of other tests, which stay
    with pytest.raises(StreamsepError, match="no such model"):
        ProcessHost(unloadable)
    left = set(psutil.Process().children()) - before
    assert not [child for child in left if "resource_tracker" not in " ".join(child.cmdline())]


@pytest.mark.parametrize("kind", ["thread", "process"])
def test_a_worker_that_cannot_warm_up_is_told_before_the_device_starts(kind: str) -> None:
    factory = partial(make, partial(DiesAt, 8, 24, step=0))
    host: Host = ThreadHost(factory()) if kind == "thread" else ProcessHost(factory)
    device = FakeDevice(noise(100), 8, clocking=Clocking(16, True))
    stream = Stream(host, device, STEMS)
    with pytest.raises(StreamsepError, match="boom"):
        stream.start()
    assert device.played.shape[1] == 0
    stream.close()
    host.close()


def child_of(host: Host) -> psutil.Process:
    return psutil.Process(host._process.pid)  # type: ignore[attr-defined]


def test_a_killed_process_is_started_anew_and_the_delay_is_what_it_was() -> None:
    host = ProcessHost(TOY)
    samples = noise(44100 * 60)
    device = FakeDevice(samples, 8, clocking=Clocking(64, True))
    config = StreamConfig(output="stems", fade=16, queue=40, recover_seconds=0.01, restart=True)
    stream = Stream(host, device, config)
    stream.set_gain("bass", 0.0)
    stream.start()
    before, fades = separated(stream), stream.report().fades
    os.kill(child_of(host).pid, signal.SIGKILL)
    wait_until(stream, lambda: stream.report().fades > fades)
    heard_dry = stream.position
    wait_until(stream, lambda: host.alive)
    after = separated(stream)
    events = stream.events()
    assert "code -9" in events[0]
    assert events[1:] == ["the worker is started anew", "the worker is back"]
    assert stream.report().worker_restarts == 1
    stream.close()
    host.close()
    played, lag = device.played, stream.delay
    expected = delayed(samples, lag, played.shape[1])
    # Before and after the accident: the stems, with the gain as it was set; in between the mix, never silence.
    for part in (before, after):
        np.testing.assert_array_equal(played[:2, part], expected[:, part] * np.float32(0.5))
        np.testing.assert_array_equal(played[2:4, part], 0)
    part = slice(heard_dry + 1000, heard_dry + 5000)
    np.testing.assert_array_equal(played[2:4, part], expected[:, part] * np.float32(0.25))


def test_a_stopped_process_is_taken_for_stuck_and_replaced() -> None:
    host = ProcessHost(TOY)
    device = FakeDevice(noise(44100 * 30), 8, clocking=Clocking(64, True))
    stream = Stream(host, device, StreamConfig(output="stems", restart=True, recover_seconds=0.0))
    stream._supervisor._patience = 0.5
    stream.start()
    wait_until(stream, lambda: stream.report().times.steps > 100)
    first = child_of(host)
    first.suspend()
    wait_until(stream, lambda: stream.report().worker_restarts == 1)
    wait_until(stream, lambda: host.alive)
    assert not first.is_running()
    assert "it is stuck" in stream.events()[0]
    stream.close()
    host.close()


def wait_until(stream: Stream, true: Callable[[], bool], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it never came"
        stream.wait(0.02)


def live_stream(host: Host, **config: Any) -> Stream:
    """A minute in real time."""
    device = FakeDevice(noise(44100 * 60), 8, clocking=Clocking(64, True))
    return Stream(host, device, StreamConfig(output="stems", **config))


def steps_of(stream: Stream) -> int:
    return stream.report().times.steps


def wait_for_steps(stream: Stream) -> None:
    """Until the worker has done some more."""
    before = steps_of(stream)
    wait_until(stream, lambda: steps_of(stream) > before)


def check_steps(host: Host) -> None:
    """Whether a new stream on the host gets anywhere."""
    stream = live_stream(host)
    stream.start()
    wait_for_steps(stream)
    stream.close()


def test_a_host_at_work_refuses_another_stream_and_works_on(host: Host) -> None:
    first = live_stream(host)
    first.start()
    with pytest.raises(StreamsepError, match="stop that first, or make another host"):
        live_stream(host)
    wait_for_steps(first)
    first.close()
    check_steps(host)


def test_a_stream_whose_host_another_one_has_been_made_on_does_not_start_in_silence(host: Host) -> None:
    first, second = (Stream(host, FakeDevice(noise(640), 8, clocking=Clocking(64)), STEMS) for _ in range(2))
    with pytest.raises(StreamsepError, match="another Stream has been made on this stream's host"):
        first.start()
    second.start()
    while not second.wait(0.05):
        pass
    second.close()
    assert isinstance(second.backend, FakeDevice) and second.backend.played.any()


def test_a_stream_that_ends_while_its_revived_worker_warms_up_leaves_the_host_well() -> None:
    host = ProcessHost(TOY)
    stream = live_stream(host)
    stream.start()
    wait_for_steps(stream)
    host.revive()
    host._hear(*host._pipe.recv())  # ready; what it says next nobody listens to
    wait_until(stream, lambda: bool(stream._link.counters[Counter.BLIND]))  # the second worker has the link
    stream.close()
    check_steps(host)
    host.close()


def test_a_start_that_is_interrupted_leaves_the_host_well(
    process: ProcessHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        monkeypatch.undo()
        raise KeyboardInterrupt

    stream = live_stream(process)
    monkeypatch.setattr(process, "_expect", interrupt)
    with pytest.raises(KeyboardInterrupt):
        stream.start()
    check_steps(process)


def test_a_process_that_cannot_be_started_leaves_no_files_open() -> None:
    def local() -> Executor:
        return TOY()

    def fail() -> None:
        with pytest.raises((AttributeError, pickle.PicklingError)):
            ProcessHost(local)

    fail()  # the first one starts what stays for all
    before = psutil.Process().num_fds()
    for _ in range(3):
        fail()
    assert psutil.Process().num_fds() == before


def test_the_process_ends_with_its_parent() -> None:
    import subprocess
    import sys

    code = (
        "import sys, time\n"
        "from tests.test_engine_hosts import TOY, STEMS, FakeDevice, Clocking, Stream, ProcessHost, noise\n"
        "if __name__ == '__main__':\n"
        "    host = ProcessHost(TOY)\n"
        "    stream = Stream(host, FakeDevice(noise(10**7), 8, clocking=Clocking(64, True)), STEMS)\n"
        "    stream.start()\n"
        "    print(host._process.pid, flush=True)\n"
        "    time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        parent.kill()
    child.wait(10)


def separated(stream: Stream, frames: int = 4000) -> slice:
    """The next `frames` in which nothing but separated sound is heard; a busy machine may play the mix now and then."""
    heard: dict[str, int] = {}

    def long_enough() -> bool:
        end = stream.position  # the block before it may not be counted yet, hence more than `frames`
        if heard.get("dry blocks") != stream.report().dry_blocks:
            heard["dry blocks"] = stream.report().dry_blocks
            heard["start"] = stream.position
        return end >= heard["start"] + 2 * frames

    wait_until(stream, long_enough)
    return slice(heard["start"], heard["start"] + frames)
