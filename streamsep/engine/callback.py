"""The audio callback: device block in, device block out, whatever the worker does.

It never waits, never logs and allocates no audio: it copies between the device and rings, counts, and cross-fades
between the separated sound and the delayed dry mix by absolute frame index. It does not know what a separator is.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from streamsep.engine.fence import fence
from streamsep.engine.link import Counter, Link
from streamsep.engine.ring import Audio
from streamsep.engine.timing import LatencyBudget

OnOverload = Literal["dry", "mute"]


def dry_gains(link: Link, on_overload: OnOverload, plain: float | None) -> Audio:
    """The gain of the dry mix in an overload, and what a bypass adds to it: there the mix is heard in any case.

    Spread over several pairs of channels, it must still add up to the mix: over all of them in an overload, which
    whoever hears a single stem must not hear loudly, over those that are heard (`plain`) in a bypass.
    """
    whole = link.input.channels / link.output.channels
    overload = whole if on_overload == "dry" else 0.0
    return np.array([overload, (whole if plain is None else plain) - overload], dtype=np.float32)


class DelayLine:
    """The input, `delay` frames ago."""

    def __init__(self, channels: int, delay: int, max_block: int) -> None:
        self._delay = delay
        self._size = delay + max_block
        self._data: Audio = np.zeros((channels, self._size), dtype=np.float32)
        self._index = 0

    def process(self, block: Audio, out: Audio) -> None:
        """Store `block [C, n]` and write what arrived `delay` frames earlier to `out [C, n]`; n <= max_block."""
        frames = block.shape[1]
        start = self._index % self._size
        split = min(frames, self._size - start)
        self._data[:, start : start + split] = block[:, :split]
        self._data[:, : frames - split] = block[:, split:]
        start = (self._index - self._delay) % self._size
        split = min(frames, self._size - start)
        out[:, :split] = self._data[:, start : start + split]
        out[:, split:] = self._data[:, : frames - split]
        self._index += frames


class Callback:
    """Feeds the input ring, empties the output ring, and covers for a worker that is late, stuck or dead.

    Args:
        link: rings and counters; the output ring must be pre-filled with `budget.path` frames.
        budget: the delays of this stream.
        max_block: frames handled at once; larger device blocks are cut.
        on_overload: what is heard instead of separated sound that is not there: "dry" (the mix) or "mute".
        recover: frames that the worker must have been in time before its sound comes back.
        plain: the gain of the mix on each pair of channels in a bypass; None if all pairs are heard.
    """

    def __init__(
        self,
        link: Link,
        budget: LatencyBudget,
        *,
        max_block: int,
        on_overload: OnOverload = "dry",
        recover: int = 0,
        plain: float | None = None,
    ) -> None:
        self._link = link
        self._fade, self._recover, self._max_block = budget.fade, recover, max_block
        inputs, outputs = link.input.channels, link.output.channels
        self._dry_gains = dry_gains(link, on_overload, plain)
        self._line = DelayLine(inputs, budget.lag, max_block)
        self._clean: Audio = np.zeros((inputs, max_block), dtype=np.float32)
        self._broken: NDArray[np.bool_] = np.zeros((inputs, max_block), dtype=bool)
        self._dry: Audio = np.zeros((inputs, max_block), dtype=np.float32)
        self._wet: Audio = np.zeros((outputs, max_block), dtype=np.float32)
        self._weight: Audio = np.zeros(max_block, dtype=np.float32)
        self._count: Audio = np.arange(1, max_block + 1, dtype=np.float32)
        self._gain: Audio = np.zeros(max_block, dtype=np.float32)
        self._level = self._fade  # weight of the separated sound, in frames of fade
        self._asked = 0  # how far the dry sound is what a bypass asks for, in frames of fade
        self._healthy = recover
        self._lag = budget.lag
        self._hole = -budget.lag  # end of the input that found no room last

    def __call__(self, indata: Audio, outdata: Audio, xrun: bool = False) -> None:
        """Handle one device block: `indata [C, n]`, `outdata [outputs, n]`, views of any layout."""
        self._link.counters[Counter.XRUNS] += xrun
        for start in range(0, indata.shape[1], self._max_block):
            stop = start + self._max_block
            self._handle(indata[:, start:stop], outdata[:, start:stop])

    def _handle(self, indata: Audio, outdata: Audio) -> None:
        frames = indata.shape[1]
        clean, dry, wet = self._clean[:, :frames], self._dry[:, :frames], self._wet[:, :frames]
        self._make_finite(indata, clean)
        self._line.process(clean, dry)
        position = int(self._link.counters[Counter.POSITION])
        self._feed(clean, position)
        output = self._link.output
        output.skip(position - output.consumed)  # results that came after their time: the delay stays what it was
        waiting = output.readable
        wet[:, output.read(wet) :] = 0.0
        self._blend(min(waiting, self._trusted(position, frames)), wet, dry, outdata)

    def _trusted(self, position: int, frames: int) -> int:
        """How much of what waits is ground to fade on: the model may not have heard what comes out next."""
        counters, first = self._link.counters, position - self._lag
        if int(counters[Counter.BLIND]) > max(0, first):
            fence()  # the worker wrote the seam first
            return max(0, min(frames, int(counters[Counter.SEAM]) - position))
        return frames if first < self._hole else self._link.output.capacity

    def _make_finite(self, indata: Audio, clean: Audio) -> None:
        broken = self._broken[:, : indata.shape[1]]
        np.isfinite(indata, out=broken)
        np.logical_not(broken, out=broken)
        np.copyto(clean, indata)
        np.copyto(clean, np.float32(0), where=broken)

    def _feed(self, clean: Audio, position: int) -> None:
        """Write to the input ring, and to the recording's where there is one."""
        counters, frames = self._link.counters, clean.shape[1]
        if not self._link.input.write_at(position, clean):
            self._hole = position + frames
            counters[Counter.LOST_FRAMES] += frames
        begin = int(counters[Counter.RECORD_FROM]) - 1
        early = max(0, begin - position)
        if begin >= 0 and early < frames:
            place = int(counters[Counter.RECORD_MIX]) + position + early - begin
            if not self._link.mix.write_at(place, clean[:, early:]):
                counters[Counter.MIX_GAPS] += frames - early
        counters[Counter.POSITION] += frames

    def _blend(self, waiting: int, wet: Audio, dry: Audio, outdata: Audio) -> None:
        """Write the block; `waiting` is the separated sound at hand, of which `fade` frames are kept for a way out."""
        frames = wet.shape[1]
        bypass = bool(self._link.counters[Counter.BYPASS])
        supplied = waiting >= frames + self._fade and not bypass
        self._healthy = self._healthy + frames if supplied else 0
        rising = supplied and self._healthy >= self._recover
        if rising and self._level == self._fade:
            self._asked = 0
            np.copyto(outdata, wet)
            return
        self._link.counters[Counter.DRY_BLOCKS] += 1
        if rising:
            weight = self._rise(frames)
        else:
            at_once = supplied or bypass
            weight = self._fall(frames, 0 if at_once else min(frames, max(0, waiting - self._level)), bypass)
        # Once the bypass has ended the mix stays until the stems come back, unless they do not.
        gain = self._dry_gain(frames, 1 if bypass else 0 if supplied else -1)
        self._cross_fade(weight, gain, wet, dry, outdata)

    def _rise(self, frames: int) -> Audio:
        weight = self._weight[:frames]
        np.add(self._count[:frames], self._level, out=weight)
        self._level = min(self._fade, self._level + frames)
        return self._scaled(weight)

    def _fall(self, frames: int, start: int, wanted: bool) -> Audio:
        """Weights that fall from frame `start` on: as late as the separated sound at hand allows, or as `wanted`."""
        weight = self._weight[:frames]
        if self._level == self._fade and start < frames and not wanted:
            self._link.counters[Counter.FADES] += 1
        np.subtract(self._level + start, self._count[:frames], out=weight)
        np.minimum(weight, self._level, out=weight)
        self._level = max(0, self._level - (frames - start))
        return self._scaled(weight)

    def _scaled(self, weight: Audio) -> Audio:
        np.multiply(weight, np.float32(1.0 / self._fade), out=weight)
        np.maximum(weight, 0.0, out=weight)
        np.minimum(weight, 1.0, out=weight)
        return weight

    def _dry_gain(self, frames: int, turn: int) -> Audio:
        """From the gain of an overload to that of a bypass in a fade (`turn` 1), or back (-1)."""
        gain = self._gain[:frames]
        np.multiply(self._count[:frames], np.float32(turn), out=gain)
        np.add(gain, self._asked, out=gain)
        self._asked = min(self._fade, max(0, self._asked + turn * frames))
        self._scaled(gain)
        np.multiply(gain, self._dry_gains[1], out=gain)
        np.add(gain, self._dry_gains[0], out=gain)
        return gain

    def _cross_fade(self, weight: Audio, gain: Audio, wet: Audio, dry: Audio, outdata: Audio) -> None:
        """`out = w * wet + (1 - w) * gain * dry`, the dry pair repeated over all pairs of outputs."""
        for channel in wet:  # numpy allocates a buffer to multiply rows by one row
            np.multiply(channel, weight, out=channel)
        np.subtract(1.0, weight, out=weight)
        np.multiply(weight, gain, out=weight)
        for channel in dry:
            np.multiply(channel, weight, out=channel)
        pair = dry.shape[0]
        for first in range(0, wet.shape[0], pair):
            wet[first : first + pair] += dry
        np.copyto(outdata, wet)
