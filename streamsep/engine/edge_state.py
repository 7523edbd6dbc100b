"""The memory of an edge: small arrays of numbers whose slots have names, and arrays of audio.

It knows nothing of how they are used; `make_state` fills them from a plan.
"""

from __future__ import annotations

import math
from enum import IntEnum
from fractions import Fraction
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from streamsep.engine.edge_plan import EdgePlan
from streamsep.engine.resampler import LANES, Clock, Ints, filter_table, half_width
from streamsep.engine.ring import Audio, Ring

Floats = NDArray[np.float64]

# Slots of `EdgeState.fifo_counters`, as in a Ring.
WRITTEN, READ = 0, 8


class Setup(IntEnum):
    """What never changes, as slots of an int64 array."""

    RESAMPLE_IN = 0
    RESAMPLE_OUT = 1
    SEPARATE = 2
    LIMITER = 3
    FADE = 4  # frames of a change of gain
    INPUT_RATE = 5
    OUTPUT_RATE = 6
    INPUT_BLOCK = 7
    STEP = 8  # of the input's clock at equal clocks


class Knob(IntEnum):
    """What another thread may turn, as slots of a float64 array: linear gains, and 0 or 1."""

    INPUT_GAIN = 0
    OUTPUT_GAIN = 1
    PANIC = 2


class Ramp(IntEnum):
    """A gain on its way, as slots of a float64 array."""

    START = 0
    TARGET = 1
    LEFT = 2  # frames still to go


class Peak(IntEnum):
    """Highest absolute sample since someone last wrote 0, as slots of a float32 array."""

    INPUT = 0  # at the door of the core, after the gain
    OUTPUT = 1  # at the device


class Loop(IntEnum):
    """The loop, as slots of a float64 array; deviations in seconds of sound too many."""

    TARGET = 0  # frames that should wait
    AGE = 1  # seconds since the sound began
    DEVIATION = 2  # smoothed
    LASTING = 3  # smoothed longer, to tell a stall from jitter
    TREND = 4  # the ratio that the clocks seem to have, less 1
    RATIO = 5  # the ratio in force, less 1


class Tally(IntEnum):
    """What happened, as slots of an int64 array; the slots from 8 on are the capture side's."""

    RUNNING = 0  # 1 while the FIFO is read
    UNDERRUNS = 1  # times it ran empty
    OVERFLOWS = 2  # times too much waited and was thrown away
    RISING = 3  # frames of a fade-in still to come
    FALLING = 4  # frames for which the last value before a gap still dies away
    BREAK = 5  # 1: the sound ends in this block
    MISSED = 6  # as much of DROPPED as has been dealt with
    DROPPED = 8  # frames that found no room


class EdgeState(NamedTuple):
    """All that the edge reads and writes, C-contiguous, so that compiled code needs the addresses alone.

    Unused parts have length one. `E`: outputs of the core.
    """

    setup: Ints
    pick: Ints  # [2] device channels, from 0
    matrix: Audio  # [device outputs, E]
    knobs: Floats  # see Knob
    ramps: Floats  # [2, 3], input and output; see Ramp
    peaks: Audio  # see Peak
    core_in: Audio  # [2, max_core], filled by the edge for the core
    core_out: Audio  # [E, max_core], filled by the core for the edge
    bus: Audio  # [E, max_block], the core's output at the device's rate
    in_clock: Ints  # see resampler.Clock
    in_history: Audio  # [2, room]
    in_table: Audio
    in_taps: Audio  # [taps], scratch
    out_clock: Ints
    out_history: Audio  # [E, room]
    out_table: Audio
    out_taps: Audio
    fifo_counters: Ints  # [16], as Ring.arrays
    fifo: Audio  # [2, capacity]
    stamp: Floats  # [1], written by the capture side: see drift.stamp_of
    loop: Floats  # see Loop
    tally: Ints  # see Tally
    seam: Audio  # [2, 2]: the last input of the core, and the value that dies away


