"""What lies between two devices: full to the last frame, around its end, and dropped as a whole where it is full."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from streamsep.engine.compiled_edge import compiled_edge
from streamsep.engine.drift import captured, start
from streamsep.engine.edge import Edge, EdgePlan
from streamsep.engine.edge_state import READ, WRITTEN, EdgeState, Setup, Tally, make_state
from streamsep.engine.resampler import Clock, frames_for
from tests.engine_toys import Audio, noise

PLAN = EdgePlan(44100, 44100, 44100, 2, ((1.0, 0.0), (0.0, 1.0)), 64, separate=True, input_block=64)


class Capture:
    """The capture side in one of its two forms."""

    def __init__(self, form: str) -> None:
        self._edge = Edge(PLAN)
        self.state: EdgeState = self._edge.state
        self._compiled = compiled_edge().capture if form == "compiled" else None

    def __call__(self, block: Audio, now: float = 1.0) -> None:
        if self._compiled is not None:
            self._compiled(self.state, np.ascontiguousarray(block.T), now)
        else:
            self._edge.capture(block, now)


@pytest.fixture(params=["python", "compiled"])
def capture(request: pytest.FixtureRequest) -> Capture:
    if request.param == "compiled":
        pytest.importorskip("numba")
    return Capture(request.param)


def counts(capture: Capture) -> tuple[Any, ...]:
    state = capture.state
    return int(state.fifo_counters[WRITTEN]), int(state.tally[Tally.DROPPED])


def test_it_takes_what_fits_to_the_last_frame_and_of_the_rest_nothing(capture: Capture) -> None:
    fifo = capture.state.fifo
    capacity = fifo.shape[1]
    samples = noise(capacity + 96)
    first = capacity - 64 * (capacity // 64)
    capture(samples[:, :first])
    for at in range(first, capacity, 64):
        capture(samples[:, at : at + 64])
    assert counts(capture) == (capacity, 0)
    np.testing.assert_array_equal(fifo, samples[:, :capacity])
    capture(samples[:, capacity:][:, :64])
    assert counts(capture) == (capacity, 64)
    np.testing.assert_array_equal(fifo, samples[:, :capacity])
    capture.state.fifo_counters[READ] = 31
    capture(samples[:, capacity : capacity + 32])
    assert counts(capture) == (capacity, 96)
    capture(samples[:, capacity : capacity + 31])
    assert counts(capture) == (capacity + 31, 96)
    np.testing.assert_array_equal(fifo[:, :31], samples[:, capacity : capacity + 31])
    np.testing.assert_array_equal(fifo[:, 31:], samples[:, 31:capacity])


def test_a_block_goes_around_the_end(capture: Capture) -> None:
    fifo, counters = capture.state.fifo, capture.state.fifo_counters
    capacity, samples = fifo.shape[1], noise(50)
    counters[[WRITTEN, READ]] = 3 * capacity - 20
    capture(samples)
    assert counts(capture) == (3 * capacity + 30, 0)
    np.testing.assert_array_equal(fifo[:, -20:], samples[:, :20])
    np.testing.assert_array_equal(fifo[:, :30], samples[:, 20:])
    assert not fifo[:, 30:-20].any()


def test_the_stamp_tells_when_what_was_written_came(capture: Capture) -> None:
    """A block that found no room came all the same, and says how late it is."""
    capture(noise(64), 2.0)
    assert capture.state.stamp[0] == 2.0 * 44100 - 64
    capture(noise(64), 0.0)
    assert np.isnan(capture.state.stamp[0])
    capture.state.fifo_counters[WRITTEN] = capture.state.fifo.shape[1]
    capture(noise(64), 3.0)
    assert capture.state.stamp[0] == 3.0 * 44100 - capture.state.fifo.shape[1]


def test_what_is_fetched_is_what_was_stored_across_the_end() -> None:
    """The resampler at equal rates, right on the frames, is a delay."""
    edge = Edge(PLAN)
    state, samples = edge.state, noise(600)
    capacity = state.fifo.shape[1]
    state.fifo_counters[[WRITTEN, READ]] = 2 * capacity - 150
    for at in range(0, 600, 60):
        edge.capture(samples[:, at : at + 60])
    state.in_clock[Clock.END], state.in_clock[Clock.POSITION] = 0, state.in_clock[Clock.HALF] - 1
    fetched = []
    for frames in (64, 0, 1, 63, 64, 64):
        out = np.full((2, frames), np.nan, np.float32)
        before = int(state.fifo_counters[READ])
        needed = max(0, frames_for(state.in_clock, frames) - int(state.in_clock[Clock.END])) if frames else 0
        edge._fetch(out)
        assert state.fifo_counters[READ] - before == needed
        fetched.append(out)
    half = int(state.in_clock[Clock.HALF])
    np.testing.assert_allclose(np.concatenate(fetched, 1), samples[:, half - 1 : half + 255], atol=1e-6)


@pytest.mark.parametrize(
    ("now", "since"), [(10.0, 0.0), (10.001, 44.1), (10.0229, 1009.89), (10.0231, 32.0), (9.999, 32.0), (0.0, 32.0)]
)
def test_what_the_device_has_taken_is_known_by_its_clock_or_half_a_block(now: float, since: float) -> None:
    """A clock that says more than two blocks and a fiftieth of a second is another clock."""
    setup = make_state(PLAN).setup
    assert captured(setup, 10.0 * 44100 - 500, 500, now) == pytest.approx(500 + since, abs=1e-6)


@pytest.mark.parametrize(
    ("early", "begins"), [(0, True), (1, False)], ids=["just enough", "a frame too little before it"]
)
def test_it_begins_once_the_filter_has_enough_on_both_sides(early: int, begins: bool) -> None:
    state = make_state(PLAN)
    clock, counters = state.in_clock, state.fifo_counters
    half, count = int(clock[Clock.HALF]), 10
    due = half - 1 - early + 0.25
    last = int(due) + half + count + 1
    counters[WRITTEN] = last  # the frame `last` itself is not there
    assert not start(clock, counters, due, count)
    counters[WRITTEN] = last + 1
    assert start(clock, counters, due, count) is begins
    if begins:
        assert counters[READ] == 0 and clock[Clock.END] == 0
        assert clock[Clock.POSITION] == half - 1
        assert clock[Clock.FRACTION] == clock[Clock.UNIT] // 4
        assert state.setup[Setup.STEP] == clock[Clock.STEP]
