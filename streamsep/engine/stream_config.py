"""How a stream behaves: the settings, and how far they go."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from streamsep.engine.callback import OnOverload
from streamsep.engine.mixer import Routing
from streamsep.engine.routing import MIX, Route
from streamsep.errors import StreamsepError

MAX_QUEUE_SECONDS = 10
_FROM_ZERO = ("input_gain", "output_gain", "ramp_seconds", "recover_seconds", "catch_up_seconds", "record_seconds")


@dataclass(frozen=True)
class StreamConfig:
    """How a stream behaves.

    Attributes:
        queue: whole blocks granted to the worker, at least one.
        fade: frames of the cross-fade between separated and dry sound, and of changes of input and output gain.
        on_overload: what is heard while separated sound is missing: "dry" or "mute".
        output: "mix" (stereo) or "stems" (a pair of channels for each), where there are no routes.
        routes: which stem goes to which channels of the device; a route of the source "mix" takes the stereo sum.
        input_channels: channels of the device, from 1: two, or one for both sides; none: the first two.
        input_gain: linear, before anything else.
        output_gain: linear, on all outputs.
        limiter: hold the outputs below full scale, softly.
        ramp_seconds: duration of a change of a stem's gain.
        recover_seconds: how long the worker must have been in time before its sound comes back.
        catch_up_seconds: lateness beyond which a backlog is skipped instead of worked off.
        restart: start a worker that has died anew, and open a device that was lost again.
        record_seconds: how much a recording may wait for the disk; 0: there is no recording.
        callback: "compiled" (without the interpreter), "python", or "auto": compiled where device and numba allow it.
        frames: end after that many frames of the device; None: never.

    Raises:
        StreamsepError: a setting out of its range.
    """

    queue: int = 1
    fade: int = 64
    on_overload: OnOverload = "dry"
    output: Routing = "mix"
    routes: tuple[Route, ...] = ()
    input_channels: tuple[int, ...] = ()
    input_gain: float = 1.0
    output_gain: float = 1.0
    limiter: bool = False
    ramp_seconds: float = 0.01
    recover_seconds: float = 0.05
    catch_up_seconds: float = 0.5
    restart: bool = False
    record_seconds: float = 0.0
    callback: Literal["auto", "compiled", "python"] = "auto"
    frames: int | None = None

    def __post_init__(self) -> None:
        if self.queue < 1 or self.fade < 1:
            raise StreamsepError(f"queue and fade must be at least 1, got {self.queue} and {self.fade}")
        if self.on_overload not in ("dry", "mute"):
            raise StreamsepError(f"unknown on_overload {self.on_overload!r}; choose dry or mute")
        for name in _FROM_ZERO:
            if not 0 <= getattr(self, name) < math.inf:
                raise StreamsepError(f"{name} is {getattr(self, name)}; choose a finite number, from 0 on")
        if self.frames is not None and self.frames < 0:
            raise StreamsepError(
                f"frames is {self.frames}; choose a number from 0 on, or None for a stream without end"
            )

    @property
    def routing(self) -> Routing:
        """What must leave the mixer for the routes: all stems, unless the mix is all that is wanted."""
        if not self.routes:
            return self.output
        return "mix" if all(route.source == MIX for route in self.routes) else "stems"


def check_queue(queue: int, block: int, rate: int) -> None:
    """Raise StreamsepError where `queue` blocks of `block` frames are more delay than anyone can want."""
    if queue * block > MAX_QUEUE_SECONDS * rate:
        last = f"{queue} blocks of {block} frames are {queue * block / rate:.3g} s"
        raise StreamsepError(f"{last}, and a queue lasts at most {MAX_QUEUE_SECONDS} s; choose a shorter one")
