"""The edge in numpy: between a device's blocks and the core's, inside the audio callback.

    capture: channels, not-a-number -> silence      (the block of the device, or of a separate input device)
    enter:   resampling or FIFO, input gain         -> core_in [2, m]
    leave:   core_out [E, m] -> resampling, routing, output gain, limiter -> the block of the device

It is the reference for `compiled_edge`, which does the same on the same state without the interpreter.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from streamsep.engine.drift import admit, let_go, stamp_of
from streamsep.engine.edge_plan import EdgePlan
from streamsep.engine.edge_state import READ, WRITTEN, EdgeState, Floats, Knob, Peak, Ramp, Setup, Tally, make_state
from streamsep.engine.fence import fence
from streamsep.engine.resampler import Clock, Ints, Resampler, frames_for
from streamsep.engine.ring import Audio
from streamsep.engine.routing import Route, routing_matrix

__all__ = ["Edge", "EdgePlan", "EdgeState", "Route", "make_state", "routing_matrix"]

KNEE = 0.9  # below it the limiter does nothing
LOUDEST = 1e6  # beyond 120 dB over full scale there is no sound, and sums of it are soon not finite


def core_frames(setup: Ints, clock: Ints, frames: int) -> int:
    """Core frames that the next device block of `frames` is made of, with the clock of the output."""
    if setup[Setup.RESAMPLE_OUT] == 0 or frames == 0:
        return frames
    return max(0, frames_for(clock, frames) - clock[Clock.END])


def aim(ramp: Floats, target: float, fade: int) -> None:
    """Let a gain set out for `target`, from wherever it is."""
    if target != ramp[Ramp.TARGET]:
        ramp[Ramp.START] = ramp[Ramp.TARGET] + (ramp[Ramp.START] - ramp[Ramp.TARGET]) * (ramp[Ramp.LEFT] / fade)
        ramp[Ramp.TARGET] = target
        ramp[Ramp.LEFT] = fade


def output_target(knobs: Floats) -> float:
    """Where the output's gain has to go now."""
    return 0.0 if knobs[Knob.PANIC] != 0.0 else float(knobs[Knob.OUTPUT_GAIN])


