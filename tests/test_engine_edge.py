"""The edge: delays by measurement, cuts, channels, gains, the limiter."""

from __future__ import annotations

import itertools
import math
import tracemalloc
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamsep.engine.edge import KNEE, Edge, EdgePlan, core_frames
from streamsep.engine.edge_state import EdgeState, Knob, Peak, make_state
from streamsep.engine.resampler import Clock, advance, frames_for
from streamsep.engine.routing import Route, routing_matrix
from streamsep.errors import StreamsepError
from tests.edges import LAG, RATES, SIZES, STEREO, Core, make_plan, run
from tests.engine_toys import NAMES, noise, tone


def test_at_the_engine_s_rate_nothing_is_touched() -> None:
    plan, samples = make_plan(), noise(1000)
    played = run(Edge(plan), samples)
    assert plan.delay == LAG and plan.added == 0 and plan.max_core == plan.max_block
    np.testing.assert_array_equal(played[:, LAG:], samples[:, :-LAG])
    assert not played[:, :LAG].any()


@pytest.mark.parametrize("rate", [rate for rate in RATES if rate != 44100])
@pytest.mark.parametrize("lag", [0, 441])
def test_the_delay_is_a_whole_number_of_frames_and_the_declared_one(rate: int, lag: int) -> None:
    plan = make_plan(rate, engine_lag=lag)
    assert plan.delay == int(plan.delay)
    hertz = 0.1 * min(rate, 44100)
    samples = tone(rate // 4 + 2 * plan.delay, hertz, rate)
    played = run(Edge(plan), samples)
    start, frames = plan.delay + rate // 50, rate // 8
    time = np.arange(start, start + frames) / rate
    waves = np.stack([np.sin(2 * np.pi * hertz * time), np.cos(2 * np.pi * hertz * time)], axis=1)
    (along, across), *_ = np.linalg.lstsq(waves, played[0, start : start + frames].astype(np.float64), rcond=None)
    period = rate / hertz
    wrong = (-math.atan2(across, along) / (2 * np.pi) * period - plan.delay + period / 2) % period - period / 2
    assert abs(wrong) < 1e-3, "frames"
    expected = samples[:, start - plan.delay : start - plan.delay + frames]
    np.testing.assert_allclose(played[:, start : start + frames], expected, atol=3e-5)


@pytest.mark.parametrize("rate", [48000, 96000])
def test_a_click_comes_out_as_late_as_declared(rate: int) -> None:
    plan = make_plan(rate)
    samples = np.zeros((2, 2000), np.float32)
    half = rate // 4800
    samples[:, 500 - half : 501 + half] = np.hanning(2 * half + 1)
    played = run(Edge(plan), samples)
    assert int(np.abs(played[0]).argmax()) == 500 + plan.delay
    around = played[0, 400 + plan.delay : 601 + plan.delay]
    np.testing.assert_allclose(around, around[::-1], atol=1e-4, err_msg="symmetric around the declared frame")


def test_what_the_edge_adds_is_told_in_core_frames() -> None:
    plan = make_plan(48000)
    assert plan.added == plan.delay * Fraction(44100, 48000) - LAG
    assert plan.added / 44100 < 1.5e-3
    assert plan.max_core == math.ceil(64 * 44100 / 48000) + 1


@pytest.mark.parametrize("rate", RATES)
def test_any_cut_gives_the_same_bits(rate: int) -> None:
    plan, samples = make_plan(rate), noise(1500, seed=3)
    np.testing.assert_array_equal(run(Edge(plan), samples, (64,)), run(Edge(plan), samples, SIZES))


@settings(max_examples=60, deadline=None)
@given(
    rate=st.integers(8000, 192000),
    lag=st.integers(0, 5000),
    sizes=st.lists(st.integers(1, 64), min_size=1, max_size=50),
)
def test_the_input_never_runs_short_and_never_piles_up(rate: int, lag: int, sizes: list[int]) -> None:
    plan = make_plan(rate, engine_lag=lag)
    state = make_state(plan)
    check_schedule(plan, state, itertools.islice(itertools.cycle(sizes), 200))


@pytest.mark.parametrize("rate", [8000, 48000, 96000, 192000])
def test_nor_in_ten_hours(rate: int) -> None:
    plan = make_plan(rate, max_block=1 << 18)
    sizes = itertools.cycle([1 << 18, 1, 4097])
    check_schedule(plan, make_state(plan), itertools.islice(sizes, 3 * 36000 * rate // (1 << 18)))


def check_schedule(plan: EdgePlan, state: EdgeState, sizes: Any) -> None:
    """The edge's counting without its sound."""
    into, out_of = state.in_clock, state.out_clock
    for frames in sizes:
        if plan.resample_in:
            into[Clock.END] += frames
            assert into[Clock.END] <= state.in_history.shape[1]
        count = core_frames(state.setup, out_of, frames)
        assert count <= plan.max_core
        if plan.resample_in and count:
            assert frames_for(into, count) <= into[Clock.END]
            advance(into, count)
        if plan.resample_out:
            out_of[Clock.END] += count
            assert out_of[Clock.END] <= state.out_history.shape[1]
            advance(out_of, frames)


@pytest.mark.parametrize(
    ("channels", "picked"), [((), (0, 1)), ((3, 1), (2, 0)), ((2,), (1, 1)), ((4, 4), (3, 3)), ((1,), (0, 0))]
)
def test_input_channels(channels: tuple[int, ...], picked: tuple[int, int]) -> None:
    plan = make_plan(device_inputs=4, input_channels=channels)
    samples = np.concatenate([noise(300), noise(300, seed=1)])
    played = run(Edge(plan), samples)
    np.testing.assert_array_equal(played[:, LAG:], samples[list(picked), :-LAG])


def test_a_mono_device_is_heard_on_both_sides() -> None:
    samples = noise(300)[:1]
    played = run(Edge(make_plan(device_inputs=1)), samples)
    np.testing.assert_array_equal(played[:, LAG:], samples[[0, 0], :-LAG])


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"input_channels": (1, 2, 3)}, "input channels 1,2,3 are more than two"),
        ({"input_channels": (0,)}, "input channels 0 are not all there; the device has 1 to 2"),
        ({"input_channels": (1, 3)}, "the device has 1 to 2"),
    ],
)
def test_inputs_that_are_not_there(more: dict[str, Any], message: str) -> None:
    with pytest.raises(StreamsepError, match=message):
        make_plan(**more)


