"""Two devices, two clocks: how the input's resampler is steered so that what waits between them stays the same.

A capture callback fills a FIFO, the output callback empties it. What waits is measured in time, not in blocks: the
capture side leaves a stamp of its clock, the output side reads the clock too, so that the sawtooth of two block sizes
beating against each other is not mistaken for drift. A loop of second order (proportional and integral, as in
F. Adriaensen, "Controlling adaptive resampling", LAC 2012) turns the deviation into a ratio.

All functions are scalar and compile as they stand.
"""

from __future__ import annotations

import math
from enum import IntEnum

from streamsep.engine.edge_plan import EdgeState, Floats, Setup
from streamsep.engine.resampler import Clock, count_from, frames_for

FASTEST, SLOWEST = 1.5, 0.25  # bandwidth of the loop in radians per second, at the start and once it has settled
SETTLING = 4.0  # the bandwidth falls as SETTLING / age
DAMPING = 1.0
SMOOTHING = 6.0  # bandwidth of the filter before the loop, in bandwidths of the loop
LIMIT = 1.2e-3  # largest deviation of the ratio; two devices are rarely 0.3e-3 apart
SLEW = 4e-4  # largest change of the ratio in a second: 0.7 cents
CLIP = 5e-3  # deviations of more seconds count as this
EXCESS = 20e-3  # seconds of sound too many that are skipped rather than worked off
EXCESS_MEMORY = 0.1  # seconds over which they must last

# Slots of `EdgeState.fifo_counters`, as in a Ring.
WRITTEN, READ = 0, 8


class Loop(IntEnum):
    """The loop, as slots of a float64 array; deviations in seconds of sound too many."""

    TARGET = 0  # frames that should wait
    AGE = 1  # seconds that it ran
    DEVIATION = 2  # smoothed
    LASTING = 3  # smoothed longer, to tell a stall from jitter
    TREND = 4  # the ratio that the clocks seem to have, less 1
    RATIO = 5  # the ratio in force, less 1


class Tally(IntEnum):
    """What happened, as slots of an int64 array; the slots from 8 on are the capture side's."""

    RUNNING = 0  # 1 while the FIFO is read
    UNDERRUNS = 1  # times it ran empty
    SKIPS = 2  # times too much of it was thrown away
    RISING = 3  # frames of a fade-in still to come
    FALLING = 4  # frames for which the last value before a gap still dies away
    BREAK = 5  # 1: the sound ends in this block
    DROPPED = 8  # frames that found no room


def steer(loop: Floats, deviation: float, seconds: float) -> float:
    """Hear that `deviation` seconds of sound too many wait, `seconds` after the last time; returns ratio - 1."""
    loop[Loop.AGE] += seconds
    bandwidth = max(SLOWEST, min(FASTEST, SETTLING / loop[Loop.AGE]))
    heard = max(-CLIP, min(CLIP, deviation))
    loop[Loop.DEVIATION] += min(1.0, SMOOTHING * bandwidth * seconds) * (heard - loop[Loop.DEVIATION])
    trend = loop[Loop.TREND] + bandwidth * bandwidth * seconds * loop[Loop.DEVIATION]
    loop[Loop.TREND] = max(-LIMIT, min(LIMIT, trend))
    wanted = max(-LIMIT, min(LIMIT, 2.0 * DAMPING * bandwidth * loop[Loop.DEVIATION] + loop[Loop.TREND]))
    change = SLEW * seconds
    loop[Loop.RATIO] += max(-change, min(change, wanted - loop[Loop.RATIO]))
    return float(loop[Loop.RATIO])


def lasting_excess(loop: Floats, deviation: float, seconds: float) -> bool:
    """Whether far too much waits, and not only because this block is late."""
    loop[Loop.LASTING] += min(1.0, seconds / EXCESS_MEMORY) * (deviation - loop[Loop.LASTING])
    return bool(loop[Loop.LASTING] > EXCESS and deviation > EXCESS)


