"""The edge compiled by numba: the same as `edge.Edge` on the same `EdgeState`, without interpreter, memory or errors.

The scalar parts are those of `resampler`, `drift` and `edge`, compiled as they stand; the loops over audio are written
here. numba is imported where it is first needed.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from types import FunctionType, SimpleNamespace
from typing import Any, NamedTuple

import numpy as np

from streamsep.engine import drift, edge, resampler
from streamsep.engine.drift import READ, WRITTEN, Tally, admit, let_go, stamp_of
from streamsep.engine.edge import KNEE, aim, core_frames
from streamsep.engine.edge_plan import LOUDEST, EdgeState, Peak, Ramp, Setup
from streamsep.engine.fence import compiled_fence, fence
from streamsep.engine.resampler import PHASES, Clock, Ints, advance, frames_for
from streamsep.engine.ring import Audio

# Callees first.
_SCALAR: tuple[Callable[..., Any], ...] = (
    *(resampler.frames_for, resampler.count_from, resampler.advance),
    *(drift.steer, drift.lasting_excess, drift.stamp_of, drift.captured, drift.ahead, drift.start, drift.let_go),
    *(drift.admit, edge.core_frames, edge.aim),
)


class CompiledEdge(NamedTuple):
    """The three calls of a block, callable from compiled code and from Python.

    Attributes:
        capture: `(state, indata [n, device inputs], now)`, n <= max_block; of a separate device any n.
        enter: `(state, frames, now) -> m`, fills `state.core_in[:, :m]`.
        leave: `(state, m, outdata [n, device outputs])`, reads `state.core_out[:, :m]`.
    """

    capture: Callable[[EdgeState, Audio, float], None]
    enter: Callable[[EdgeState, int, float], int]
    leave: Callable[[EdgeState, int, Audio], None]


@cache
def compiled_edge() -> CompiledEdge:
    """The compiled functions; the first call of each takes seconds.

    Raises:
        ImportError: numba is missing.
    """
    from numba import njit

    compiled: dict[str, Any] = {"fence": compiled_fence()}
    for function in (*_SCALAR, *_LOOPS):
        # A function sees compiled callees under the names that it knows.
        copy = FunctionType(function.__code__, {**function.__globals__, **compiled}, function.__name__)
        compiled[function.__name__] = njit(copy, error_model="numpy", nogil=True)
    parts = SimpleNamespace(**compiled)
    return CompiledEdge(parts.capture, parts.enter, parts.leave)


def capture(state: EdgeState, indata: Audio, now: float) -> None:
    """See `Edge.capture`; `indata [n, device inputs]`."""
    setup, frames = state.setup, indata.shape[0]
    if setup[Setup.SEPARATE] == 1:
        store(state, indata, now)
    elif setup[Setup.RESAMPLE_IN] == 1:
        end = state.in_clock[Clock.END]
        choose(state, indata, 0, state.in_history[:, end : end + frames])
        state.in_clock[Clock.END] = end + frames
    else:
        choose(state, indata, 0, state.core_in[:, :frames])


def enter(state: EdgeState, frames: int, now: float) -> int:
    """See `Edge.enter`."""
    count = core_frames(state, frames)
    block = state.core_in[:, :count]
    if state.setup[Setup.SEPARATE] == 1:
        made = admit(state, frames, count, now)
        fetch(state, made)
        join(state, count, made)
    elif state.setup[Setup.RESAMPLE_IN] == 1 and count > 0:
        convert(state.in_history, state.in_table, state.in_taps, state.in_clock, block)
    aim(state, 0)
    for channel in range(2):
        amplify(state, 0, block[channel])
        watch(state, Peak.INPUT, block[channel])
    settle(state, 0, count)
    return count


def leave(state: EdgeState, count: int, outdata: Audio) -> None:
    """See `Edge.leave`; `outdata [n, device outputs]`."""
    frames, bus = outdata.shape[0], state.core_out
    if state.setup[Setup.RESAMPLE_OUT] == 1:
        end = state.out_clock[Clock.END]
        for channel in range(bus.shape[0]):
            for i in range(count):
                state.out_history[channel, end + i] = bus[channel, i]
        state.out_clock[Clock.END] = end + count
        bus = state.bus
        if frames > 0:
            convert(state.out_history, state.out_table, state.out_taps, state.out_clock, bus[:, :frames])
    aim(state, 1)
    for channel in range(outdata.shape[1]):
        route(state, bus, channel, outdata[:, channel])
        amplify(state, 1, outdata[:, channel])
        if state.setup[Setup.LIMITER] == 1:
            limit(outdata[:, channel])
        watch(state, Peak.OUTPUT, outdata[:, channel])
    settle(state, 1, frames)


def choose(state: EdgeState, indata: Audio, first: int, out: Audio) -> None:
    """Channels of `indata`, from frame `first` on, into `out [2, n]`; what is no sound becomes silence."""
    for channel in range(2):
        pick = state.pick[channel]
        for i in range(out.shape[1]):
            sample = indata[first + i, pick]
            out[channel, i] = sample if abs(sample) <= np.float32(LOUDEST) else np.float32(0.0)


def store(state: EdgeState, indata: Audio, now: float) -> None:
    """Into the FIFO, all or nothing."""
    counters, capacity, frames = state.fifo_counters, state.fifo.shape[1], indata.shape[0]
    written = counters[WRITTEN]
    if written + frames - counters[READ] > capacity:
        state.tally[Tally.DROPPED] += frames
        frames = 0
    start = written % capacity
    split = min(frames, capacity - start)
    choose(state, indata, 0, state.fifo[:, start : start + split])
    choose(state, indata, split, state.fifo[:, : frames - split])
    state.stamp[0] = stamp_of(written + frames, now, state.setup[Setup.INPUT_RATE])
    fence()
    counters[WRITTEN] = written + frames


def fetch(state: EdgeState, made: int) -> None:
    """From the FIFO through the resampler into the first `made` frames of `core_in`."""
    if made == 0:
        return
    counters, clock, capacity = state.fifo_counters, state.in_clock, state.fifo.shape[1]
    end, read = clock[Clock.END], counters[READ]
    frames = max(0, frames_for(clock, made) - end)
    fence()
    for channel in range(2):
        for i in range(frames):
            state.in_history[channel, end + i] = state.fifo[channel, (read + i) % capacity]
    fence()
    counters[READ] = read + frames
    clock[Clock.END] = end + frames
    convert(state.in_history, state.in_table, state.in_taps, clock, state.core_in[:, :made])


def convert(history: Audio, table: Audio, taps: Audio, clock: Ints, out: Audio) -> None:
    """See `Resampler.pull`; `out [C, m]`, m > 0."""
    unit, start = clock[Clock.UNIT], clock[Clock.POSITION] - clock[Clock.HALF] + 1
    length, units = table.shape[1], clock[Clock.FRACTION]
    for i in range(out.shape[1]):
        first = start + units // unit
        phase = (units % unit) * (PHASES / unit)
        row = int(phase)
        rise = np.float32(phase - row)
        for tap in range(length):
            taps[tap] = table[row, tap] + rise * (table[row + 1, tap] - table[row, tap])
        for channel in range(out.shape[0]):
            out[channel, i] = dot(history[channel, first : first + length], taps)
        units += clock[Clock.STEP]
    before = clock[Clock.END]
    done = advance(clock, out.shape[1])
    for channel in range(out.shape[0]):
        for i in range(before - done):
            history[channel, i] = history[channel, i + done]


def dot(window: Audio, taps: Audio) -> np.float32:
    """Their product, summed in LANES sums side by side, for one sum must wait for itself at every tap."""
    a = b = c = d = e = f = g = h = np.float32(0.0)
    for tap in range(0, taps.shape[0], 8):
        a += window[tap] * taps[tap]
        b += window[tap + 1] * taps[tap + 1]
        c += window[tap + 2] * taps[tap + 2]
        d += window[tap + 3] * taps[tap + 3]
        e += window[tap + 4] * taps[tap + 4]
        f += window[tap + 5] * taps[tap + 5]
        g += window[tap + 6] * taps[tap + 6]
        h += window[tap + 7] * taps[tap + 7]
    return ((a + e) + (c + g)) + ((b + f) + (d + h))


def join(state: EdgeState, count: int, made: int) -> None:
    """Fade in after a gap, and let the last value before one die away."""
    block, tally, seam, fade = state.core_in, state.tally, state.seam, state.setup[Setup.FADE]
    block[:, made:count] = 0.0
    rising = min(tally[Tally.RISING], made)
    for i in range(rising):
        weight = np.float32((fade - tally[Tally.RISING] + 1 + i) / fade)
        for channel in range(2):
            block[channel, i] *= weight
    tally[Tally.RISING] -= rising
    broken = tally[Tally.BREAK] == 1
    die_away(state, 0, made if broken else count)
    if made > 0:
        seam[0, 0], seam[0, 1] = block[0, made - 1], block[1, made - 1]
    if broken:
        tally[Tally.BREAK] = 0
        let_go(state)
        die_away(state, made, count)
    if count > 0:
        seam[0, 0], seam[0, 1] = block[0, count - 1], block[1, count - 1]


def die_away(state: EdgeState, first: int, last: int) -> None:
    """Add what still dies away to the frames from `first` to `last`."""
    tally, fade = state.tally, state.setup[Setup.FADE]
    falling = tally[Tally.FALLING]
    frames = min(falling, last - first)
    for i in range(frames):
        weight = np.float32((falling - 1 - i) / fade)
        for channel in range(2):
            state.core_in[channel, first + i] += weight * state.seam[1, channel]
    tally[Tally.FALLING] = falling - frames


def amplify(state: EdgeState, row: int, channel: Audio) -> None:
    """Apply a gain to one channel; the ramp moves on in `settle`, once all have it."""
    ramp, fade = state.ramps[row], state.setup[Setup.FADE]
    left, target = int(ramp[Ramp.LEFT]), ramp[Ramp.TARGET]
    if left == 0 and target == 1.0:
        return
    for i in range(channel.shape[0]):
        way = max(0.0, float(left - 1 - i)) / fade
        channel[i] *= np.float32(way * (ramp[Ramp.START] - target) + target)


def settle(state: EdgeState, row: int, frames: int) -> None:
    """Move a ramp on."""
    left = state.ramps[row, Ramp.LEFT]
    state.ramps[row, Ramp.LEFT] = max(0.0, left - frames)


def route(state: EdgeState, bus: Audio, output: int, channel: Audio) -> None:
    """The sum of the core's outputs on one device channel; a single one of gain 1 is a copy."""
    first = True
    for number in range(bus.shape[0]):
        gain = state.matrix[output, number]
        if gain == 0.0:
            continue
        for i in range(channel.shape[0]):
            channel[i] = bus[number, i] * gain if first else channel[i] + bus[number, i] * gain
        first = False
    if first:
        channel[:] = 0.0


def limit(channel: Audio) -> None:
    """See `Edge._limit`."""
    for i in range(channel.shape[0]):
        size = abs(float(channel[i]))
        if size > KNEE:
            size = min(1.0, KNEE + (1.0 - KNEE) * np.tanh((size - KNEE) / (1.0 - KNEE)))
            channel[i] = size if channel[i] > 0.0 else -size


def watch(state: EdgeState, peak: int, channel: Audio) -> None:
    """Remember the highest sample."""
    top = state.peaks[peak]
    for i in range(channel.shape[0]):
        top = max(top, abs(channel[i]))
    state.peaks[peak] = top


_LOOPS: tuple[Callable[..., Any], ...] = (
    *(dot, convert, choose, store, fetch, die_away, join, amplify, settle, route, limit, watch),
    *(capture, enter, leave),
)
