"""Recordings of a running stream on a disk that is slow, or fails at the end: it is told, no take spoils another."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from streamsep.engine.executor import make_executor
from streamsep.engine.recorder import Recorder
from streamsep.engine.stream import Stream, StreamConfig
from streamsep.engine.thread_host import ThreadHost
from streamsep.errors import StreamsepError
from streamsep.files import Codec
from tests.engine_toys import Audio, DelaySplit, noise
from tests.test_engine_process import HandCranked

CODEC = Codec("wav", 32)


class SlowDisk:
    """Writes nothing until `answer` is set."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.answer, self.asked = threading.Event(), threading.Event()
        write = Recorder._write

        def slow(recorder: Recorder, frames: int) -> None:
            self.asked.set()
            self.answer.wait()
            write(recorder, frames)

        monkeypatch.setattr(Recorder, "_write", slow)


@pytest.fixture(params=[False, True], ids=["python", "compiled"])
def device(request: pytest.FixtureRequest) -> HandCranked:
    return HandCranked(request.param)


@pytest.fixture
def stream(device: HandCranked) -> Iterator[Stream]:
    host = ThreadHost(make_executor("eager", DelaySplit(8, 24), max_chunk=8))
    stream = Stream(host, device, StreamConfig(record_seconds=0.5))
    stream.start()
    yield stream
    stream.close()
    host.close()


def play(device: HandCranked, samples: Audio) -> None:
    for at in range(0, samples.shape[1], 64):
        device.deliver(samples[:, at : at + 64])


def wait_for(recorder: Recorder | None) -> None:
    end = time.monotonic() + 20
    while recorder is not None and recorder.busy:
        assert time.monotonic() < end
        time.sleep(0.002)


def test_a_take_waits_until_the_disk_is_done_with_the_one_before(
    stream: Stream, device: HandCranked, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = SlowDisk(monkeypatch)
    stream.record(tmp_path, CODEC)
    play(device, noise(12800))
    assert disk.asked.wait(20)
    stream.stop_recording()
    (told,) = stream.events()
    assert "the end is missing" in told
    with pytest.raises(StreamsepError, match="still writing"):
        stream.record(tmp_path, CODEC)
    assert stream.recording is None
    disk.answer.set()
    wait_for(stream._last)
    stream.record(tmp_path, CODEC)
    play(device, noise(12800))
    assert len(stream.stop_recording()) == 5
    assert stream.events() == []


def test_gaps_in_a_take_are_told_once(
    stream: Stream, device: HandCranked, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = SlowDisk(monkeypatch)
    stream.record(tmp_path, CODEC)
    play(device, noise(12800))
    assert stream.events() == []
    play(device, noise(25600))
    (told,) = stream.events()
    assert "silent gaps" in told
    play(device, noise(640))
    disk.answer.set()
    stream.stop_recording()
    assert stream.events() == []


def test_a_take_that_fails_at_its_end_is_told_of_once(
    stream: Stream, device: HandCranked, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream.record(tmp_path, CODEC)
    play(device, noise(2000))  # less than the recorder takes at a time

    def full(recorder: Recorder) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Recorder, "_check_space", full)
    stream.stop_recording()
    (told,) = stream.events()
    assert "No space left on device" in told
    assert stream.events() == []
