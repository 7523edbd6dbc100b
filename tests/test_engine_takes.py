"""Recordings of a running stream on a disk that is slow, or fails at the end: it is told, no take spoils another."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile

from streamsep.engine.executor import make_executor
from streamsep.engine.link import Counter
from streamsep.engine.recorder import Recorder, why_gaps
from streamsep.engine.ring import Ring
from streamsep.engine.stream import Stream, StreamConfig
from streamsep.engine.thread_host import ThreadHost
from streamsep.errors import StreamsepError
from streamsep.files import Codec
from tests.engine_toys import Audio, DelaySplit, noise
from tests.hand_cranked import HandCranked

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


@pytest.mark.parametrize("heard", [0, 1, 7, 8, 64, 129])
def test_a_take_begins_with_the_first_hop_that_nobody_can_have_been_at(
    stream: Stream, device: HandCranked, tmp_path: Path, heard: int
) -> None:
    """Two of the longest blocks and a hop ahead: callback and worker may each be in the middle of one."""
    play(device, noise(heard))
    for _ in range(2):  # the second finds what is left of the first in its rings
        position, mix, stems = stream.position, stream._link.mix.written, stream._link.stems.written
        stream.record(tmp_path, CODEC)
        counters = stream._link.counters
        first = int(counters[Counter.RECORD_FROM]) - 1
        assert first % 8 == 0 and 0 <= first - (position + 2 * 64 + 8) < 8
        assert (counters[Counter.RECORD_MIX], counters[Counter.RECORD_STEMS]) == (mix, stems)
        samples = noise(800, seed=heard)
        play(device, samples)
        recorder = stream._recorder
        assert recorder is not None
        recorder.stop(60)  # a busy machine may need longer than the stream gives it
        files = {path.stem: soundfile.read(path, dtype="float32")[0].T for path in stream.stop_recording()}
        assert counters[Counter.RECORD_FROM] == 0
        heard_first = samples[:, first - position :]
        for name, share in (("mix", 1), ("drums", 0.5)):
            np.testing.assert_array_equal(files[name], share * heard_first[:, : files[name].shape[1]])
        assert files["mix"].shape[1] > 800 - 200 - 24 - 8


def test_what_is_missing_is_told_of_each_take_anew(
    stream: Stream, device: HandCranked, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(2):
        with monkeypatch.context() as patch:
            disk = SlowDisk(patch)
            stream.record(tmp_path, CODEC)
            play(device, noise(38400))
            assert len([event for event in stream.events() if "silent gaps" in event]) == 1
            disk.answer.set()
            recorder = stream._recorder
            stream.stop_recording()
            wait_for(recorder)


@pytest.mark.parametrize("spare", [0, -1])
def test_sixty_four_megabytes_stay_free(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spare: int) -> None:
    free = shutil.disk_usage(tmp_path)._replace(free=(64 << 20) + spare)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: free)
    rings = Ring(2, 2000), Ring(2, 2000)
    recorder = Recorder(*rings, sources=("drums",), sample_rate=8000, latency=0, folder=tmp_path, codec=CODEC)
    if spare < 0:
        with pytest.raises(StreamsepError, match=r"\(63 MB are free and 64 MB are kept\)"):
            recorder.start()
    else:
        recorder.start()
        recorder.stop(20)


def test_a_take_of_a_model_that_waits_longer_than_the_disk_may(device: HandCranked, tmp_path: Path) -> None:
    host = ThreadHost(make_executor("eager", DelaySplit(8, 44096), max_chunk=8))
    stream = Stream(host, device, StreamConfig(record_seconds=0.5))
    stream.start()
    stream.record(tmp_path, CODEC)
    play(device, noise(64 * 800))
    assert len(stream.stop_recording()) == 5 and stream.events() == []
    stream.close()
    host.close()


def test_gaps_for_want_of_stems_are_not_blamed_on_the_disk() -> None:
    stems = Ring(2, 100)
    assert why_gaps(stems).startswith("no stems came")
    stems.write(noise(50))
    assert why_gaps(stems).startswith("the disk does not keep up")