class Edge:
    """The numpy form.

    Args:
        plan: rates, channels, gains.
        state: to share with compiled code; None: fresh.

    Attributes:
        plan, state: as above.
        core_in: `[2, max_core]`, `core_out`: `[E, max_core]`: what the core reads and fills.
    """

    def __init__(self, plan: EdgePlan, state: EdgeState | None = None) -> None:
        self.plan = plan
        self.state = state = state or make_state(plan)
        self.core_in, self.core_out = state.core_in, state.core_out
        self._into = Resampler(state.in_history, state.in_table, state.in_clock)
        self._out_of = Resampler(state.out_history, state.out_table, state.out_clock)
        self._fade = int(state.setup[Setup.FADE])
        room = max(plan.max_core, plan.max_block, plan.input_block, self._fade)
        self._count: Floats = np.arange(room, dtype=np.float64)
        self._gain: Floats = np.zeros(room, dtype=np.float64)
        self._weight: Audio = np.zeros(room, dtype=np.float32)
        self._row: Audio = np.zeros(room, dtype=np.float32)
        self._wrong: NDArray[np.bool_] = np.zeros(room, dtype=bool)
        self._clean: Audio = np.zeros((2, room), dtype=np.float32)
        self._terms = [[(int(e), row[e]) for e in np.flatnonzero(row)] for row in state.matrix]

    def capture(self, indata: Audio, now: float = 0.0) -> None:
        """Take `indata [device inputs, n]`, n <= max_block (input_block where separate).

        `now`: seconds of the clock that `enter` reads too; 0: none. With a separate input this is called by another
        thread; else right before `enter`.
        """
        state, frames = self.state, indata.shape[1]
        if not self.plan.resample_in:
            self._choose(indata, state.core_in[:, :frames])
            return
        block = self._clean[:, :frames]
        self._choose(indata, block)
        if self.plan.separate:
            self._store(block, now)
        else:
            self._into.push(block)

    def enter(self, frames: int, now: float = 0.0) -> int:
        """Fill `core_in[:, :m]` for an output block of `frames` <= max_block; returns m, which may be 0."""
        state, count = self.state, core_frames(self.state.setup, self.state.out_clock, frames)
        block = state.core_in[:, :count]
        if self.plan.separate:
            made = admit(state, frames, count, now)
            self._fetch(block[:, :made])
            self._join(block, made)
        elif self.plan.resample_in and count:
            self._into.pull(block)
        aim(state.ramps[0], state.knobs[Knob.INPUT_GAIN], self._fade)
        self._amplify(state.ramps[0], block)
        self._watch(Peak.INPUT, block)
        return count

    def leave(self, count: int, outdata: Audio) -> None:
        """Make `outdata [device outputs, n]` of `core_out[:, :count]`; `count` and n as `enter` had them."""
        bus = self.core_out[:, :count]
        if self.plan.resample_out:
            self._out_of.push(bus)
            bus = self.state.bus[:, : outdata.shape[1]]
            self._out_of.pull(bus)
        self._route(bus, outdata)
        aim(self.state.ramps[1], output_target(self.state.knobs), self._fade)
        self._amplify(self.state.ramps[1], outdata)
        if self.plan.limiter:
            self._limit(outdata)
        self._watch(Peak.OUTPUT, outdata)

    def _choose(self, indata: Audio, out: Audio) -> None:
        """The two chosen channels; what is no sound becomes silence before it can stay in a filter's history."""
        wrong = self._wrong[: indata.shape[1]]
        for channel, pick in zip(out, self.state.pick, strict=True):
            np.copyto(channel, indata[pick])
            np.abs(channel, out=self._row[: len(channel)])
            np.less_equal(self._row[: len(channel)], np.float32(LOUDEST), out=wrong)
            np.logical_not(wrong, out=wrong)
            np.copyto(channel, np.float32(0), where=wrong)

    def _store(self, block: Audio, now: float) -> None:
        """Into the FIFO, all or nothing."""
        counters, fifo, frames = self.state.fifo_counters, self.state.fifo, block.shape[1]
        written, capacity = int(counters[WRITTEN]), fifo.shape[1]
        if written + frames - counters[READ] > capacity:
            self.state.tally[Tally.DROPPED] += frames
            frames = 0
        start = written % capacity
        split = min(frames, capacity - start)
        fifo[:, start : start + split] = block[:, :split]
        fifo[:, : frames - split] = block[:, split:frames]
        self.state.stamp[0] = stamp_of(written + frames, now, self.plan.input_rate)
        fence()
        counters[WRITTEN] = written + frames

    def _fetch(self, out: Audio) -> None:
        """From the FIFO through the resampler into `out [2, made]`."""
        if out.shape[1] == 0:
            return
        counters, fifo, clock = self.state.fifo_counters, self.state.fifo, self.state.in_clock
        frames = max(0, frames_for(clock, out.shape[1]) - int(clock[Clock.END]))
        read, capacity = int(counters[READ]), fifo.shape[1]
        start = read % capacity
        split = min(frames, capacity - start)
        self._into.push(fifo[:, start : start + split])
        self._into.push(fifo[:, : frames - split])
        fence()
        counters[READ] = read + frames
        self._into.pull(out)

    def _join(self, block: Audio, made: int) -> None:
        """Fade in after a gap, and let the last value before one die away."""
        tally, seam = self.state.tally, self.state.seam
        block[:, made:] = 0.0
        rising = int(tally[Tally.RISING])
        if rising and made:
            weight = self._weighted(min(rising, made), self._fade - rising + 1, 1)
            block[:, : len(weight)] *= weight
            tally[Tally.RISING] = rising - len(weight)
        broken = int(tally[Tally.BREAK])
        self._die_away(block[:, :made] if broken else block)
        if made:
            seam[0] = block[:, made - 1]
        if broken:
            tally[Tally.BREAK] = 0
            let_go(tally, seam, self._fade)
            self._die_away(block[:, made:])
        if block.shape[1]:
            seam[0] = block[:, -1]

    def _die_away(self, block: Audio) -> None:
        falling = int(self.state.tally[Tally.FALLING])
        frames = min(falling, block.shape[1])
        if frames:
            weight = self._weighted(frames, falling - 1, -1)
            for channel, value in zip(block, self.state.seam[1], strict=True):
                np.multiply(weight, value, out=self._row[:frames])
                channel[:frames] += self._row[:frames]
            self.state.tally[Tally.FALLING] = falling - frames

    def _weighted(self, frames: int, first: int, sign: int) -> Audio:
        """`(first + sign * i) / fade` for i < frames."""
        gain, weight = self._gain[:frames], self._weight[:frames]
        np.multiply(self._count[:frames], sign, out=gain)
        np.add(gain, first, out=gain)
        np.divide(gain, self._fade, out=gain)
        np.copyto(weight, gain, casting="same_kind")
        return weight

    def _amplify(self, ramp: Floats, audio: Audio) -> None:
        frames, left, target = audio.shape[1], int(ramp[Ramp.LEFT]), ramp[Ramp.TARGET]
        if left == 0:
            if target != 1.0:
                np.multiply(audio, np.float32(target), out=audio)
            return
        gain, weight = self._gain[:frames], self._weight[:frames]
        np.subtract(left - 1, self._count[:frames], out=gain)
        np.maximum(gain, 0.0, out=gain)
        np.divide(gain, self._fade, out=gain)
        np.multiply(gain, ramp[Ramp.START] - target, out=gain)
        np.add(gain, target, out=gain)
        np.copyto(weight, gain, casting="same_kind")
        for channel in audio:
            np.multiply(channel, weight, out=channel)
        ramp[Ramp.LEFT] = max(0, left - frames)

    def _route(self, bus: Audio, outdata: Audio) -> None:
        row = self._row[: bus.shape[1]]
        for channel, terms in zip(outdata, self._terms, strict=True):
            channel[:] = 0.0
            for number, (output, gain) in enumerate(terms):
                if number == 0:
                    np.multiply(bus[output], gain, out=channel)
                else:
                    np.multiply(bus[output], gain, out=row)
                    np.add(channel, row, out=channel)

    def _limit(self, audio: Audio) -> None:
        """Above the knee `knee + (1 - knee) * tanh((|x| - knee) / (1 - knee))`: no jump of the slope, never above 1."""
        gain, row, loud = self._gain[: audio.shape[1]], self._row[: audio.shape[1]], self._wrong[: audio.shape[1]]
        for channel in audio:
            np.abs(channel, out=gain)
            np.greater(gain, KNEE, out=loud)
            if not loud.any():
                continue
            np.subtract(gain, KNEE, out=gain)
            np.divide(gain, 1.0 - KNEE, out=gain)
            np.tanh(gain, out=gain)
            np.multiply(gain, 1.0 - KNEE, out=gain)
            np.add(gain, KNEE, out=gain)
            np.copyto(row, gain, casting="same_kind")
            np.copysign(row, channel, out=row)
            np.copyto(channel, row, where=loud)

    def _watch(self, peak: int, audio: Audio) -> None:
        for channel in audio:
            if channel.size:
                top = max(float(channel.max()), -float(channel.min()))
                self.state.peaks[peak] = max(self.state.peaks[peak], np.float32(top))
