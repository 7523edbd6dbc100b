"""Step times and the report."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from streamsep.engine.stats import StepRecorder, StepTimes, StreamReport
from streamsep.engine.timing import budget


def make_report(**changes: object) -> StreamReport:
    declared = budget(sample_rate=44100, hop=512, model=512, block=256, max_block=256, queue=2, fade=64, device=256)
    times = StepTimes(100, 0.005, 0.007, 0.008, 0.009, 0.43)
    report = StreamReport(declared, times, 512, 12.5, 3, 2, 1, 4, 7, 5, 0)
    return dataclasses.replace(report, **changes)  # type: ignore[arg-type]


def test_percentiles_are_values_that_occurred() -> None:
    recorder = StepRecorder()
    for milliseconds in np.random.default_rng(0).permutation(np.arange(1, 1001)):
        recorder.add(float(milliseconds) / 1000)
    times = recorder.summary(hop=441, sample_rate=44100)
    assert (times.steps, times.p50, times.p99, times.p999, times.longest) == (1000, 0.501, 0.991, 1.0, 1.0)
    assert times.rtf == pytest.approx(0.501 / 0.01)


def test_a_chunk_counts_by_the_hop() -> None:
    recorder = StepRecorder()
    recorder.add(0.008, hops=4)
    assert recorder.summary(512, 44100).p50 == 0.002


def test_memory_is_bounded_and_the_longest_is_kept() -> None:
    recorder = StepRecorder(np.zeros(2 + 4))
    for seconds in (9.0, 1.0, 2.0, 3.0, 4.0):
        recorder.add(seconds)
    times = recorder.summary(512, 44100)
    assert (times.steps, times.p999, times.longest) == (5, 4.0, 9.0)


def test_no_steps_are_no_error() -> None:
    assert StepRecorder().summary(512, 44100) == StepTimes(0, 0.0, 0.0, 0.0, 0.0, 0.0)


def test_text_names_every_event() -> None:
    text = make_report(recoveries=6, worker_restarts=8, device_losses=9, error="RuntimeError: boom").to_text()
    for part in ("p50 5.00", "p99.9 8.00", "of 11.61 a hop", "0.430", "3 late hops, 2 skipped", "1 fades, 4 blocks"):
        assert part in text
    for part in ("5 xruns, 7 frames lost", "worker died       RuntimeError: boom"):
        assert part in text
    for part in ("recoveries        6", "worker restarts   8", "device lost       9"):
        assert part in text
    quiet = make_report().to_text()
    assert "recoveries" not in quiet
    assert "died" not in quiet


def test_plain_data_is_json_with_the_sum_of_latencies() -> None:
    data = json.loads(json.dumps(make_report().to_dict()))
    assert data["budget"]["total_frames"] == 512 + 256 + 512 + 64 + 256
    assert data["times"]["p50"] == 0.005
    assert data["late_hops"] == 3
