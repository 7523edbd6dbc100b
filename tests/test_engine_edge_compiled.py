"""The compiled form of the edge against the numpy form."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from streamsep.engine.compiled_edge import CompiledEdge, compiled_edge
from streamsep.engine.edge import Edge, EdgePlan
from streamsep.engine.edge_state import EdgeState, Tally, make_state
from streamsep.engine.routing import Route, routing_matrix
from tests.clocks import Device, play
from tests.edges import RATES, STEREO, Core, make_plan
from tests.engine_toys import NAMES, Audio, tone


@pytest.fixture(scope="module")
def compiled() -> CompiledEdge:
    pytest.importorskip("numba")
    return compiled_edge()


def agree(name: str, ours: Any, theirs: Any, exact: bool) -> None:
    if ours.dtype == np.int64 or exact:
        np.testing.assert_array_equal(ours, theirs, err_msg=name)
    elif not name.endswith("_taps"):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-6, err_msg=name)


PLANS = [
    *(make_plan(rate, limiter=True, output_gain=1.5) for rate in RATES),
    make_plan(matrix=routing_matrix((), NAMES, "stems", 18), device_inputs=3, input_channels=(3, 1)),
    make_plan(96000, matrix=routing_matrix((Route("mix", (2,)),), NAMES, "stems", 2), device_inputs=1),
]


@pytest.mark.parametrize("plan", PLANS, ids=lambda plan: f"{plan.input_rate}-{plan.device_outputs}")
def test_compiled_is_the_same(plan: EdgePlan, compiled: CompiledEdge) -> None:
    edge, state, random = Edge(plan), make_state(plan), np.random.default_rng(5)
    core, twin = Core(plan), Core(plan)
    for number in range(60):
        frames = int(random.integers(1, plan.max_block + 1))
        block = random.uniform(-1, 1, (frames, plan.device_inputs)).astype(np.float32)
        block[random.integers(frames)] = np.nan if number % 7 == 0 else 0.9
        knobs = (random.choice([0.5, 1.0]), random.choice([1.0, 1.5]), number % 11 == 0)
        edge.state.knobs[:] = state.knobs[:] = knobs
        edge.capture(block.T)
        count = edge.enter(frames)
        core(edge.core_in[:, :count], edge.core_out[:, :count])
        out, other = np.zeros((2, plan.device_outputs, frames), np.float32)
        edge.leave(count, out)
        compiled.capture(state, block, 0.0)
        assert compiled.enter(state, frames, 0.0) == count
        twin(state.core_in[:, :count], state.core_out[:, :count])
        interleaved = np.zeros((frames, plan.device_outputs), np.float32)
        compiled.leave(state, count, interleaved)
        other[:] = interleaved.T
        exact = not plan.resample_in and not plan.limiter
        agree("out", out, other, exact)
        for name in EdgeState._fields:
            agree(name, getattr(edge.state, name), getattr(state, name), exact)


def test_compiled_holds_two_clocks_alike(compiled: CompiledEdge) -> None:
    """With a source that stalls, falls silent, floods and comes back."""
    source = Device(48000, 256, 300, 0.001, 0.3, ((0.5, 0.1), (1.2, 0.8)))
    sink = Device(44100, 128, 0, 0.001, 0, ((3.0, 0.9),))
    plan = EdgePlan(44100, source.rate, sink.rate, 2, STEREO, sink.block, separate=True, input_block=source.block)
    edge, state, position = Edge(plan), make_state(plan), 0
    samples = tone(6 * source.rate, 300, source.rate)
    for call in play(source, sink, 5):
        now = 50.0 + call.now
        if call.capture:
            block = samples[:, position : position + source.block]
            position += source.block
            edge.capture(block, now)
            compiled.capture(state, np.ascontiguousarray(block.T), now)
            continue
        out, other = np.zeros((2, sink.block), np.float32), np.zeros((sink.block, 2), np.float32)
        count = edge.enter(sink.block, now)
        assert compiled.enter(state, sink.block, now) == count
        for each in (edge.state, state):
            each.core_out[:, :count] = each.core_in[:, :count]
        edge.leave(count, out)
        compiled.leave(state, count, other)
        np.testing.assert_allclose(out, other.T, atol=1e-6)
        np.testing.assert_array_equal(edge.state.tally, state.tally)
        np.testing.assert_array_equal(edge.state.in_clock, state.in_clock)
        np.testing.assert_array_equal(edge.state.loop, state.loop)
    tally = edge.state.tally
    assert tally[Tally.UNDERRUNS] >= 2 and tally[Tally.OVERFLOWS] >= 1 and tally[Tally.RUNNING] == 1


def test_compiled_takes_no_memory(compiled: CompiledEdge) -> None:
    """A call from Python wraps its arguments, so that many blocks must cost what one does."""
    from numba import njit
    from numba.core.runtime import _nrt_python, rtsys

    capture, enter, leave = compiled

    @njit
    def blocks(state: EdgeState, indata: Audio, outdata: Audio, count: int) -> None:
        for number in range(count):
            state.knobs[2] = number % 2
            capture(state, indata, 1.0 + number * 1e-3)
            leave(state, enter(state, outdata.shape[0], 1.0 + number * 1e-3), outdata)

    _nrt_python.memsys_enable_stats()
    for plan in (make_plan(48000, limiter=True, output_gain=9.0), make_plan(48000, separate=True, input_block=64)):
        state, out = make_state(plan), np.zeros((64, 2), np.float32)
        costs = []
        for count in (1, 1, 1000):
            before = rtsys.get_allocation_stats()
            blocks(state, np.full((64, 2), 0.5, np.float32), out, count)
            after = rtsys.get_allocation_stats()
            costs.append((after.alloc - before.alloc, after.mi_alloc - before.mi_alloc))
        assert costs[1] == costs[2]
        assert np.abs(out).max() == pytest.approx(1.0 if plan.limiter else 0.5, abs=1e-3) or not out.any()
