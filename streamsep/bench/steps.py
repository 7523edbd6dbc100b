"""Steps, one after the other, each beside a control that tells what the machine itself does to whoever computes here.

In a row, every step has a loop of the same length beside it that does nothing. Where that loop is slow, the machine was
elsewhere: its misses are those of a program that has nothing to do. In real time, a step begins when its hop is there,
and the control is the sleep before it: by how much it woke late.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from streamsep.bench.figures import Times
from streamsep.engine.executor import Executor

Step = Callable[[], object]
SOUND_SECONDS = 2.0
PROBE = 20000  # rounds of the loop that is timed to find out how long it takes


@dataclass(frozen=True)
class Timed:
    """Durations in seconds.

    Attributes:
        steps: of each step.
        control: of each loop that did nothing, if any; in real time, by how much each sleep was too long.
        late: whether each step was not done in time.
    """

    steps: Times
    control: Times
    late: np.ndarray[Any, np.dtype[np.bool_]]


def sound(hop: int, sample_rate: int, batch: int = 1) -> list[Tensor]:
    """Two seconds of noise, `[batch, 2, hop]` each, that swells and falls silent: what decays is part of the cost."""
    hops = max(2, math.ceil(SOUND_SECONDS * sample_rate / hop))
    swell = torch.sin(torch.linspace(0, torch.pi, hops * hop)).clamp_min(0).pow(4)
    noise = 0.3 * swell * torch.randn(batch, 2, hops * hop, generator=torch.Generator().manual_seed(0))
    return [part.contiguous() for part in noise.split(hop, -1)]


def stepper(executor: Executor, state: Any = None) -> Step:
    """The next hop of a stream through `executor` each time it is called, from the host's memory and back to it."""
    separator = executor.separator
    hops = sound(separator.hop, separator.sample_rate, executor.batch)
    held = [executor.init_state() if state is None else state]
    turn = iter(range(1 << 62))

    def step() -> None:
        mix = hops[next(turn) % len(hops)].to(executor.home)
        sources, held[0] = executor(mix, held[0])
        sources.cpu()

    return step


def seconds_of(step: Step) -> float:
    """How long it takes."""
    began = time.perf_counter()
    step()
    return time.perf_counter() - began


def idle_step(seconds: float) -> Step:
    """A loop that does nothing, as long as `seconds` where it is not disturbed."""
    quickest = min(seconds_of(lambda: _loop(PROBE)) for _ in range(20))
    length = max(1, round(PROBE * seconds / quickest))
    return lambda: _loop(length)


def in_a_row(step: Step, count: int, hop_seconds: float, control: Step | None = None) -> Timed:
    """As fast as they go, each with a `control` before or after it.

    The order is drawn: if it were fixed, one of the two could always be the one that the scheduler interrupts.
    """
    times, idle, first = np.zeros(count), np.zeros(count if control else 0), np.random.default_rng(count).random(count)
    for k in range(count):
        if control and first[k] < 0.5:
            idle[k] = seconds_of(control)
        times[k] = seconds_of(step)
        if control and first[k] >= 0.5:
            idle[k] = seconds_of(control)
    return Timed(times, idle, times > hop_seconds)


def in_real_time(step: Step, count: int, hop_seconds: float) -> Timed:
    """A step a hop; one that begins late, because the last was not done, has the less time."""
    times, control, late = np.zeros(count), np.zeros(count), np.zeros(count, bool)
    first = ended = time.perf_counter()
    for k in range(count):
        due = first + (k + 1) * hop_seconds
        time.sleep(max(0.0, due - time.perf_counter()))
        began = time.perf_counter()
        step()
        control[k] = began - max(due, ended)
        ended = time.perf_counter()
        times[k], late[k] = ended - began, ended > due + hop_seconds
    return Timed(times, control, late)


def joined(bouts: Sequence[Timed]) -> Timed:
    """Bouts of one stream as one."""
    return Timed(*(np.concatenate([getattr(bout, name) for bout in bouts]) for name in ("steps", "control", "late")))


def _loop(rounds: int) -> None:
    for _ in range(rounds):
        pass
