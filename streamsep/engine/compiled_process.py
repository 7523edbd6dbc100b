"""The audio callback as C functions of PortAudio's signature: edge and core, compiled, without the interpreter's lock.

PortAudio hands a callback one pointer. Here it leads to a table of addresses and sizes of all arrays of core and edge,
from which the compiled code builds its views of them; the functions themselves are compiled once for all streams.
"""

from __future__ import annotations

import ctypes
import functools
from dataclasses import dataclass
from typing import Any

import numpy as np

from streamsep.engine.backends.base import CompiledProcess
from streamsep.engine.compiled_callback import CallbackState, Whole, compiled_handle, handle
from streamsep.engine.compiled_callback import make_state as make_core_state
from streamsep.engine.compiled_edge import capture, compiled_edge, enter, leave
from streamsep.engine.compiling import (
    array_views,
    compile_c,
    compile_functions,
    nap,
    read_clock,
    ring_bell,
    system_calls,
)
from streamsep.engine.edge_plan import EdgePlan
from streamsep.engine.edge_state import EdgeState
from streamsep.engine.edge_state import make_state as make_edge_state
from streamsep.engine.fence import compiled_fence, fence
from streamsep.engine.link import Counter, Link, LinkShape
from streamsep.engine.ring import Audio
from streamsep.engine.timing import budget

_XRUN_FLAGS = 0b1111  # PortAudio: input underflow and overflow, output underflow and overflow
CONTINUE, COMPLETE = 0, 1  # PortAudio's words
_POSITION, _XRUNS = int(Counter.POSITION), int(Counter.XRUNS)
_WRITTEN = 0  # see Ring
_PATIENCE = 200_000  # naps of 100 microseconds that a device in lock step waits for the worker


# Slots of the numbers that the C functions keep: frames still wanted (negative: for ever), the bell's file descriptor
# or -1, the address of these numbers themselves, the worker's hop and path, the device's shape; then a time (in seconds
# and nanoseconds) for each of the two callbacks, and the frames of the longest block of each so far.
LEFT, BELL, ADDRESS, HOP, PATH, LOCK_STEP, INPUTS, OUTPUTS, BLOCK, INPUT_BLOCK, SEPARATE = range(11)
NOW, INPUT_NOW, LONGEST, LONGEST_INPUT = 11, 13, 15, 16
_SLOTS = 17


@dataclass(frozen=True)
class Machine:
    """What the callback does besides sound.

    Attributes:
        plan: of the edge.
        frames: of the device, after which the stream is complete; None: never.
        bell: file descriptor to write a byte to after every block, or -1.
        hop, path: as the worker has them.
        lock_step: wait for the worker after every block.
    """

    plan: EdgePlan
    frames: int | None
    bell: int
    hop: int
    path: int
    lock_step: bool

    def to_array(self) -> Whole:
        """The slots LEFT to SEPARATE."""
        own, plan = np.zeros(_SLOTS, dtype=np.int64), self.plan
        own[LEFT] = -1 if self.frames is None else self.frames
        own[ADDRESS] = own.ctypes.data
        own[BELL], own[HOP], own[PATH], own[LOCK_STEP] = self.bell, self.hop, self.path, self.lock_step
        own[INPUTS], own[OUTPUTS] = plan.device_inputs, plan.device_outputs
        own[BLOCK], own[INPUT_BLOCK], own[SEPARATE] = plan.max_block, plan.input_block, plan.separate
        return own


class CompiledCallbacks:
    """The C functions over one stream's arrays, which live as long as this does.

    Args:
        core: state of the core; edge: state of the edge; machine: see there.

    Attributes:
        process: what PortAudio needs.

    Raises:
        ImportError: numba is missing.
    """

    def __init__(self, core: CallbackState, edge: EdgeState, machine: Machine) -> None:
        self._own = machine.to_array()
        self._arrays = (*core, *edge, self._own)
        rows = [(array.ctypes.data, *array.shape, 0)[:3] for array in self._arrays]
        self._table = np.array(rows, dtype=np.int64).ravel()
        output, input_only = compiled_functions(tuple(f"{array.dtype.name}_{array.ndim}" for array in self._arrays))
        self.process = CompiledProcess(output.address, input_only.address, self._table.ctypes.data)

    @property
    def ended(self) -> bool:
        """Whether all frames that were wanted have been delivered."""
        return bool(self._own[LEFT] == 0)

    @property
    def longest_block(self) -> int:
        """Frames of the longest block of the output device so far."""
        return int(self._own[LONGEST])

    @property
    def longest_input(self) -> int:
        """Frames of the longest block of a separate input device so far."""
        return int(self._own[LONGEST_INPUT])


def prepare() -> None:
    """Compile ahead what `CompiledCallbacks` takes: half a minute once on a machine, then a fraction of a second.

    Raises:
        ImportError: numba is missing.
    """
    link = Link(LinkShape(2, 2, 64, 64))
    spend = budget(sample_rate=44100, hop=1, model=1, block=1, max_block=1, queue=1, fade=1, device=0)
    plan = EdgePlan(44100, 44100, 44100, 2, ((1.0, 0.0), (0.0, 1.0)), 64)
    CompiledCallbacks(make_core_state(link, spend, 64), make_edge_state(plan), Machine(plan, None, -1, 1, 0, False))


