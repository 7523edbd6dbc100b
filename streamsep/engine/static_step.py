"""One step of a separator on memory that never moves: input, state and output."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from torch import Tensor

from streamsep.engine.state import copy_planned, copy_state, hold, leaves, plan_copy, rows_like, same_memory
from streamsep.engine.static_options import StaticOptions

T = TypeVar("T")


class StaticStep:
    """Reads `mix`, moves `state` on where it lies, and writes `sources`.

    Args:
        network: what is stepped.
        active: `[B]`, bool, where it is read at each step: rows that rest keep their state. None: all rows step.
        shape: rows, and frames of a chunk.

    Attributes:
        mix: `[B, 2, frames]`; sources: `[B, S, 2, frames]`.
    """

    def __init__(
        self, network: Any, state: Any, active: Tensor | None, shape: tuple[int, int], options: StaticOptions
    ) -> None:
        batch, frames = shape
        device = next(leaves(state)).device
        self.mix = torch.zeros(batch, 2, frames, device=device)
        self.sources = torch.zeros(batch, len(network.sources), 2, frames, device=device)
        self._network, self._state, self._active, self._options = network, state, active, options
        self.put_back(self._look)
        self._step = torch.compile(self._plain, dynamic=False) if options.compiled else self._plain

    def run(self) -> None:
        """One step."""
        with _products(self._options.products):
            self._step()

    def rehearse(self, rounds: int) -> None:
        """Some steps that leave the state as it was."""
        for _ in range(rounds):
            self.put_back(self.run)

    def put_back(self, function: Callable[[], T]) -> T:
        """Call `function`, and undo what one step in it does to the state."""
        kept = hold(self._state, self._network)
        result = function()
        copy_state(self._state, kept)
        return result

    def _look(self) -> None:
        """Step once to see what has to be copied, and what was written in place that a resting row needs back."""
        kept = hold(self._state, self._network)
        _, after = self._network.step(self.mix, self._state)
        self._moves = plan_copy(self._state, after)
        places = zip(leaves(self._state), leaves(after), leaves(kept), strict=True)
        self._written = [
            i
            for i, (place, new, copied) in enumerate(places)
            if place.numel() and same_memory(place, new) and not same_memory(place, copied)
        ]

    def _plain(self) -> None:
        places, active = list(leaves(self._state)), self._active
        written = [] if active is None else [(places[i], places[i].clone(), active) for i in self._written]
        sources, after = self._network.step(self.mix, self._state)
        copy_planned(self._moves, self._state, after, active)
        for place, before, awake in written:
            torch.where(rows_like(awake, place), place, before, out=place)
        self.sources.copy_(sources)


@contextmanager
def _products(kind: str) -> Iterator[None]:
    """Products of float32 matrices on a GPU as `kind` says; a graph keeps what it was recorded with."""
    places: tuple[Any, ...] = (torch.backends.cuda.matmul, torch.backends.cudnn.conv)  # type: ignore[attr-defined]
    before = [place.fp32_precision for place in places]
    try:
        for place in places:
            place.fp32_precision = kind
        yield
    finally:
        for place, value in zip(places, before, strict=True):
            place.fp32_precision = value
