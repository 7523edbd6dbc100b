"""Norms that see one frame, or a running statistic with a declared time constant: never the clip."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from streamsep.layers.base import Device, StreamingLayer


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
    """Running sums of energy and weight `[B, 1]`, and the scale at the end of the last hop `[B, 1]`."""

    energy: Tensor
    weight: Tensor
    scale: Tensor


class RunningLevel(StreamingLayer):
    """The signal's level, as an exponential mean of its energy with time constant `seconds`.

    Bias-corrected from the start (a young stream has a young mean), never below `floor`, and drawn as a
    straight line over each hop so that dividing by it adds no steps. For hop energies `e[n]` and
    `a = exp(-hop / (seconds * sample_rate))`: `level[n]^2 = sum a^k e[n-k] / sum a^k`.

    Shape:
        `[B, C, n * hop] -> [B, 1, n * hop]`
    """

    decays: Tensor
    ramp: Tensor

    def __init__(self, hop: int, sample_rate: int, seconds: float, floor: float = 1e-3) -> None:
        super().__init__()
        self.hop, self.floor, self.block = hop, floor, 512
        rate = math.exp(-hop / (seconds * sample_rate))
        powers = rate ** torch.arange(self.block + 1, dtype=torch.float64)
        lower = torch.arange(self.block)[:, None] - torch.arange(self.block)[None]
        decays = torch.cat([powers[1:, None], torch.where(lower >= 0, powers[lower.clamp_min(0)], 0.0)], 1)
        self.register_buffer("decays", decays.float(), persistent=False)
        self.register_buffer("ramp", torch.arange(1, hop + 1).float() / hop, persistent=False)

    def init_state(
        self, batch: int = 1, max_chunk: int = 1, device: Device = None, dtype: torch.dtype | None = None
    ) -> LevelState:
        zeros = torch.zeros(batch, 1, device=device, dtype=dtype)
        return LevelState(zeros, zeros.clone(), zeros.clone())

    def forward(self, x: Tensor) -> Tensor:
        return self.step(x, self.init_state(x.shape[0], device=x.device, dtype=x.dtype))[0]

    def step(self, x: Tensor, state: LevelState) -> tuple[Tensor, LevelState]:
        parts = []
        for part in x.split(self.block * self.hop, -1):
            level, state = self._block(part, state)
            parts.append(level)
        return (parts[0] if len(parts) == 1 else torch.cat(parts, -1)), state

    def _block(self, x: Tensor, state: LevelState) -> tuple[Tensor, LevelState]:
        energies = x.unflatten(-1, (-1, self.hop)).square().mean((1, 3))
        n = energies.shape[1]
        decays = self.decays[:n, : n + 1].to(x.dtype)
        energy = torch.cat([state.energy, energies], 1) @ decays.T
        weight = torch.cat([state.weight, torch.ones_like(energies)], 1) @ decays.T
        scale = (energy / weight).sqrt().clamp_min(self.floor)
        last = torch.where(state.scale > 0, state.scale, scale[:, :1])  # a young stream starts level, not from nothing
        before = torch.cat([last, scale[:, :-1]], 1)
        line = before[..., None] + (scale - before)[..., None] * self.ramp
        return line.flatten(1)[:, None], LevelState(energy[:, -1:], weight[:, -1:], scale[:, -1:])