def clock(own: Whole, slot: int) -> float:
    """Seconds of the clock that both callbacks share: PortAudio's may count from the start of each stream."""
    read_clock(own[ADDRESS] + 8 * slot)
    return float(own[slot] + 1e-9 * own[slot + 1])


def play(core: CallbackState, edge: EdgeState, own: Whole, indata: Audio, outdata: Audio) -> int:
    """One block of the device, frames first; returns what PortAudio is to do next."""
    total, now = outdata.shape[0], clock(own, NOW)
    own[LONGEST] = max(own[LONGEST], total)
    for start in range(0, total, own[BLOCK]):
        stop = min(total, start + own[BLOCK])
        if own[SEPARATE] == 0:
            capture(edge, indata[start:stop], now)
        count = enter(edge, stop - start, now)
        if count > 0:
            handle(core, edge.core_in, edge.core_out, count)
        leave(edge, count, outdata[start:stop])
    ring_bell(own[BELL], own[ADDRESS])
    if own[LOCK_STEP] != 0:
        wait_for_worker(core, own)
    if own[LEFT] < 0:
        return CONTINUE
    own[LEFT] = max(0, own[LEFT] - total)
    return CONTINUE if own[LEFT] > 0 else COMPLETE


def hear(edge: EdgeState, own: Whole, indata: Audio) -> None:
    """One block of an input that is a device of its own."""
    now = clock(own, INPUT_NOW)
    own[LONGEST_INPUT] = max(own[LONGEST_INPUT], indata.shape[0])
    for start in range(0, indata.shape[0], own[INPUT_BLOCK]):
        capture(edge, indata[start : min(indata.shape[0], start + own[INPUT_BLOCK])], now)


def wait_for_worker(core: CallbackState, own: Whole) -> None:
    """Until every hop that has arrived is answered."""
    due = core.counters[_POSITION] // own[HOP] * own[HOP] + own[PATH]
    for _ in range(_PATIENCE):
        fence()
        if core.output_counters[_WRITTEN] >= due:
            return
        nap()


# What the C functions find under these names once they are compiled.
carray: Any = None
int64: Any = None
size = 0
view_core: Any = None
view_edge: Any = None
view_own: Any = None


def callback(indata: Any, outdata: Any, frames: Any, when: Any, flags: Any, userdata: Any) -> Any:
    """PortAudio's callback of a duplex stream, or of the output of two devices."""
    table = carray(userdata, (size,), np.int64)
    core, own = view_core(table), view_own(table)
    core.counters[_XRUNS] += 1 if flags & _XRUN_FLAGS else 0
    heard = carray(indata, (int64(frames) * (1 - own[SEPARATE]), own[INPUTS]), np.float32)
    out = carray(outdata, (int64(frames), own[OUTPUTS]), np.float32)
    return play(core, view_edge(table), own, heard, out)


def input_callback(indata: Any, outdata: Any, frames: Any, when: Any, flags: Any, userdata: Any) -> Any:
    """PortAudio's callback of the input of two devices."""
    table = carray(userdata, (size,), np.int64)
    core, own = view_core(table), view_own(table)
    core.counters[_XRUNS] += 1 if flags & _XRUN_FLAGS else 0
    heard = carray(indata, (int64(frames), own[INPUTS]), np.float32)
    hear(view_edge(table), own, heard)
    return CONTINUE


@functools.cache
def compiled_functions(kinds: tuple[str, ...]) -> Any:
    """The C functions for a table of arrays of these kinds (such as `float32_2`); see `CompiledProcess`."""
    from numba import carray, types

    known = {**compiled_edge()._asdict(), **system_calls(), "handle": compiled_handle(), "fence": compiled_fence()}
    known |= compile_functions((clock, wait_for_worker, play, hear), known)
    known |= {**_views(kinds), "carray": carray, "int64": types.int64, "size": 3 * len(kinds)}
    number = types.uint64 if ctypes.sizeof(ctypes.c_ulong) == 8 else types.uint32
    signature = types.int32(types.voidptr, types.voidptr, number, types.voidptr, number, types.voidptr)
    return compile_c(callback, signature, known), compile_c(input_callback, signature, known)


def _views(kinds: tuple[str, ...]) -> dict[str, Any]:
    """Compiled functions from the table to the core's arrays, the edge's, and the callback's own numbers."""
    from numba import njit

    names: dict[str, Any] = {"CallbackState": CallbackState, "EdgeState": EdgeState, **array_views()}
    views = [f"{kind}(table, {3 * i})" for i, kind in enumerate(kinds)]
    core = len(CallbackState._fields)
    sources = {"view_core": f"CallbackState({', '.join(views[:core])})"}
    sources |= {"view_edge": f"EdgeState({', '.join(views[core:-1])})", "view_own": views[-1]}
    # numba wants every field written out.
    return {name: njit(eval(f"lambda table: {source}", names)) for name, source in sources.items()}
