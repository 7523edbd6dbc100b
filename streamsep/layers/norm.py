"""Norms that see one frame, or a running statistic with a declared time constant: never the clip."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from streamsep.layers.base import Device, StreamingLayer
from streamsep.layers.running import RunningSum, hop_energies, lines, rising


class FrameNorm(StreamingLayer):
    """Normalises each frame over all its channels (and bins), then scales each channel.

    Shape:
        `[B, C, T]` or `[B, C, bins, T]`, kept
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        frames = x.movedim(x.dim() - 1, 1)
        normed = F.group_norm(frames.flatten(0, 1), 1, self.weight, self.bias)
        return normed.unflatten(0, frames.shape[:2]).movedim(1, x.dim() - 1)


class LevelState(NamedTuple):
    """Running sums of energy and weight `[B, 2]`, and the scale at the end of the last hop `[B, 1]`."""

    sums: Tensor
    scale: Tensor


class RunningLevel(StreamingLayer):
    """The signal's level, as an exponential mean of its energy with time constant `seconds`.

    Bias-corrected from the start (a young stream has a young mean), never below `floor`, and drawn as a
    straight line over each hop so that dividing by it adds no steps. For hop energies `e[n]` and
    `a = exp(-hop / (seconds * sample_rate))`: `level[n]^2 = sum a^k e[n-k] / sum a^k`.

    Shape:
        `[B, C, n * hop] -> [B, 1, n * hop]`
    """

    ramp: Tensor

    def __init__(self, hop: int, sample_rate: int, seconds: float, floor: float = 1e-3) -> None:
        super().__init__()
        self.hop, self.floor = hop, floor
        self.sum = RunningSum(hop, sample_rate, seconds, 2)
        self.register_buffer("ramp", rising(hop), persistent=False)

    def init_state(
        self, batch: int = 1, max_chunk: int = 1, device: Device = None, dtype: torch.dtype | None = None
    ) -> LevelState:
        scale = torch.zeros(batch, 1, device=device, dtype=dtype)
        return LevelState(self.sum.init_state(batch, max_chunk, device, dtype), scale)

    def forward(self, x: Tensor) -> Tensor:
        return self.step(x, self.init_state(x.shape[0], device=x.device, dtype=x.dtype))[0]

    def step(self, x: Tensor, state: LevelState) -> tuple[Tensor, LevelState]:
        energies = hop_energies(x, self.hop)
        sums, last = self.sum.step(torch.stack([energies, torch.ones_like(energies)], 1), state.sums)
        scale = (sums[:, 0] / sums[:, 1]).sqrt().clamp_min(self.floor)
        # A young stream starts level, not from nothing.
        before = torch.where(state.scale > 0, state.scale, scale[:, :1])
        return lines(before, scale, self.ramp), LevelState(last, scale[:, -1:])
