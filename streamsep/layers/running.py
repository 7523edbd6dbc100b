"""Sums that forget, hop by hop: what a running level and an expander go by."""

from __future__ import annotations

import contextlib
import math

import torch
from torch import Tensor

from streamsep.layers.base import Device, StreamingLayer


class RunningSum(StreamingLayer):
    """`y[n] = a y[n-1] + x[n]` with `a = exp(-hop / (seconds * sample_rate))`, for values of hops of `hop` samples.

    Shape:
        `[B, rows, n]`, kept
    """

    decays: Tensor

    def __init__(self, hop: int, sample_rate: int, seconds: float, rows: int) -> None:
        super().__init__()
        self.rows, self.block = rows, 512
        rate = math.exp(-hop / (seconds * sample_rate))
        powers = rate ** torch.arange(self.block + 1, dtype=torch.float64)
        lower = torch.arange(self.block)[:, None] - torch.arange(self.block)[None]
        decays = torch.cat([powers[1:, None], torch.where(lower >= 0, powers[lower.clamp_min(0)], 0.0)], 1)
        self.register_buffer("decays", decays.float(), persistent=False)

    def init_state(
        self, batch: int = 1, max_chunk: int = 1, device: Device = None, dtype: torch.dtype | None = None
    ) -> Tensor:
        return torch.zeros(batch, self.rows, device=device, dtype=dtype)

    def forward(self, x: Tensor) -> Tensor:
        return self.step(x, self.init_state(x.shape[0], device=x.device, dtype=x.dtype))[0]

    def step(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        parts = []
        for part in x.split(self.block, -1):
            n = part.shape[-1]
            decays = self.decays[:n, : n + 1].to(x.dtype)
            # Levels are no place for bfloat16; a device without sound has no autocast either.
            with contextlib.nullcontext() if x.is_meta else torch.autocast(x.device.type, enabled=False):
                parts.append(torch.cat([state[..., None], part], -1) @ decays.T)
            state = parts[-1][..., -1]
        return (parts[0] if len(parts) == 1 else torch.cat(parts, -1)), state


def hop_energies(x: Tensor, hop: int) -> Tensor:
    """Mean energy of each hop over all channels: `[B, C, n * hop] -> [B, n]`."""
    return x.unflatten(-1, (-1, hop)).square().mean((1, 3))


def rising(hop: int) -> Tensor:
    """`1 / hop, 2 / hop ... 1`."""
    return torch.arange(1, hop + 1).float() / hop


def lines(first: Tensor, ends: Tensor, ramp: Tensor) -> Tensor:
    """A straight line over each hop to its value in `ends [B, n]`, from `first [B, 1]` on: `[B, 1, n * hop]`.

    Args:
        ramp: `rising(hop)`.
    """
    before = torch.cat([first, ends[:, :-1]], 1)
    return (before[..., None] + (ends - before)[..., None] * ramp).flatten(1)[:, None]
