"""The edge compiled by numba: the same as `edge.Edge` on the same `EdgeState`, without interpreter, memory or errors.

The scalar parts are those of `resampler`, `drift` and `edge`, compiled as they stand; the loops over audio are written
here, and `store` and `fetch` are those of a `Ring`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from streamsep.engine import drift, edge, resampler
from streamsep.engine.compiling import compile_functions
from streamsep.engine.drift import admit, let_go, stamp_of
from streamsep.engine.edge import KNEE, LOUDEST, aim, core_frames, output_target
from streamsep.engine.edge_state import READ, WRITTEN, EdgeState, Floats, Knob, Peak, Ramp, Setup, Tally
from streamsep.engine.fence import compiled_fence, fence
from streamsep.engine.resampler import PHASES, Clock, Ints, advance, frames_for
from streamsep.engine.ring import Audio

# Callees first.
_SCALAR: tuple[Callable[..., Any], ...] = (
    *(resampler.frames_for, resampler.count_from, resampler.advance),
    *(drift.steer, drift.lasting_excess, drift.stamp_of, drift.captured, drift.ahead, drift.start, drift.let_go),
    *(drift.admit, edge.core_frames, edge.aim, edge.output_target),
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
    parts = compile_functions((*_SCALAR, *_LOOPS), {"fence": compiled_fence()})
    return CompiledEdge(parts["capture"], parts["enter"], parts["leave"])


def capture(state: EdgeState, indata: Audio, now: float) -> None:
    """See `Edge.capture`; `indata [n, device inputs]`."""
    setup, frames = state.setup, indata.shape[0]
    if setup[Setup.SEPARATE] == 1:
        stored = store(state.fifo, state.fifo_counters, state.pick, indata)
        if not stored:
            state.tally[Tally.DROPPED] += frames
            frames = 0
        written = state.fifo_counters[WRITTEN] + frames
        state.stamp[0] = stamp_of(written, now, setup[Setup.INPUT_RATE])
        fence()
        state.fifo_counters[WRITTEN] = written
    elif setup[Setup.RESAMPLE_IN] == 1:
        end = state.in_clock[Clock.END]
        choose(state.pick, indata, state.in_history[:, end : end + frames])
        state.in_clock[Clock.END] = end + frames
    else:
        choose(state.pick, indata, state.core_in[:, :frames])


def enter(state: EdgeState, frames: int, now: float) -> int:
    """See `Edge.enter`."""
    count = core_frames(state.setup, state.out_clock, frames)
    made, fade, block = count, state.setup[Setup.FADE], state.core_in[:, :count]
    if state.setup[Setup.SEPARATE] == 1:
        made = admit(state, frames, count, now)
        fetch(state.fifo, state.fifo_counters, state.in_history, state.in_clock, made)
    if state.setup[Setup.RESAMPLE_IN] == 1 and made > 0:
        convert(state.in_history, state.in_table, state.in_taps, state.in_clock, block[:, :made])
    if state.setup[Setup.SEPARATE] == 1:
        join(block, state.tally, state.seam, fade, made)
    aim(state.ramps[0], state.knobs[Knob.INPUT_GAIN], fade)
    for channel in range(2):
        amplify(state.ramps[0], fade, block[channel])
        watch(state.peaks, Peak.INPUT, block[channel])
    settle(state.ramps[0], count)
    return count


def leave(state: EdgeState, count: int, outdata: Audio) -> None:
    """See `Edge.leave`; `outdata [n, device outputs]`."""
    frames, fade, bus = outdata.shape[0], state.setup[Setup.FADE], state.core_out
    if state.setup[Setup.RESAMPLE_OUT] == 1:
        end = state.out_clock[Clock.END]
        for channel in range(bus.shape[0]):
            for i in range(count):
                state.out_history[channel, end + i] = bus[channel, i]
        state.out_clock[Clock.END] = end + count
        bus = state.bus
        convert(state.out_history, state.out_table, state.out_taps, state.out_clock, bus[:, :frames])
    aim(state.ramps[1], output_target(state.knobs), fade)
    for channel in range(outdata.shape[1]):
        output = outdata[:, channel]
        route(state.matrix[channel], bus, output)
        amplify(state.ramps[1], fade, output)
        if state.setup[Setup.LIMITER] == 1:
            limit(output)
        watch(state.peaks, Peak.OUTPUT, output)
    settle(state.ramps[1], frames)


def choose(pick: Ints, indata: Audio, out: Audio) -> None:
    """Channels of `indata [n, C]` into `out [2, n]`; what is no sound becomes silence."""
    for channel in range(2):
        for i in range(out.shape[1]):
            sample = indata[i, pick[channel]]
            out[channel, i] = sample if abs(sample) <= np.float32(LOUDEST) else np.float32(0.0)


def store(fifo: Audio, counters: Ints, pick: Ints, indata: Audio) -> bool:
    """Into the FIFO, all or nothing; the counter is the caller's to move."""
    written, capacity, frames = counters[WRITTEN], fifo.shape[1], indata.shape[0]
    if written + frames - counters[READ] > capacity:
        return False
    start = written % capacity
    split = min(frames, capacity - start)
    choose(pick, indata[:split], fifo[:, start : start + split])
    choose(pick, indata[split:], fifo[:, : frames - split])
    return True


