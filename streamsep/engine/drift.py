"""Two devices, two clocks: how the input's resampler is steered so that what waits between them stays the same.

A capture callback fills a FIFO, the output callback empties it. What waits is measured in time, not in blocks: the
capture side leaves a stamp of its clock, the output side reads the clock too, so that the sawtooth of two block sizes
beating against each other is not mistaken for drift. A loop of second order (proportional and integral, as in
F. Adriaensen, "Controlling adaptive resampling", LAC 2012) turns the deviation into a ratio.

All functions are scalar and compile as they stand.
"""

from __future__ import annotations

import math

from streamsep.engine.edge_state import READ, WRITTEN, EdgeState, Floats, Loop, Setup, Tally
from streamsep.engine.fence import fence
from streamsep.engine.resampler import Clock, Ints, count_from, frames_for
from streamsep.engine.ring import Audio

FASTEST, SLOWEST = 1.0, 0.15  # bandwidth of the loop in radians per second, at each start and once it has settled
SETTLING = 4.0  # the bandwidth falls as SETTLING / age
DAMPING = 1.0
SMOOTHING = 6.0  # bandwidth of the filter before the loop, in bandwidths of the loop
LIMIT = 1.2e-3  # largest deviation of the ratio; two devices are rarely 0.3e-3 apart
SLEW = 1e-3  # largest change of the ratio in a second: 1.7 cents
CLIP = 5e-3  # deviations of more seconds count as this
EXCESS = 20e-3  # seconds of sound too many that are skipped rather than worked off
EXCESS_MEMORY = 0.1  # seconds over which they must last


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


def captured(setup: Ints, stamp: float, written: int, now: float) -> float:
    """Frames that the input device has taken from the air by `now`, as the FIFO counts, its open block included."""
    block, rate = setup[Setup.INPUT_BLOCK], setup[Setup.INPUT_RATE]
    since = now * rate - stamp - written
    known = now > 0.0 and 0.0 <= since <= 2.0 * block + 0.02 * rate
    return float(written + (since if known else 0.5 * block))


def admit(state: EdgeState, frames: int, count: int, now: float) -> int:
    """How many of `count` core frames the FIFO can give for an output block of `frames`; steers, starts and skips."""
    setup, tally, loop, counters, clock = state.setup, state.tally, state.loop, state.fifo_counters, state.in_clock
    rate, seconds, dropped = setup[Setup.INPUT_RATE], frames / setup[Setup.OUTPUT_RATE], tally[Tally.DROPPED]
    fence()  # what was dropped, was so before what is written now
    written = counters[WRITTEN]
    fence()
    due = captured(setup, state.stamp[0], written, now) - loop[Loop.TARGET]
    if setup[Setup.RESAMPLE_OUT] == 1:
        due -= ahead(state.out_clock) * setup[Setup.STEP] / clock[Clock.UNIT]
    if tally[Tally.RUNNING] == 1:
        position = counters[READ] + clock[Clock.POSITION] - clock[Clock.END]
        deviation = (due - position - clock[Clock.FRACTION] / clock[Clock.UNIT]) / rate
        if dropped != tally[Tally.MISSED] or lasting_excess(loop, deviation, seconds):
            tally[Tally.OVERFLOWS] += 1
            tally[Tally.RUNNING] = 0
            let_go(tally, state.seam, setup[Setup.FADE])
        else:
            clock[Clock.STEP] = round(setup[Setup.STEP] * (1.0 + steer(loop, deviation, seconds)))
    if dropped != tally[Tally.MISSED]:  # somewhere before `written` the sound jumps
        tally[Tally.MISSED] = dropped
        counters[READ] = written
    if tally[Tally.RUNNING] == 0 and start(clock, counters, due, count):
        loop[Loop.AGE] = loop[Loop.DEVIATION] = loop[Loop.LASTING] = 0.0
        tally[Tally.RUNNING] = 1
        tally[Tally.RISING] = setup[Setup.FADE]
    if tally[Tally.RUNNING] == 0 or count == 0:
        return 0
    waiting = clock[Clock.END] + written - counters[READ]
    if frames_for(clock, count) <= waiting:
        return count
    tally[Tally.RUNNING] = 0
    tally[Tally.UNDERRUNS] += 1
    tally[Tally.BREAK] = 1
    return min(count, count_from(clock, waiting))


def ahead(clock: Ints) -> float:
    """Core frames by which the core's next frame comes before its time, for frames are made whole: below 0 if late."""
    whole = clock[Clock.POSITION] + clock[Clock.HALF] - clock[Clock.END]
    return float(whole + clock[Clock.FRACTION] / clock[Clock.UNIT])


def start(clock: Ints, counters: Ints, due: float, count: int) -> bool:
    """Begin to read so that the next core frame lies at `due` in the FIFO's count, if enough waits for `count`."""
    whole, half = math.floor(due), clock[Clock.HALF]
    first = whole - half + 1
    last = whole + half + (count + 1) * clock[Clock.STEP] // clock[Clock.UNIT]
    if first < counters[READ] or last >= counters[WRITTEN]:
        return False
    counters[READ] = first
    clock[Clock.END], clock[Clock.POSITION] = 0, half - 1
    clock[Clock.FRACTION] = int((due - whole) * clock[Clock.UNIT])
    return True


def let_go(tally: Ints, seam: Audio, fade: int) -> None:
    """From here on the last input of the core dies away, instead of ending in a step."""
    tally[Tally.FALLING] = fade
    for channel in range(2):
        seam[1, channel] = seam[0, channel]
