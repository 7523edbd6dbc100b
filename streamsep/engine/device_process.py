"""The audio callback as a device calls it: the edge around the core, in Python or as compiled C functions."""

from __future__ import annotations

import time
from importlib.util import find_spec
from typing import TYPE_CHECKING

from streamsep.engine.backends.base import AudioBackend, CompiledProcess
from streamsep.engine.callback import Callback
from streamsep.engine.edge import Edge
from streamsep.engine.edge_plan import EdgePlan
from streamsep.engine.edge_state import Knob, Peak, Tally, make_state
from streamsep.engine.host import Host
from streamsep.engine.link import Counter, Link
from streamsep.engine.ring import Audio
from streamsep.engine.routing import plain_share
from streamsep.engine.timing import LatencyBudget
from streamsep.errors import missing

if TYPE_CHECKING:
    from streamsep.engine.compiled_process import CompiledCallbacks
    from streamsep.engine.stream_config import StreamConfig


class DeviceProcess:
    """A `LiveProcess` over an edge and a core.

    Args:
        link: for the count of xruns.
        edge: what lies between the device and the core.
        core: the callback at the model's rate.
        host: its bell is rung after every block.
        frames: of the device, after which it wants no more; None: never.
        callbacks: the same as compiled code over the same state, or None.

    Attributes:
        panic: the outputs are silenced because someone wants it.
        max_block: the longest block that the delay was made for; input_block: likewise of a separate input device.
    """

    def __init__(
        self,
        link: Link,
        edge: Edge,
        core: Callback,
        host: Host,
        frames: int | None,
        callbacks: CompiledCallbacks | None = None,
    ) -> None:
        self._counters, self._edge, self._core, self._bell = link.counters, edge, core, host.bell
        self.max_block, self._longest = edge.plan.max_block, 0
        self.input_block, self._longest_input = edge.plan.input_block, 0
        self._left = frames
        self.panic = self._gone = False
        self._callbacks = callbacks

    def silence(self, panic: bool | None = None, gone: bool | None = None) -> None:
        """Silence the outputs by a ramp, for a `panic` or while the device is `gone`; None: as before."""
        self.panic = self.panic if panic is None else panic
        self._gone = self._gone if gone is None else gone
        self._edge.state.knobs[Knob.PANIC] = self.panic or self._gone

    @property
    def compiled(self) -> CompiledProcess | None:
        """See `LiveProcess`."""
        return None if self._callbacks is None else self._callbacks.process

    @property
    def ended(self) -> bool:
        """See `LiveProcess`."""
        if self._callbacks is not None and self._callbacks.ended:
            return True
        return self._left is not None and self._left <= 0

    def __call__(self, indata: Audio, outdata: Audio, xrun: bool = False) -> None:
        """See `Process`."""
        self._counters[Counter.XRUNS] += xrun
        self._longest = max(self._longest, outdata.shape[1])
        plan, size = self._edge.plan, self._edge.plan.max_block
        now = time.monotonic() if plan.separate else 0.0
        for start in range(0, outdata.shape[1], size):
            out = outdata[:, start : start + size]
            if not plan.separate:
                self._edge.capture(indata[:, start : start + size])
            count = self._edge.enter(out.shape[1], now)
            self._core(self._edge.core_in[:, :count], self._edge.core_out[:, :count])
            self._edge.leave(count, out)
        if self._left is not None:
            self._left -= outdata.shape[1]
        self._bell.ring()

    def capture(self, indata: Audio) -> None:
        """See `LiveProcess`."""
        size, now = self._edge.plan.input_block, time.monotonic()
        self._longest_input = max(self._longest_input, indata.shape[1])
        for start in range(0, indata.shape[1], size):
            self._edge.capture(indata[:, start : start + size], now)

    @property
    def longest_block(self) -> int:
        """Frames of the longest block of the output device so far."""
        return self._longest if self._callbacks is None else max(self._longest, self._callbacks.longest_block)

    @property
    def longest_input(self) -> int:
        """Frames of the longest block of a separate input device so far; 0 where there is none."""
        return max(self._longest_input, 0 if self._callbacks is None else self._callbacks.longest_input)

    def peaks(self) -> dict[str, float]:
        """The peaks of input and output since the last call (linear)."""
        peaks = self._edge.state.peaks
        found = {"input": float(peaks[Peak.INPUT]), "output": float(peaks[Peak.OUTPUT])}
        peaks[:] = 0.0
        return found

    def drifted(self) -> int:
        """Times that the clocks of two devices could not be held together."""
        tally = self._edge.state.tally
        return int(tally[Tally.UNDERRUNS] + tally[Tally.OVERFLOWS])


def make_process(
    link: Link, budget: LatencyBudget, plan: EdgePlan, config: StreamConfig, backend: AudioBackend, host: Host
) -> DeviceProcess:
    """The callback for `backend`: compiled where config, device and installation allow it.

    Raises:
        StreamsepError: compiled code is asked for and numba is missing.
    """
    recover, state = round(config.recover_seconds * budget.sample_rate), make_state(plan)
    plain, overload = plain_share(config.routes, host.info.sources, config.routing), config.on_overload
    core = Callback(link, budget, max_block=plan.max_core, on_overload=overload, recover=recover, plain=plain)
    callbacks = None
    if backend.takes_compiled and config.callback != "python":
        if find_spec("numba"):
            from streamsep.engine.compiled_callback import make_state as make_core_state
            from streamsep.engine.compiled_process import CompiledCallbacks, Machine

            inner = make_core_state(link, budget, plan.max_core, overload, recover, plain)
            machine = Machine(plan, config.frames, host.bell.fd, host.info.hop, budget.path, backend.lock_step)
            callbacks = CompiledCallbacks(inner, state, machine)
        elif config.callback == "compiled":
            raise missing("numba", "live")
    return DeviceProcess(link, Edge(plan, state), core, host, config.frames, callbacks)
