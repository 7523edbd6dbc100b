"""Rotary position embedding that never ages (J. Su et al., "RoFormer", 2021)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

PERIOD = 65536


class Rotary(nn.Module):
    """Tables of cosines and sines at position mod 65536.

    Every frequency is a whole multiple of `2 pi / 65536`, so that the table is exact for any position: the
    usual angles of a growing float32 position drift by 0.7 in the scores after ten hours.

    Args:
        dim: of one head; half as many frequencies, from one turn in `shortest` frames down to one in `longest`.

    Attributes:
        turns: of each frequency in a period.
    """

    turns: Tensor
    cosines: Tensor
    sines: Tensor

    def __init__(self, dim: int, shortest: float = 2 * math.pi, longest: float = 8192.0) -> None:
        super().__init__()
        turns = PERIOD / torch.logspace(math.log10(shortest), math.log10(longest), dim // 2, dtype=torch.float64)
        self.register_buffer("turns", turns.round().long(), persistent=False)
        angles = torch.arange(PERIOD)[:, None] * self.turns % PERIOD * (2 * math.pi / PERIOD)
        self.register_buffer("cosines", angles.cos().float(), persistent=False)
        self.register_buffer("sines", angles.sin().float(), persistent=False)

    def forward(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Cosines and sines at `positions [..., n]`, shaped `[..., 1, n, 1, dim / 2]` for heads and tokens."""
        index = positions % PERIOD
        return self.cosines[index][..., None, :, None, :], self.sines[index][..., None, :, None, :]


def rotate(x: Tensor, turn: tuple[Tensor, Tensor]) -> Tensor:
    """Turn the pairs (first half, second half) of `x [B, heads, n, tokens, dim]` by the angles of `turn`."""
    cosines, sines = turn
    first, second = x.chunk(2, -1)
    return torch.cat([first * cosines - second * sines, first * sines + second * cosines], -1)
