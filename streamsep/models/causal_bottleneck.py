"""What stands between the encoders and the decoders of the causal model, whatever layers it is made of."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from streamsep.layers.base import Delay, Device, Modules, StreamingLayer, run, same_lag
from streamsep.models.causal_config import DOMAINS, CausalConfig

# The bottleneck frames of the branches that there are, the spectrogram's first: `[B, C, tokens, T]` and `[B, C, T]`.
Deep = tuple[Tensor, ...]


class FeedForward(nn.Module):
    """`x + W2 gelu(W1 norm(x))`, token by token."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.norm, self.up, self.down = nn.LayerNorm(dim), nn.Linear(dim, hidden), nn.Linear(hidden, dim)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.down(F.gelu(self.up(self.norm(x))))
        return out


class Bottleneck(StreamingLayer):
    """Brings each domain's frames to tokens of one width and back, and delays them by the look-ahead.

    Attributes:
        domains: the numbers of those that there are; 0 is the spectrogram, 1 the waveform.
        tokens: of a frame, by number of the domain.

    Shape:
        of the spectrogram `[B, C, tokens, T]`, of the waveform `[B, C, T]`, both kept
    """

    def __init__(self, config: CausalConfig) -> None:
        super().__init__()
        dim = config.transformer.dim
        self.domains = tuple(DOMAINS.index(name) for name in config.domains)
        self.tokens, self.dim = (config.tokens, 1), dim
        channels = [getattr(config, name).channels[-1] for name in config.domains]
        self.into = Modules[nn.Linear](nn.Linear(c, dim) for c in channels)
        self.out = Modules[nn.Linear](nn.Linear(dim, c) for c in channels)
        self.norms = Modules[nn.LayerNorm](nn.LayerNorm(dim) for _ in channels)
        if 0 in self.domains:
            self.places = nn.Parameter(0.1 * torch.randn(config.tokens, dim))
        self.delays = Modules[Delay](Delay((dim, self.tokens[domain]), config.lookahead) for domain in self.domains)
        self.lag = same_lag(*self.delays)

    def init_late(self, batch: int, device: Device, dtype: torch.dtype | None) -> tuple[Tensor, ...]:
        """Fresh states of the delays."""
        return tuple(delay.init_state(batch, 1, device, dtype) for delay in self.delays)

    def enter(self, x: Deep, late: Deep | None) -> tuple[list[Tensor], list[Tensor], Deep]:
        """Tokens `[B, T, tokens, dim]` of each domain, the same delayed by the look-ahead, and the delays' state."""
        now, delayed, after = [], [], []
        for i, domain in enumerate(self.domains):
            frames = self.norms[i](self.into[i](x[i].movedim(1, -1).transpose(1, -2)))
            frames = frames + self.places if domain == 0 else frames[:, :, None]
            y, wait = run(self.delays[i], frames.transpose(1, 3), None if late is None else late[i])
            now.append(frames)
            delayed.append(y.transpose(1, 3))
            after.append(wait)
        return now, delayed, tuple(after)

    def leave(self, x: list[Tensor]) -> Deep:
        """Tokens `[B, T, tokens, dim]` back to what the decoders take."""
        wide = [out(tokens) for out, tokens in zip(self.out, x, strict=True)]
        return tuple(
            y.permute(0, 3, 2, 1) if domain == 0 else y[:, :, 0].transpose(1, 2)
            for domain, y in zip(self.domains, wide, strict=True)
        )
