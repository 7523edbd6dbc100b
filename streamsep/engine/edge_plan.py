"""What lies between a device and the core: rates, channels, gains, and every frame of delay, fixed before it starts."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import IntEnum
from fractions import Fraction
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from streamsep.engine.resampler import LANES, PHASES, Clock, Ints, filter_table, half_width, make_clock
from streamsep.engine.ring import Audio, Ring
from streamsep.engine.routing import Matrix
from streamsep.errors import StreamsepError

Floats = NDArray[np.float64]

# Beyond 120 dB over full scale there is no sound, and sums of it are soon not finite.
LOUDEST = 1e6


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
    loop: Floats  # see drift.Loop
    tally: Ints  # see drift.Tally
    seam: Audio  # [2, 2]: the last input of the core, and the value that dies away


@dataclass(frozen=True)
class EdgePlan:
    """An edge, and its delay.

    Attributes:
        engine_rate: of the core, in Hz.
        input_rate, output_rate: of the device; they differ only where input and output are two devices.
        device_inputs: channels that the device delivers.
        matrix: see `routing.routing_matrix`; its shape is the device's outputs by the core's.
        max_block: most frames of one device block.
        engine_lag: core frames by which the core's output lags behind its input.
        input_channels: device channels, from 1: two, or one for both sides; none: the first two, or the only one.
        input_gain, output_gain: at the start, linear.
        limiter: hold the output below 1, softly.
        fade: frames of a change of gain.
        separate: input and output are two devices with two clocks.
        input_block: most frames of one block of a separate input device.
        slack: seconds that a block of a separate device may come late without harm; they are part of the delay.

    Raises:
        StreamsepError: channels or rates that do not fit.
    """

    engine_rate: int
    input_rate: int
    output_rate: int
    device_inputs: int
    matrix: Matrix
    max_block: int
    engine_lag: int = 0
    input_channels: tuple[int, ...] = ()
    input_gain: float = 1.0
    output_gain: float = 1.0
    limiter: bool = False
    fade: int = 64
    separate: bool = False
    input_block: int = 0
    slack: float = 0.003

    def __post_init__(self) -> None:
        shown = ",".join(map(str, self.input_channels))
        if len(self.input_channels) > 2:
            raise StreamsepError(f"input channels {shown} are more than two; give one (mono) or two (stereo)")
        if any(not 1 <= channel <= self.device_inputs for channel in self.input_channels):
            raise StreamsepError(f"input channels {shown} are not all there; the device has 1 to {self.device_inputs}")
        if not self.separate and self.input_rate != self.output_rate:
            rates = f"{self.input_rate} Hz in and {self.output_rate} Hz out"
            raise StreamsepError(f"one device cannot run at {rates}; set both to {self.engine_rate} Hz")

    @property
    def resample_in(self) -> bool:
        """Whether the input passes a resampler; two clocks need one at equal rates too."""
        return self.separate or self.input_rate != self.engine_rate

    @property
    def resample_out(self) -> bool:
        """Whether the output passes a resampler."""
        return self.output_rate != self.engine_rate

    @property
    def engine_outputs(self) -> int:
        """Outputs of the core."""
        return len(self.matrix[0])

    @property
    def device_outputs(self) -> int:
        """Channels that the device takes."""
        return len(self.matrix)

    @property
    def max_core(self) -> int:
        """Most core frames that a device block can need."""
        if not self.resample_out:
            return self.max_block
        return -(-self.max_block * self.engine_rate // self.output_rate) + 1

    @property
    def delay(self) -> int:
        """Frames of the output device by which its output lags behind its input, the core's lag included.

        With two devices: while the clock of the input is held, and beyond the input block, which the device's own
        latency counts.
        """
        return math.ceil(self._shortest)

    @property
    def added(self) -> Fraction:
        """The share of the edge in `delay`, in core frames."""
        return self.delay / self._per_core_frame - self.engine_lag

    @property
    def target(self) -> Fraction:
        """Frames of a separate input that wait between its device and the core, the block in the making included."""
        spare = (self.delay - self._shortest) * Fraction(self.input_rate, self.output_rate)
        return self._least_fill + spare

    @property
    def _per_core_frame(self) -> Fraction:
        return Fraction(self.output_rate, self.engine_rate)

    @property
    def _half_in(self) -> int:
        return half_width(self.input_rate, self.engine_rate) if self.resample_in else 0

    @property
    def _half_out(self) -> int:
        return half_width(self.engine_rate, self.output_rate) if self.resample_out else 0

    @property
    def _least_fill(self) -> Fraction:
        """Input frames that must wait at the start of an output block, at least and on average."""
        block = Fraction((self.max_core + 1) * self.input_rate, self.engine_rate)
        return self.input_block + self._half_in + block + math.ceil(self.slack * self.input_rate)

    @property
    def _shortest(self) -> Fraction:
        """The delay that the filters and the FIFO enforce; the rest to a whole frame is waited out."""
        behind = (self._half_out + self.engine_lag) * self._per_core_frame
        if self.separate:
            before = (self._least_fill - self.input_block) * Fraction(self.output_rate, self.input_rate)
        else:
            before = Fraction(self._half_in)
        return before + behind

    def clocks(self) -> tuple[Ints, Ints]:
        """Those of the input's and the output's resampler, at the start."""
        first_in = Fraction(0 if self.separate else -self._half_in)
        if self.separate:  # the FIFO's target takes the rest; the core's frames are due when the device asks for them
            first_out = Fraction(-self._half_out)
        else:
            first_out = self.engine_lag - (self.delay + first_in) / self._per_core_frame
        into = make_clock(self.input_rate, self.engine_rate, first_in)
        return into, make_clock(self.engine_rate, self.output_rate, first_out)


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
    loop = np.zeros(8, dtype=np.float64)
    loop[0] = plan.target if plan.separate else 0
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
        return np.zeros((PHASES + 1, LANES), dtype=np.float32), np.zeros((channels, 1), dtype=np.float32)
    # What waits for the filter, what the whole frame of the delay and the last position's rounding keep back.
    room = 2 * half_width(input_rate, output_rate) + 2 * (-(-input_rate // output_rate)) + 4 + block
    return filter_table(input_rate, output_rate), np.zeros((channels, room), dtype=np.float32)
