"""A separator that a student learns from: any checkpoint that loads, brought into the student's order and time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from streamsep.errors import StreamsepError
from streamsep.models.registry import load_model
from streamsep.training.objective import timing, whole


class Teacher:
    """`mix [B, C, T] -> sources [B, S, C, T]` without lag and without gradients.

    Args:
        model: offline, a bag, or causal: then its answer is moved forward by its latency.
        sources: the student's stems, in its order.

    Raises:
        StreamsepError: the teacher does not know one of them.
    """

    def __init__(self, model: nn.Module, sources: Sequence[str]) -> None:
        known = list(model.sources)  # type: ignore[arg-type]
        if set(known) != set(sources):
            raise StreamsepError(f"the teacher separates {', '.join(known)}, not {', '.join(sources)}; choose another")
        self.model = model.eval().requires_grad_(False)
        self._order = [known.index(stem) for stem in sources]
        self._hop, self._latency = timing(model)

    @classmethod
    def load(cls, name: str | Path, sources: Sequence[str], device: torch.device) -> Teacher:
        """A teacher from a name or a path, as `load_model` takes them."""
        return cls(load_model(name, device=device), sources)

    @torch.no_grad()
    def __call__(self, mix: Tensor) -> Tensor:
        frames = mix.shape[-1]
        padded = F.pad(mix, (0, self._latency + -(frames + self._latency) % self._hop))
        return whole(self.model)(padded)[:, self._order, :, self._latency : self._latency + frames].float()