def stamp_of(written: int, now: float, rate: int) -> float:
    """The capture side's clock as one number: `now * rate` less the frames written by then; NaN without a clock."""
    return now * rate - written if now > 0.0 else math.nan


def captured(state: EdgeState, written: int, now: float) -> float:
    """Frames that the input device has taken from the air by `now`, as the FIFO counts, its open block included."""
    setup = state.setup
    block, rate = setup[Setup.INPUT_BLOCK], setup[Setup.INPUT_RATE]
    since = now * rate - state.stamp[0] - written
    if not (now > 0.0 and math.isfinite(since)):
        return written + 0.5 * block
    return float(written + max(0.0, min(since, 2.0 * block + 0.02 * rate)))


def admit(state: EdgeState, frames: int, count: int, now: float) -> int:
    """How many of `count` core frames the FIFO can give for an output block of `frames`; steers, starts and skips."""
    setup, tally, loop, counters, clock = state.setup, state.tally, state.loop, state.fifo_counters, state.in_clock
    written, rate, seconds = counters[WRITTEN], setup[Setup.INPUT_RATE], frames / setup[Setup.OUTPUT_RATE]
    due = captured(state, written, now) - loop[Loop.TARGET] - ahead(state)
    if tally[Tally.RUNNING] == 1:
        position = counters[READ] + clock[Clock.POSITION] - clock[Clock.END]
        deviation = (due - position - clock[Clock.FRACTION] / clock[Clock.UNIT]) / rate
        if lasting_excess(loop, deviation, seconds):
            tally[Tally.SKIPS] += 1
            tally[Tally.RUNNING] = 0
            let_go(state)
        else:
            ratio = 1.0 + steer(loop, deviation, seconds)
            clock[Clock.STEP] = round(setup[Setup.STEP] * ratio)
    if tally[Tally.RUNNING] == 0:
        start(state, due, written, count)
    if tally[Tally.RUNNING] == 0 or count == 0:
        return 0
    waiting = clock[Clock.END] + written - counters[READ]
    if frames_for(clock, count) <= waiting:
        return count
    tally[Tally.RUNNING] = 0
    tally[Tally.UNDERRUNS] += 1
    tally[Tally.BREAK] = 1
    return min(count, count_from(clock, waiting))


def ahead(state: EdgeState) -> float:
    """Input frames by which the core's next frame comes before its time, for it is made in whole frames."""
    if state.setup[Setup.RESAMPLE_OUT] == 0:
        return 0.0
    clock = state.out_clock
    whole = clock[Clock.POSITION] + clock[Clock.HALF] - clock[Clock.END]
    core = whole + clock[Clock.FRACTION] / clock[Clock.UNIT]
    return float(core * state.setup[Setup.STEP] / state.in_clock[Clock.UNIT])


def start(state: EdgeState, due: float, written: int, count: int) -> None:
    """Begin to read so that the next core frame lies at `due` in the FIFO's count, if enough waits there."""
    clock, tally, loop = state.in_clock, state.tally, state.loop
    whole = math.floor(due)
    first = whole - clock[Clock.HALF] + 1
    if first < state.fifo_counters[READ]:
        return
    end, position, fraction = clock[Clock.END], clock[Clock.POSITION], clock[Clock.FRACTION]
    clock[Clock.END], clock[Clock.POSITION] = 0, clock[Clock.HALF] - 1
    clock[Clock.FRACTION] = int((due - whole) * clock[Clock.UNIT])
    if frames_for(clock, count + 1) > written - first:
        clock[Clock.END], clock[Clock.POSITION], clock[Clock.FRACTION] = end, position, fraction
        return
    state.fifo_counters[READ] = first
    loop[Loop.DEVIATION] = loop[Loop.LASTING] = 0.0
    tally[Tally.RUNNING] = 1
    tally[Tally.RISING] = state.setup[Setup.FADE]


def let_go(state: EdgeState) -> None:
    """From here on the last input of the core dies away, instead of ending in a step."""
    state.tally[Tally.FALLING] = state.setup[Setup.FADE]
    for channel in range(2):
        state.seam[1, channel] = state.seam[0, channel]
