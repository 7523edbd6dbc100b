"""The callback's shell without sound: who silences it, what it counts, and what the stream says of its device."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from streamsep.engine.device_process import DeviceProcess
from streamsep.engine.edge import Edge, EdgePlan
from streamsep.engine.edge_state import Knob, Peak, Tally
from streamsep.engine.executor import make_executor
from streamsep.engine.link import Counter, Link, LinkShape
from streamsep.engine.stream import Stream, StreamConfig
from streamsep.engine.thread_host import ThreadHost
from tests.engine_toys import DelaySplit
from tests.hand_cranked import HandCranked

PLAN = EdgePlan(44100, 44100, 44100, 2, ((1.0, 0.0), (0.0, 1.0)), 64)


def make(frames: int | None = None) -> tuple[DeviceProcess, Edge, list[int]]:
    edge, rings = Edge(PLAN), list[int]()
    host: Any = SimpleNamespace(bell=SimpleNamespace(ring=lambda: rings.append(1)))
    core: Any = lambda indata, outdata: outdata.fill(0)  # noqa: E731
    return DeviceProcess(Link(LinkShape(2, 2, 400, 400)), edge, core, host, frames), edge, rings


def test_a_device_that_is_back_does_not_end_a_panic_nor_a_panic_s_end_the_wait_for_it() -> None:
    process, edge, _ = make()
    found = []
    for change in (
        {"panic": True},
        {"gone": True},
        {"panic": False},
        {"panic": True},
        {"gone": False},
        {"panic": False},
    ):
        process.silence(**change)
        found.append((bool(edge.state.knobs[Knob.PANIC]), process.panic))
    assert found == [(True, True), (True, True), (True, False), (True, True), (True, True), (False, False)]


def test_clocks_that_ran_dry_and_that_ran_over_are_counted_together() -> None:
    process, edge, _ = make()
    edge.state.tally[[Tally.UNDERRUNS, Tally.OVERFLOWS, Tally.DROPPED]] = 2, 3, 1000
    assert process.drifted() == 5


def test_peaks_are_of_one_look() -> None:
    process, edge, _ = make()
    edge.state.peaks[[Peak.INPUT, Peak.OUTPUT]] = 0.5, 0.25
    assert process.peaks() == {"input": 0.5, "output": 0.25}
    assert process.peaks() == {"input": 0.0, "output": 0.0}


def test_it_has_had_enough_with_the_last_frame_and_rings_once_a_block() -> None:
    process, _, rings = make(200)
    block, ended = np.zeros((2, 100), np.float32), []
    for _ in range(2):
        process(block, np.zeros_like(block))
        ended.append(process.ended)
    assert ended == [False, True] and len(rings) == 2
    assert process.longest_block == 100


@pytest.mark.parametrize("rate", [44100, 48000, 96000])
def test_the_device_s_share_of_the_delay_is_told_at_the_model_s_rate(rate: int) -> None:
    device = HandCranked(False, rate)
    device.latency = rate // 100
    host = ThreadHost(make_executor("eager", DelaySplit(8, 24), max_chunk=8))
    stream = Stream(host, device, StreamConfig())
    assert stream.budget.device == pytest.approx(441)
    assert stream.budget.total == stream.budget.lag + stream.budget.device + stream.budget.resampling
    assert stream.budget.total * rate / 44100 == pytest.approx(stream.delay + rate // 100)
    tally, counters = stream._process._edge.state.tally, stream._link.counters
    tally[Tally.OVERFLOWS], counters[Counter.XRUNS] = 2, 3
    assert stream.report().xruns == 5
    host.close()
