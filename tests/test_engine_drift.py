"""Two devices with two clocks, simulated for minutes: what waits between them stays the same, whatever comes late."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pytest

from streamsep.engine.drift import CLIP, LIMIT, SLEW, admit, ahead, captured, lasting_excess, stamp_of, steer
from streamsep.engine.edge import Edge, EdgePlan, core_frames
from streamsep.engine.edge_state import READ, WRITTEN, EdgeState, Floats, Loop, Setup, Tally, make_state
from streamsep.engine.resampler import Clock, advance, frames_for
from tests.clocks import Device, play
from tests.engine_toys import Audio

STEREO = ((1.0, 0.0), (0.0, 1.0))
EPOCH = 1000.0  # of the simulated clock: 0 would mean that there is none


def plan_between(source: Device, sink: Device, engine_rate: int = 44100) -> EdgePlan:
    return EdgePlan(
        *(engine_rate, source.rate, sink.rate, 2, STEREO, sink.block),
        engine_lag=512,
        separate=True,
        input_block=source.block,
    )


@dataclass(frozen=True)
class Track:
    """At each output block: seconds, frames of the source between the air and the core beyond the target, ratio - 1."""

    seconds: np.ndarray
    deviation: np.ndarray
    ratio: np.ndarray
    tally: np.ndarray

    def after(self, seconds: float) -> np.ndarray:
        return self.deviation[self.seconds > seconds]


def place(state: EdgeState) -> float:
    """Where in the FIFO's count the core's next frame lies, had the core no whole frames."""
    clock, setup = state.in_clock, state.setup
    position = state.fifo_counters[READ] + clock[Clock.POSITION] - clock[Clock.END]
    early = ahead(state.out_clock) if setup[Setup.RESAMPLE_OUT] else 0.0
    return float(position + (clock[Clock.FRACTION] + early * setup[Setup.STEP]) / clock[Clock.UNIT])


def run(source: Device, sink: Device, seconds: float) -> Track:
    """The control alone, without sound: minutes pass in a second."""
    plan = plan_between(source, sink)
    state = make_state(plan)
    rows: list[tuple[float, float, float]] = []
    for call in play(source, sink, seconds):
        if call.capture:
            state.fifo_counters[WRITTEN] += source.block
            state.stamp[0] = stamp_of(int(state.fifo_counters[WRITTEN]), EPOCH + call.now, source.rate)
            continue
        count = core_frames(state.setup, state.out_clock, sink.block)
        made = admit(state, sink.block, count, EPOCH + call.now)
        running = bool(state.tally[Tally.RUNNING])
        air = (call.due * source.true_rate) - source.phase * source.block
        deviation = air - place(state) - float(plan.target) if running else math.nan
        if made:
            taken = max(0, frames_for(state.in_clock, made) - int(state.in_clock[Clock.END]))
            state.fifo_counters[READ] += taken
            state.in_clock[Clock.END] += taken
            advance(state.in_clock, made)
        if plan.resample_out:
            state.out_clock[Clock.END] += count
            advance(state.out_clock, sink.block)
        rows.append((call.due, deviation, state.loop[Loop.RATIO]))
    columns = np.array(rows).T
    return Track(columns[0], columns[1], columns[2], state.tally)


CLOCKS = [
    (Device(48000, 512, 100, 0.002, 0.3), Device(48000, 512)),
    (Device(48000, 512, -300, 0.002, 0.7), Device(44100, 256, 0, 0.002)),
    (Device(44100, 441, 800, 0.002, 0.2), Device(48000, 512, 0, 0.002)),
    (Device(96000, 1024, -400, 0.002), Device(44100, 480, 400, 0.002)),
]


@pytest.mark.parametrize(("source", "sink"), CLOCKS, ids=["100", "-300", "800", "-800"])
def test_two_clocks_for_two_minutes(source: Device, sink: Device) -> None:
    track = run(source, sink, 120)
    assert track.tally[Tally.UNDERRUNS] == track.tally[Tally.OVERFLOWS] == 0
    milliseconds = 1e3 / source.rate
    assert np.isfinite(track.after(0.1)).all(), "sound within a tenth of a second"
    # Callbacks that are 1 ms late on average say 1 ms of sound too little or too much.
    assert np.abs(track.after(0.1)).max() * milliseconds < 2.5
    assert np.abs(track.after(10)).max() * milliseconds < 1.5
    assert np.ptp(track.after(20)) * milliseconds < 0.5
    truth = source.true_rate * sink.rate / (sink.true_rate * source.rate) - 1
    settled = track.ratio[track.seconds > 20]
    assert np.abs(settled - truth).max() < 120e-6
    assert abs(settled.mean() - truth) < 5e-6
    assert np.abs(np.diff(track.ratio)).max() <= SLEW * sink.block / sink.rate * (1 + 1e-9)
    assert np.abs(track.ratio).max() <= LIMIT


def test_without_jitter_the_delay_stands_still() -> None:
    track = run(Device(48000, 256, 100, 0, 0.3), Device(44100, 512), 60)
    assert np.abs(track.after(0.1)).max() < 3
    assert np.abs(track.after(30)).max() < 0.1


@pytest.mark.parametrize("stalled", ["source", "sink"])
@pytest.mark.parametrize("duration", [0.05, 0.4])
def test_after_a_stall_the_delay_is_what_it_was(stalled: str, duration: float) -> None:
    """The device that stalls calls back for all that it missed, at once."""
    stalls = ((10.0, duration),)
    source = Device(48000, 512, 100, 0.001, 0.3, stalls if stalled == "source" else ())
    track = run(source, Device(48000, 512, 0, 0.001, 0, stalls if stalled == "sink" else ()), 40)
    assert track.tally[Tally.UNDERRUNS] <= (2 if stalled == "source" else 1)
    assert np.abs(track.after(30)).max() / source.rate < 1e-3, "as far as it hears callbacks late"
    assert np.abs(track.ratio[track.seconds > 30] - 100e-6).max() < 150e-6


def fresh() -> Floats:
    return np.zeros(len(Loop), dtype=np.float64)


@pytest.mark.parametrize("sign", [1, -1])
def test_too_much_is_read_faster_and_never_too_fast(sign: int) -> None:
    loop = fresh()
    ratios = [steer(loop, sign * 1.0, 0.01) for _ in range(1000)]
    assert sign * ratios[0] > 0
    assert max(abs(ratio) for ratio in ratios) == LIMIT
    assert np.abs(np.diff(ratios)).max() <= SLEW * 0.01 * (1 + 1e-9)
    assert abs(loop[Loop.DEVIATION]) <= CLIP


def test_the_loop_finds_the_ratio_of_the_clocks() -> None:
    loop, deviation = fresh(), 0.0
    for _ in range(6000):
        deviation += 0.01 * (300e-6 - steer(loop, deviation, 0.01))
    assert loop[Loop.RATIO] == pytest.approx(300e-6, abs=2e-6)
    assert abs(deviation) < 1e-5


def test_only_what_lasts_is_excess() -> None:
    loop = fresh()
    late = [lasting_excess(loop, 0.05 * (0.8**number), 0.005) for number in range(40)]
    assert not any(late), "a late block that catches up"
    assert any(lasting_excess(loop, 0.05, 0.005) for _ in range(40))
    assert not lasting_excess(loop, 0.0, 0.005)


def test_what_was_captured_goes_on_between_blocks() -> None:
    setup = make_state(plan_between(Device(48000, 256), Device(48000, 256))).setup
    stamp = stamp_of(512, 100.0, 48000)
    assert captured(setup, stamp, 512, 100.0) == 512
    assert captured(setup, stamp, 512, 100.001) == pytest.approx(560)
    assert captured(setup, stamp, 512, 200.0) == 512 + 128, "no clock runs that far ahead"
    assert captured(setup, stamp, 512, 0.0) == 512 + 128
    assert captured(setup, stamp_of(512, 0.0, 48000), 512, 100.0) == 512 + 128


def listen(source: Device, sink: Device, seconds: float, hertz: float, lag: int = 0) -> tuple[EdgePlan, Edge, Audio]:
    """A sine through the whole edge, the core a delay of 512 frames: what the output device plays."""
    plan = plan_between(source, sink)
    edge, past = Edge(plan), np.zeros((2, plan.engine_lag), np.float32)
    heard, sent = [], 0
    for call in play(source, sink, seconds):
        if call.capture:
            frames = sent + np.arange(source.block)
            wave = 0.5 * np.sin(2 * np.pi * hertz * frames / source.true_rate)
            edge.capture(np.repeat(wave[None], 2, axis=0).astype(np.float32), EPOCH + call.now)
            sent += source.block
            continue
        count = edge.enter(sink.block, EPOCH + call.now)
        joined = np.concatenate([past, edge.core_in[:, :count]], axis=1)
        edge.core_out[:, :count], past = joined[:, :count], joined[:, count:]
        out = np.zeros((2, sink.block), np.float32)
        edge.leave(count, out)
        heard.append(out)
    return plan, edge, np.concatenate(heard, axis=1)


@pytest.mark.parametrize(
    ("source", "sink"),
    [
        (Device(48000, 256, 0, 0, 0.4), Device(48000, 256)),
        (Device(48000, 256, 100, 0, 0.4), Device(44100, 512)),
        (Device(44100, 441, -100), Device(48000, 256)),
    ],
)
def test_the_declared_delay_is_heard(source: Device, sink: Device) -> None:
    hertz, seconds = 40.0, 12.0
    plan, _, heard = listen(source, sink, seconds, hertz)
    last = heard[0, -2 * sink.rate :]
    first = heard.shape[1] - len(last)
    # Frame k leaves when its block begins, plus its place in it; frame i of the source was in the air `phase` later.
    leaves = (sink.block + first + np.arange(len(last))) / sink.true_rate
    air = leaves - source.phase * source.block / source.true_rate
    basis = np.stack([np.sin(2 * np.pi * hertz * air), np.cos(2 * np.pi * hertz * air)], axis=1)
    (along, across), *_ = np.linalg.lstsq(basis, last.astype(np.float64), rcond=None)
    period = sink.rate / hertz
    delay = -math.atan2(across, along) / (2 * np.pi) * period
    declared = plan.delay + source.block * sink.rate / source.rate
    assert math.hypot(along, across) == pytest.approx(0.5, abs=1e-3)
    wrong = (delay - declared + period / 2) % period - period / 2
    assert abs(wrong) < 0.3


@pytest.mark.parametrize("stalled", ["source", "sink"])
def test_a_gap_is_no_click(stalled: str) -> None:
    stalls, hertz = ((2.0, 0.6),), 100.0
    source = Device(48000, 512, 50, 0, 0.3, stalls if stalled == "source" else ())
    sink = Device(48000, 512, 0, 0, 0, stalls if stalled == "sink" else ())
    plan, edge, heard = listen(source, sink, 5, hertz)
    tally = edge.state.tally
    assert tally[Tally.UNDERRUNS] + tally[Tally.OVERFLOWS] + tally[Tally.DROPPED] >= 1
    step = 0.5 * 2 * np.pi * hertz / sink.rate
    assert np.abs(np.diff(heard)).max() < 2 * step + 1.0 / plan.fade
    assert np.abs(heard[0, -sink.rate :]).max() == pytest.approx(0.5, abs=1e-3), "the sound is back"


def test_silence_until_enough_waits_then_a_fade() -> None:
    plan = plan_between(Device(48000, 256), Device(48000, 256))
    edge, out = Edge(plan), np.full((2, 256), np.nan, np.float32)
    edge.leave(edge.enter(256, EPOCH), out)
    assert not out.any()
    for number in range(8):
        edge.capture(np.ones((2, 256), np.float32), EPOCH + number * 256 / 48000)
    count = edge.enter(256, EPOCH + 8 * 256 / 48000)
    rising = edge.core_in[0, : plan.fade]
    assert edge.state.tally[Tally.RUNNING] == 1 and count > plan.fade
    np.testing.assert_allclose(rising, np.arange(1, plan.fade + 1) / plan.fade, atol=1e-3)


def test_what_finds_no_room_is_counted() -> None:
    plan = plan_between(Device(48000, 256), Device(48000, 256))
    edge = Edge(plan)
    capacity = edge.state.fifo.shape[1]
    for _ in range(capacity // 256 + 2):
        edge.capture(np.ones((2, 256), np.float32), EPOCH)
    assert edge.state.fifo_counters[WRITTEN] == capacity // 256 * 256
    assert edge.state.tally[Tally.DROPPED] == 512
