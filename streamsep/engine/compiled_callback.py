"""The audio callback as compiled code: the same as `callback.py`, sample for sample, without the interpreter.

Everything lies in arrays (`CallbackState`), so that a C function that PortAudio calls can find it by address.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from streamsep.engine.callback import OnOverload, dry_gains
from streamsep.engine.compiling import compile_functions
from streamsep.engine.fence import compiled_fence, fence
from streamsep.engine.link import Counter, Link
from streamsep.engine.ring import Audio
from streamsep.engine.timing import LatencyBudget

Whole = NDArray[np.int64]
_WRITTEN, _READ = 0, 8  # see Ring
# The callback's own numbers.
LEVEL, HEALTHY, HOLE, INDEX, FADE, RECOVER, LAG, DELAY, ASKED = range(9)
_POSITION, _FADES, _DRY_BLOCKS = int(Counter.POSITION), int(Counter.FADES), int(Counter.DRY_BLOCKS)
_LOST, _BYPASS = int(Counter.LOST_FRAMES), int(Counter.BYPASS)
_BLIND, _SEAM = int(Counter.BLIND), int(Counter.SEAM)
_FROM, _MIX, _MIX_GAPS = int(Counter.RECORD_FROM), int(Counter.RECORD_MIX), int(Counter.MIX_GAPS)


class CallbackState(NamedTuple):
    """All that the callback touches: rings and counters of the link, the dry line, and numbers of its own."""

    counters: Whole
    input_counters: Whole
    input: Audio
    output_counters: Whole
    output: Audio
    mix_counters: Whole
    mix: Audio
    line: Audio
    clean: Audio
    own: Whole
    dry_gains: Audio


def make_state(
    link: Link,
    budget: LatencyBudget,
    max_block: int,
    on_overload: OnOverload = "dry",
    recover: int = 0,
    plain: float | None = None,
) -> CallbackState:
    """The state before the first block; arguments as those of `Callback`."""
    inputs = link.input.channels
    own = np.zeros(16, dtype=np.int64)
    own[[LEVEL, FADE]] = budget.fade
    own[[HEALTHY, RECOVER]] = recover
    own[[LAG, DELAY]] = budget.lag
    own[HOLE] = -budget.lag
    line = np.zeros((inputs, budget.lag + max_block), dtype=np.float32)
    clean = np.zeros((inputs, max_block), dtype=np.float32)
    rings = (*link.input.arrays, *link.output.arrays, *link.mix.arrays)
    return CallbackState(link.counters, *rings, line, clean, own, dry_gains(link, on_overload, plain))


@functools.cache
def compiled_handle() -> Any:
    """`handle`, compiled.

    Raises:
        ImportError: numba is missing.
    """
    return compile_functions((write_at, read, feed, blend, handle), {"fence": compiled_fence()})["handle"]


def handle(s: CallbackState, indata: Audio, outdata: Audio, frames: int) -> None:
    """One block: `indata [C, >= frames]` in, `outdata [outputs, >= frames]` out; see `Callback`."""
    position, own = s.counters[_POSITION], s.own
    feed(s, indata, frames)
    waiting = read(s.output_counters, s.output, position, outdata, frames)
    first = position - own[LAG]
    if s.counters[_BLIND] > max(0, first):
        fence()
        waiting = max(0, min(waiting, frames, s.counters[_SEAM] - position))
    elif first < own[HOLE]:
        waiting = min(waiting, frames)
    bypass = s.counters[_BYPASS] != 0
    supplied = waiting >= frames + own[FADE] and not bypass
    own[HEALTHY] = own[HEALTHY] + frames if supplied else 0
    rising = supplied and own[HEALTHY] >= own[RECOVER]
    if not rising or own[LEVEL] != own[FADE]:
        s.counters[_DRY_BLOCKS] += 1
        start = 0 if supplied or bypass else min(frames, max(0, waiting - own[LEVEL]))
        if not rising and own[LEVEL] == own[FADE] and start < frames and not bypass:
            s.counters[_FADES] += 1
        blend(s, outdata, frames, start, rising, 1 if bypass else 0 if supplied else -1)
    else:
        own[ASKED] = 0
    own[INDEX] += frames


def feed(s: CallbackState, indata: Audio, frames: int) -> None:
    """Silence what is not finite, keep the block in the dry line, and hand it to worker and recording."""
    position, index, size = s.counters[_POSITION], s.own[INDEX], s.line.shape[1]
    for channel in range(s.clean.shape[0]):
        for i in range(frames):
            value = indata[channel, i]
            value = value if np.isfinite(value) else np.float32(0)
            s.clean[channel, i] = value
            s.line[channel, (index + i) % size] = value
    if not write_at(s.input_counters, s.input, position, s.clean, 0, frames):
        s.own[HOLE] = position + frames
        s.counters[_LOST] += frames
    begin = s.counters[_FROM] - 1
    early = max(0, begin - position)
    if begin >= 0 and early < frames:
        place = s.counters[_MIX] + position + early - begin
        if not write_at(s.mix_counters, s.mix, place, s.clean, early, frames):
            s.counters[_MIX_GAPS] += frames - early
    fence()
    s.counters[_POSITION] = position + frames


def blend(s: CallbackState, outdata: Audio, frames: int, start: int, rising: bool, turn: int) -> None:
    """Cross-fade to the dry mix from frame `start` on, or, rising, back to the separated sound; see `Callback`."""
    level, fade, index, size = s.own[LEVEL], s.own[FADE], s.own[INDEX] - s.own[DELAY], s.line.shape[1]
    asked = s.own[ASKED]
    scale, one, zero = np.float32(1.0 / fade), np.float32(1), np.float32(0)
    for i in range(frames):
        aim = level + i + 1 if rising else min(level, level + start - i - 1)
        weight = min(max(np.float32(aim) * scale, zero), one)
        gain = min(max(np.float32(asked + turn * (i + 1)) * scale, zero), one) * s.dry_gains[1] + s.dry_gains[0]
        rest = (one - weight) * gain
        for channel in range(outdata.shape[0]):
            dry = s.line[channel % s.line.shape[0], (index + i) % size]
            outdata[channel, i] = outdata[channel, i] * weight + dry * rest
    s.own[ASKED] = min(fade, max(0, asked + turn * frames))
    s.own[LEVEL] = min(fade, level + frames) if rising else max(0, level - (frames - start))


def write_at(counters: Whole, ring: Audio, index: int, block: Audio, start: int, stop: int) -> bool:
    """As `Ring.write_at`, with `block[:, start:stop]`."""
    size = ring.shape[1]
    written, room = counters[_WRITTEN], size - (counters[_WRITTEN] - counters[_READ])
    silent = max(0, min(index - written, room))
    fits = written + silent == index and room - silent >= stop - start
    for channel in range(ring.shape[0]):
        for i in range(silent):
            ring[channel, (written + i) % size] = 0
        if fits:
            for i in range(start, stop):
                ring[channel, (index + i - start) % size] = block[channel, i]
    fence()
    counters[_WRITTEN] = written + silent + (stop - start if fits else 0)
    return bool(fits)


def read(counters: Whole, ring: Audio, position: int, out: Audio, frames: int) -> int:
    """Skip to `position`, fill `out` from there, silence where nothing is; returns how much there was."""
    size, written = ring.shape[1], counters[_WRITTEN]
    fence()
    first = counters[_READ] + max(0, min(position - counters[_READ], written - counters[_READ]))
    count = min(frames, written - first)
    for channel in range(ring.shape[0]):
        for i in range(frames):
            out[channel, i] = ring[channel, (first + i) % size] if i < count else np.float32(0)
    fence()
    counters[_READ] = first + count
    return int(written - first)
