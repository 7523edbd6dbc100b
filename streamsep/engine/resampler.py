"""A streaming resampler with the delay of a short filter, between any two rates, whose positions stay exact for hours.

A sinc under a Kaiser window, 32 frames of the lower rate to either side, tabulated at 512 phases with straight lines
between them (J. O. Smith, "Digital Audio Resampling", https://ccrma.stanford.edu/~jos/resample/). Positions are whole
numbers: a frame of the input is `UNIT` units, and a frame of the output is `STEP` units further on, so nothing ages.
"""

from __future__ import annotations

from enum import IntEnum
from fractions import Fraction
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from streamsep.engine.ring import Audio

HALF = 32  # frames of the lower rate on either side of a position
PHASES = 512  # lines between so many add less error (-106 dB) than the window lets through
BETA = 9.5  # shape of the window: flat to 20 kHz, 89 dB down from 24.1 kHz on, at 44.1 kHz
LANES = 8  # sums that run side by side in the compiled form: the filter's length is a multiple
_PIECE = 64  # output frames that the numpy form makes at once
_FINE = 1 << 42  # units of a frame at most: a million steps still fit in 64 bits

Ints = NDArray[np.int64]


class Clock(IntEnum):
    """Where a resampler stands, as slots of an int64 array; frames are counted from the start of its history."""

    END = 0  # frames in the history
    POSITION = 1  # whole input frames before the next output frame
    FRACTION = 2  # and the rest, in units
    STEP = 3  # units from one output frame to the next
    UNIT = 4  # units of an input frame
    HALF = 5  # input frames that are needed on either side of a position


