"""Stems that sum to the mix."""

from __future__ import annotations

import torch
from torch import Tensor


def share_missing(sources: Tensor, mix: Tensor) -> Tensor:
    """`sources [B, S, C, T]` with what they miss of `mix [B, C, T]` shared equally among them."""
    return sources + (mix - sources.sum(1))[:, None] / sources.shape[1]


def shares(stems: int, stem: int) -> Tensor:
    """What each of the stems gets of a part that one gives away, `[S, 1, 1]`: that one -1, the others alike."""
    given = torch.full((stems, 1, 1), 1 / max(stems - 1, 1))
    given[stem] = -1
    return given
