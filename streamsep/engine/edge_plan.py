"""What lies between a device and the core: rates, channels, gains, and every frame of delay, fixed before it starts."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

from streamsep.engine.resampler import Ints, half_width, make_clock
from streamsep.engine.routing import Matrix
from streamsep.errors import StreamsepError


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
        ValueError: a separate input whose block is not told.
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
        if self.separate and self.input_block < 1:
            raise ValueError(f"a separate input needs the size of its blocks, got {self.input_block}")

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
        return math.floor(self._shortest)

    @property
    def added(self) -> Fraction:
        """The share of the edge in `delay`, in core frames."""
        return self.delay / self._per_core_frame - self.engine_lag

    @property
    def target(self) -> Fraction:
        """Frames of a separate input that wait between its device and the core, the block in the making included."""
        rounding = (self.delay - self._shortest) * Fraction(self.input_rate, self.output_rate)
        return self._least_fill + rounding

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
        """The delay, in frames of the output, at which every position has just enough frames before and after it.

        Less by a part of a frame, every position still has: frames come whole.
        """
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
