"""Hosts that go on: after a killed or stuck process, a refused stream, an interrupted start."""

from __future__ import annotations

import os
import signal
from typing import Any

import numpy as np
import psutil
import pytest

from streamsep.engine.backends.clocked import Clocking
from streamsep.engine.backends.fake import FakeDevice
from streamsep.engine.host import Host
from streamsep.engine.link import Counter
from streamsep.engine.process_host import ProcessHost
from streamsep.engine.stream import Stream, StreamConfig
from streamsep.errors import StreamsepError
from tests.engine_toys import delayed, noise
from tests.hosts import STEMS, TOY, host_fixture, process_fixture, wait_until  # noqa: F401  (fixtures)


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
