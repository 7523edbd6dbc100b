"""One of several stems behind an expander, and where what it loses goes."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from streamsep.layers.base import Device, run
from streamsep.layers.expander import Expander, ExpanderState
from streamsep.models.causal_config import ExpanderConfig
from streamsep.models.consistency import shares


class ExpandedStem(nn.Module):
    """The stems with the expander on one of them.

    Attributes:
        stem: the index of the one.
        given: what each stem gets of what that one loses, `[S, 1, 1]`.
    """

    given: Tensor

    def __init__(self, config: ExpanderConfig, sources: tuple[str, ...], hop: int, sample_rate: int) -> None:
        super().__init__()
        self.stem = sources.index(config.stem)
        self.curve = Expander(hop, sample_rate, config.threshold_db, config.ratio, config.seconds)
        self.register_buffer("given", shares(len(sources), self.stem), persistent=False)

    def init_state(
        self, batch: int = 1, max_chunk: int = 1, device: Device = None, dtype: torch.dtype | None = None
    ) -> ExpanderState:
        """The expander's."""
        return self.curve.init_state(batch, max_chunk, device, dtype)

    def forward(
        self, sources: Tensor, mix: Tensor, state: ExpanderState | None, kept: bool = True
    ) -> tuple[Tensor, ExpanderState | None]:
        """`sources [B, S, C, T]` against `mix [B, C, T]`; the others take what the stem loses if a sum is to be kept.

        Without a state it is a whole signal.
        """
        stem = sources[:, self.stem]
        gain, after = run(self.curve, (stem, mix), state)
        return sources + (stem - stem * gain)[:, None] * self.shared(kept), after

    def shared(self, kept: bool) -> Tensor:
        """`given`, or nothing to the others."""
        return self.given if kept else self.given.clamp_max(0)
