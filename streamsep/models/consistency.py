"""Stems that sum to the mix."""

from __future__ import annotations

from torch import Tensor


def share_missing(sources: Tensor, mix: Tensor) -> Tensor:
    """`sources [B, S, C, T]` with what they miss of `mix [B, C, T]` shared equally among them."""
    return sources + (mix - sources.sum(1))[:, None] / sources.shape[1]