def fetch(fifo: Audio, counters: Ints, history: Audio, clock: Ints, made: int) -> None:
    """From the FIFO to the history, as much as `made` core frames need."""
    if made == 0:
        return
    capacity, end, read = fifo.shape[1], clock[Clock.END], counters[READ]
    frames = max(0, frames_for(clock, made) - end)
    for channel in range(2):
        for i in range(frames):
            history[channel, end + i] = fifo[channel, (read + i) % capacity]
    fence()
    counters[READ] = read + frames
    clock[Clock.END] = end + frames


def convert(history: Audio, table: Audio, taps: Audio, clock: Ints, out: Audio) -> None:
    """See `Resampler.pull`; `out [C, m]`."""
    unit, start = clock[Clock.UNIT], clock[Clock.POSITION] - clock[Clock.HALF] + 1
    length, units = table.shape[1], clock[Clock.FRACTION]
    for i in range(out.shape[1]):
        first = start + units // unit
        phase = (units % unit) * (PHASES / unit)
        row = int(phase)
        blend(table[row], table[row + 1], np.float32(phase - row), taps)
        for channel in range(out.shape[0]):
            out[channel, i] = dot(history[channel, first : first + length], taps)
        units += clock[Clock.STEP]
    before = clock[Clock.END]
    done = advance(clock, out.shape[1])
    for channel in range(out.shape[0]):
        for i in range(before - done):
            history[channel, i] = history[channel, i + done]


def blend(low: Audio, high: Audio, share: np.float32, out: Audio) -> None:
    """The filter between two phases."""
    for tap in range(out.shape[0]):
        out[tap] = low[tap] + share * (high[tap] - low[tap])


def dot(window: Audio, taps: Audio) -> np.float32:
    """Their product, in LANES sums side by side, for a single sum would wait for itself at every tap."""
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


def join(block: Audio, tally: Ints, seam: Audio, fade: int, made: int) -> None:
    """Fade in after a gap, and let the last value before one die away."""
    rising = min(tally[Tally.RISING], made)
    broken = tally[Tally.BREAK] == 1
    for channel in range(2):
        block[channel, made:] = 0.0
        for i in range(rising):
            block[channel, i] *= np.float32((fade - tally[Tally.RISING] + 1 + i) / fade)
    tally[Tally.RISING] -= rising
    die_away(block[:, :made] if broken else block, tally, seam, fade)
    for channel in range(2):
        if made > 0:
            seam[0, channel] = block[channel, made - 1]
    if broken:
        tally[Tally.BREAK] = 0
        let_go(tally, seam, fade)
        die_away(block[:, made:], tally, seam, fade)
    for channel in range(2):
        if block.shape[1] > 0:
            seam[0, channel] = block[channel, block.shape[1] - 1]


def die_away(block: Audio, tally: Ints, seam: Audio, fade: int) -> None:
    """Add what still dies away."""
    falling = tally[Tally.FALLING]
    frames = min(falling, block.shape[1])
    for channel in range(2):
        for i in range(frames):
            block[channel, i] += np.float32((falling - 1 - i) / fade) * seam[1, channel]
    tally[Tally.FALLING] = falling - frames


def amplify(ramp: Floats, fade: int, channel: Audio) -> None:
    """Apply a gain to one channel; the ramp moves on in `settle`, once all have it."""
    left, start, target = int(ramp[Ramp.LEFT]), ramp[Ramp.START], ramp[Ramp.TARGET]
    if left == 0 and target == 1.0:
        return
    for i in range(channel.shape[0]):
        channel[i] *= np.float32(max(0, left - 1 - i) / fade * (start - target) + target)


def settle(ramp: Floats, frames: int) -> None:
    """Move a ramp on."""
    ramp[Ramp.LEFT] = max(0.0, ramp[Ramp.LEFT] - frames)


def route(gains: Audio, bus: Audio, channel: Audio) -> None:
    """The sum of the core's outputs on one device channel; a single one of gain 1 is a copy."""
    first = True
    for number in range(gains.shape[0]):
        gain = gains[number]
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
            size = KNEE + (1.0 - KNEE) * math.tanh((size - KNEE) / (1.0 - KNEE))
            channel[i] = size if channel[i] > 0.0 else -size


def watch(peaks: Audio, slot: int, channel: Audio) -> None:
    """Remember the highest sample."""
    top = peaks[slot]
    for i in range(channel.shape[0]):
        top = max(top, abs(channel[i]))
    peaks[slot] = top


_LOOPS: tuple[Callable[..., Any], ...] = (
    *(blend, dot, convert, choose, store, fetch, die_away, join, amplify, settle, route, limit, watch),
    *(capture, enter, leave),
)