def half_width(input_rate: int, output_rate: int) -> int:
    """Input frames on either side of a position that an output frame is made of."""
    half = -(-HALF * max(input_rate, output_rate) // output_rate)
    return half + -2 * half % LANES // 2


@lru_cache(maxsize=8)
def filter_table(input_rate: int, output_rate: int) -> Audio:
    """The filter `[PHASES + 1, taps]`; row p is for a position p / PHASES after frame taps / 2 - 1, and sums to 1."""
    half = half_width(input_rate, output_rate)
    distance = np.arange(PHASES + 1)[:, None] / PHASES + (half - 1) - np.arange(2 * half)
    window = np.i0(BETA * np.sqrt(np.maximum(0.0, 1 - (distance / half) ** 2)))
    table = window * np.sinc(distance * min(1.0, output_rate / input_rate))
    table = (table / table.sum(axis=1, keepdims=True)).astype(np.float32)
    table.flags.writeable = False
    return table


def make_clock(input_rate: int, output_rate: int, position: Fraction | int = 0) -> Ints:
    """A clock whose next output frame lies at `position`, in input frames; it may be negative.

    The history then begins with as much silence as the filter sees before that position, and before frame 0.
    A position that is a multiple of `input_rate / output_rate` modulo 1 is held exactly, as all that follow.
    """
    ratio, half = Fraction(input_rate, output_rate), half_width(input_rate, output_rate)
    scale = _FINE // max(ratio.numerator, ratio.denominator)
    unit = ratio.denominator * scale
    units = round(Fraction(position) * unit)
    silence = max(0, half - 1 - units // unit)
    return np.array([silence, units // unit + silence, units % unit, ratio.numerator * scale, unit, half], np.int64)


def frames_for(clock: Ints, count: int) -> int:
    """Frames that the history must hold before `count` > 0 output frames can be made."""
    last = clock[Clock.FRACTION] + (count - 1) * clock[Clock.STEP]
    return int(clock[Clock.POSITION] + last // clock[Clock.UNIT] + clock[Clock.HALF] + 1)


def count_from(clock: Ints, frames: int) -> int:
    """Output frames that can be made of a history of `frames` frames."""
    room = (frames - clock[Clock.HALF] - clock[Clock.POSITION]) * clock[Clock.UNIT] - 1 - clock[Clock.FRACTION]
    return int(max(0, room // clock[Clock.STEP] + 1))


def advance(clock: Ints, count: int) -> int:
    """Move on by `count` output frames; returns the frames at the start of the history that are needed no more."""
    units = clock[Clock.FRACTION] + count * clock[Clock.STEP]
    position = clock[Clock.POSITION] + units // clock[Clock.UNIT]
    done = max(0, min(position - clock[Clock.HALF] + 1, clock[Clock.END]))
    clock[Clock.POSITION] = position - done
    clock[Clock.FRACTION] = units % clock[Clock.UNIT]
    clock[Clock.END] -= done
    return int(done)


class Resampler:
    """The numpy form: `push` input, `pull` output, in any portions.

    Args:
        history: `[C, room]`, zeros.
        table: see `filter_table`.
        clock: see `make_clock`.
    """

    def __init__(self, history: Audio, table: Audio, clock: Ints) -> None:
        self.history, self.clock = history, clock
        self._table, taps = table, table.shape[1]
        self._rise: Audio = np.diff(table, axis=0)  # from a phase to the next
        self._count = np.arange(_PIECE, dtype=np.int64)
        self._tap = np.arange(taps, dtype=np.int64)
        self._index: Ints = np.zeros((_PIECE, taps), dtype=np.int64)
        self._taps: Audio = np.zeros((_PIECE, taps), dtype=np.float32)
        self._window: Audio = np.zeros((_PIECE, taps), dtype=np.float32)

    @classmethod
    def between(
        cls, input_rate: int, output_rate: int, channels: int, max_block: int, position: Fraction | int = 0
    ) -> Resampler:
        """A resampler of its own memory, for pushes of at most `max_block` frames, each followed by `pull_all`.

        Output frame k is what the input was at `position + k * input_rate / output_rate`, in frames.
        """
        clock = make_clock(input_rate, output_rate, position)
        room = int(clock[Clock.END]) + 2 * half_width(input_rate, output_rate) + max_block
        history: Audio = np.zeros((channels, room), dtype=np.float32)
        return cls(history, filter_table(input_rate, output_rate), clock)

    def push(self, block: Audio) -> None:
        """Add `block [C, n]` to the history."""
        end = int(self.clock[Clock.END])
        self.history[:, end : end + block.shape[1]] = block
        self.clock[Clock.END] += block.shape[1]

    def pull(self, out: Audio) -> None:
        """Make `out [C, m]`; the history must hold `frames_for(clock, m)` frames."""
        count = out.shape[1]
        for first in range(0, count, _PIECE):
            self._make(out[:, first : first + _PIECE], first)
        before = int(self.clock[Clock.END])
        done = advance(self.clock, count)
        self.history[:, : before - done] = self.history[:, done:before]

    def pull_all(self) -> Audio:
        """All that can be made by now, `[C, m]`, new memory."""
        count = count_from(self.clock, int(self.clock[Clock.END]))
        out: Audio = np.zeros((self.history.shape[0], count), dtype=np.float32)
        self.pull(out)
        return out

    def _make(self, out: Audio, first: int) -> None:
        frames, unit = out.shape[1], self.clock[Clock.UNIT]
        units = (self._count[:frames] + first) * self.clock[Clock.STEP] + self.clock[Clock.FRACTION]
        start = units // unit + (self.clock[Clock.POSITION] - self.clock[Clock.HALF] + 1)
        phase = (units % unit) * (PHASES / unit)
        row = phase.astype(np.int64)
        taps, window, index = self._taps[:frames], self._window[:frames], self._index[:frames]
        # The mode spares numpy a buffer; no index is out of range.
        np.take(self._rise, row, axis=0, out=taps, mode="clip")
        np.multiply(taps, (phase - row).astype(np.float32)[:, None], out=taps)
        np.take(self._table, row, axis=0, out=window, mode="clip")
        np.add(taps, window, out=taps)
        np.add(start[:, None], self._tap, out=index)
        for channel, history in zip(out, self.history, strict=True):
            np.take(history, index, out=window, mode="clip")
            np.einsum("mt,mt->m", window, taps, out=channel)
