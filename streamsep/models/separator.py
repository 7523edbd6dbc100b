"""The separator's contract: all that the engine knows of a model."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor


@runtime_checkable
class Separator(Protocol):
    """A model that separates a stream hop by hop.

    Attributes:
        hop: samples a step consumes and produces.
        latency: lag of the output behind the input by sample index, in samples.
            The algorithmic latency is `latency + hop`: the hop must be collected first.
        sample_rate: in Hz.
        sources: names of the stems, in the order of the output's second dimension.
    """

    hop: int
    latency: int
    sample_rate: int
    sources: tuple[str, ...]

    def init_state(
        self,
        batch: int = 1,
        max_chunk: int = 1,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> Any:
        """A fresh state for `batch` rows; a step may then bring up to `max_chunk` hops."""
        ...

    def step(self, mix: Tensor, state: Any) -> tuple[Tensor, Any]:
        """Separate `mix [B, 2, n * hop]` into `sources [B, S, 2, n * hop]`; the state is consumed."""
        ...