def make_state(plan: EdgePlan) -> EdgeState:
    """The state of an edge before its first block."""
    setup = np.zeros(len(Setup), dtype=np.int64)
    in_clock, out_clock = plan.clocks()
    setup[Setup.RESAMPLE_IN], setup[Setup.RESAMPLE_OUT] = plan.resample_in, plan.resample_out
    setup[Setup.SEPARATE], setup[Setup.LIMITER], setup[Setup.FADE] = plan.separate, plan.limiter, max(1, plan.fade)
    setup[Setup.INPUT_RATE], setup[Setup.OUTPUT_RATE] = plan.input_rate, plan.output_rate
    setup[Setup.INPUT_BLOCK], setup[Setup.STEP] = plan.input_block, in_clock[Clock.STEP]
    # A hundredth more than a core block is made of: the ratio is steered.
    steered = math.ceil(plan.max_core * Fraction(plan.input_rate, plan.engine_rate) * Fraction(101, 100))
    in_room = (steered if plan.separate else plan.max_block) if plan.resample_in else 0
    in_table, in_history = _filter(plan.input_rate, plan.engine_rate, 2, in_room)
    out_room = plan.max_core if plan.resample_out else 0
    out_table, out_history = _filter(plan.engine_rate, plan.output_rate, plan.engine_outputs, out_room)
    # Half a second beyond the target: a device that stalls longer has lost its sound anyway.
    capacity = math.ceil(2 * plan.target) + plan.input_rate // 2 if plan.separate else 1
    fifo_counters, fifo = Ring(2, capacity).arrays
    loop = np.zeros(len(Loop), dtype=np.float64)
    loop[Loop.TARGET] = plan.target if plan.separate else 0
    return EdgeState(
        setup=setup,
        pick=_picks(plan),
        matrix=np.array(plan.matrix, dtype=np.float32),
        knobs=np.array([plan.input_gain, plan.output_gain, 0.0]),
        ramps=np.array([[gain, gain, 0.0] for gain in (plan.input_gain, plan.output_gain)]),
        peaks=np.zeros(len(Peak), dtype=np.float32),
        core_in=np.zeros((2, plan.max_core), dtype=np.float32),
        core_out=np.zeros((plan.engine_outputs, plan.max_core), dtype=np.float32),
        bus=np.zeros((plan.engine_outputs, plan.max_block), dtype=np.float32),
        in_clock=in_clock,
        in_history=in_history,
        in_table=in_table,
        in_taps=np.zeros(in_table.shape[1], dtype=np.float32),
        out_clock=out_clock,
        out_history=out_history,
        out_table=out_table,
        out_taps=np.zeros(out_table.shape[1], dtype=np.float32),
        fifo_counters=fifo_counters,
        fifo=fifo,
        stamp=np.full(1, np.nan),
        loop=loop,
        tally=np.zeros(16, dtype=np.int64),
        seam=np.zeros((2, 2), dtype=np.float32),
    )


def _picks(plan: EdgePlan) -> Ints:
    channels = plan.input_channels or (1, 2)[: plan.device_inputs]
    return np.array([channels[0] - 1, channels[-1] - 1], dtype=np.int64)


def _filter(input_rate: int, output_rate: int, channels: int, block: int) -> tuple[Audio, Audio]:
    """The table and the history of a resampler fed with `block` frames at a time; 0: of none."""
    if block == 0:
        return np.zeros((2, LANES), dtype=np.float32), np.zeros((channels, 1), dtype=np.float32)
    # What waits for the filter, what the whole frame of the delay and the last position's rounding keep back.
    room = 2 * half_width(input_rate, output_rate) + 2 * (-(-input_rate // output_rate)) + 4 + block
    # A copy: numba takes arrays that may be written for another type than those that may not.
    return filter_table(input_rate, output_rate).copy(), np.zeros((channels, room), dtype=np.float32)
