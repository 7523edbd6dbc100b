"""Where inference runs: the same stream from a thread and from a process, begun, ended, and told of what fails."""

from __future__ import annotations

import pickle
from functools import partial

import numpy as np
import psutil
import pytest

from streamsep.engine.backends.clocked import Clocking
from streamsep.engine.backends.fake import FakeDevice
from streamsep.engine.executor import Executor
from streamsep.engine.host import Host
from streamsep.engine.process_host import ProcessHost
from streamsep.engine.stream import Stream, StreamConfig
from streamsep.engine.thread_host import ThreadHost
from streamsep.errors import StreamsepError
from tests.engine_toys import NAMES, DelaySplit, DiesAt, delayed, noise
from tests.hosts import STEMS, TOY, host_fixture, make, process_fixture  # noqa: F401  (fixtures)


def unloadable() -> Executor:
    raise StreamsepError("there is no such model; choose another")


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
