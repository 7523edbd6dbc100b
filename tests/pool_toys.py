"""Small pools, and separators for them that write where their state lies, or fail."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor

from streamsep.engine.executor import EagerExecutor
from streamsep.engine.pool import StreamPool
from streamsep.engine.static_executor import StaticExecutor
from tests.engine_toys import Audio, DelaySplit, PastState

HOP, BACKLOG, FADE = 8, 3, 4


class InPlace(DelaySplit):
    """Writes its state where it lies, as an attention ring is written, but makes no promise about it."""

    def step(self, mix: Tensor, state: PastState) -> tuple[Tensor, PastState]:
        sources, after = super().step(mix, state)
        state.past.copy_(after.past.clone())
        state.steps.add_(1)
        return sources, state


class Fails(InPlace):
    """Fails when it hears more than 10, before or after its state is written."""

    def __init__(self, hop: int, latency: int, when: str = "before") -> None:
        super().__init__(hop, latency)
        self._when = when

    def step(self, mix: Tensor, state: PastState) -> tuple[Tensor, PastState]:
        fails = bool((mix.abs() > 10).any())
        if fails and self._when == "before":
            raise RuntimeError("boom\n  at once")
        answer = super().step(mix, state)
        if fails:
            raise RuntimeError("boom")
        return answer


def make_executor(kind: str, separator: Any, batch: int) -> Any:
    made = EagerExecutor if kind == "eager" else StaticExecutor
    return made(separator, batch=batch, device="cpu")


def make_pool(separator: Any, rows: int, kind: str = "eager") -> StreamPool:
    return StreamPool(make_executor(kind, separator, rows), BACKLOG, FADE)


def ones(frames: int = HOP) -> Audio:
    return np.ones((2, frames), np.float32)