def test_one_device_has_one_rate() -> None:
    with pytest.raises(StreamsepError, match="one device cannot run at 48000 Hz in and 44100 Hz out"):
        EdgePlan(44100, 48000, 44100, 2, STEREO, 64)
    with pytest.raises(ValueError, match="size of its blocks"):
        EdgePlan(44100, 48000, 44100, 2, STEREO, 64, separate=True)


def test_routing_adds_and_copies() -> None:
    routes = (Route("drums", (1, 2)), Route("mix", (3,)), Route("bass", (5, 4)))
    plan = make_plan(matrix=routing_matrix(routes, NAMES, "stems", 6), engine_lag=0)
    edge, bus, out = Edge(plan), np.concatenate([noise(64, seed=n) for n in range(4)]), np.ones((6, 64), np.float32)
    edge.capture(np.zeros((2, 64), np.float32))
    edge.core_out[:, : edge.enter(64)] = bus
    edge.leave(64, out)
    np.testing.assert_array_equal(out[:2], bus[:2])
    np.testing.assert_allclose(out[2], bus.sum(axis=0) / 2, atol=1e-6)
    np.testing.assert_array_equal(out[[4, 3]], bus[2:4])
    assert not out[5].any()


@pytest.mark.parametrize("rate", [44100, 48000])
@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf, 1e30])
def test_what_is_no_sound_is_silence(rate: int, wrong: float) -> None:
    plan, samples = make_plan(rate), noise(1000)
    silenced, broken = samples.copy(), samples.copy()
    silenced[0, 300:320], broken[0, 300:320] = 0.0, wrong
    np.testing.assert_array_equal(run(Edge(plan), broken), run(Edge(plan), silenced))


@pytest.mark.parametrize("knob", [Knob.INPUT_GAIN, Knob.OUTPUT_GAIN])
def test_a_gain_moves_by_a_straight_ramp(knob: Knob) -> None:
    edge = Edge(make_plan(engine_lag=0, fade=50, input_gain=1.0))
    core = Core(edge.plan)
    before = run(edge, np.ones((2, 100), np.float32), core=core)
    edge.state.knobs[knob] = 0.25
    after = run(edge, np.ones((2, 100), np.float32), core=core)
    assert (before == 1).all()
    np.testing.assert_allclose(after[0, :50], 1 - 0.75 * np.arange(1, 51) / 50, atol=1e-6)
    assert (after[:, 50:] == 0.25).all()


