"""Separators whose right answer is known."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class ToySeparator(nn.Module):
    """Each stem is the mix times its gain, `latency` samples late."""

    def __init__(self, hop: int = 64, latency: int = 96, gains: tuple[float, ...] = (0.5, 0.25, 0.125, 0.125)) -> None:
        super().__init__()
        self.hop, self.latency, self.sample_rate = hop, latency, 44100
        self.sources = ("drums", "bass", "other", "vocals")[: len(gains)]
        self.register_buffer("gains", torch.tensor(gains))
        self.max_chunk = 0

    def init_state(
        self,
        batch: int = 1,
        max_chunk: int = 1,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> Tensor:
        self.max_chunk = max_chunk
        return torch.zeros(batch, 2, self.latency, device=device, dtype=dtype)

    def step(self, mix: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        length = mix.shape[-1]
        if length % self.hop or not 0 < length <= self.max_chunk * self.hop:
            raise AssertionError(f"{length} samples are not 1 to {self.max_chunk} hops of {self.hop}")
        line = torch.cat([state, mix], dim=-1)
        gains = self.get_buffer("gains")
        return line[:, None, :, :length] * gains[:, None, None], line[..., length:]