def test_a_gain_that_turns_back_on_the_way_has_no_step() -> None:
    edge = Edge(make_plan(engine_lag=0, fade=50))
    core, pieces = Core(edge.plan), []
    for target in (0.0, 2.0, 0.5, 0.5, 0.5):
        edge.state.knobs[Knob.OUTPUT_GAIN] = target
        pieces.append(run(edge, np.ones((2, 20), np.float32), (20,), core))
    played = np.concatenate(pieces, axis=1)
    assert np.abs(np.diff(played, prepend=1.0)).max() <= 2.0 / 50 + 1e-6
    assert played[0, -1] == 0.5


def test_gains_at_the_start_need_no_ramp() -> None:
    edge = Edge(make_plan(engine_lag=0, input_gain=0.5, output_gain=0.5))
    assert (run(edge, np.ones((2, 100), np.float32)) == 0.25).all()


def test_panic_is_silence_within_a_fade_and_comes_back_at_the_gain() -> None:
    edge = Edge(make_plan(engine_lag=0, fade=50, output_gain=0.5))
    core, samples = Core(edge.plan), tone(100, 50)
    knobs, played = edge.state.knobs, []
    for panic in (0.0, 1.0, 1.0, 0.0, 0.0):
        knobs[Knob.PANIC] = panic
        played.append(run(edge, samples + 1, core=core))
    assert not played[2].any() and not played[1][:, 50:].any()
    np.testing.assert_array_equal(played[4], 0.5 * (samples + 1))
    joined = np.concatenate(played, axis=1)
    assert np.abs(np.diff(joined[:, 100:200])).max() < 1.5 * 0.5 / 50 + np.abs(np.diff(samples)).max()


def test_the_limiter_leaves_what_is_below_the_knee_and_bends_the_rest() -> None:
    edge = Edge(make_plan(engine_lag=0, limiter=True, max_block=4001))
    ramp = np.linspace(-4, 4, 4001, dtype=np.float32)
    played = run(edge, np.stack([ramp, -ramp]), (4001,))
    below = np.abs(ramp) <= KNEE
    np.testing.assert_array_equal(played[0, below], ramp[below])
    np.testing.assert_array_equal(played[1], -played[0])
    assert np.abs(played).max() <= 1.0
    assert (np.diff(played[0]) >= 0).all()
    over = np.abs(ramp) > KNEE
    bent = KNEE + (1 - KNEE) * np.tanh((np.abs(ramp[over].astype(np.float64)) - KNEE) / (1 - KNEE))
    np.testing.assert_allclose(np.abs(played[0, over]), bent, atol=1e-7)


def test_without_a_limiter_loud_stays_loud() -> None:
    samples = 4 * noise(200)
    np.testing.assert_array_equal(run(Edge(make_plan(engine_lag=0)), samples), samples)


def test_peaks_since_they_were_read() -> None:
    edge = Edge(make_plan(engine_lag=0, input_gain=2.0, output_gain=0.5))
    samples = np.zeros((2, 200), np.float32)
    samples[1, 20], samples[0, 150] = -0.75, 0.5
    core = Core(edge.plan)
    run(edge, samples, core=core)
    assert edge.state.peaks[Peak.INPUT] == 1.5 and edge.state.peaks[Peak.OUTPUT] == 0.75
    edge.state.peaks[:] = 0
    run(edge, 0 * samples, core=core)
    assert not edge.state.peaks.any()


@pytest.mark.parametrize("rate", [44100, 48000])
def test_a_block_allocates_no_audio(rate: int) -> None:
    plan = make_plan(rate, max_block=16384, engine_lag=0, limiter=True, input_gain=0.5)
    edge = Edge(plan)
    block, out = np.ones((2, 16384), np.float32), np.zeros((2, 16384), np.float32)
    tracemalloc.start()
    for number in range(4):
        edge.state.knobs[Knob.OUTPUT_GAIN] = 1.0 + number
        edge.capture(block)
        edge.leave(edge.enter(16384), out)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 98_304  # numpy's own buffers, of a fixed size
    assert block.nbytes > 98_304
