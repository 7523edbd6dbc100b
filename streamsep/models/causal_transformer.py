"""The causal cross-domain transformer (S. Rouard et al., "Hybrid Transformers for Music Source Separation", 2022)."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from streamsep.layers.attention import Attention, full_pass, through_ring
from streamsep.layers.base import Delay, Device, Modules, StreamingLayer, run, same_lag
from streamsep.layers.ring import KV, Clock, advance, band, init_clock, ring_capacity, token_mask
from streamsep.layers.rotary import Rotary
from streamsep.models.causal_config import TransformerConfig

Pair = tuple[Tensor, Tensor]


class FeedForward(nn.Module):
    """`x + W2 gelu(W1 norm(x))`, token by token."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.norm, self.up, self.down = nn.LayerNorm(dim), nn.Linear(dim, hidden), nn.Linear(hidden, dim)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.down(F.gelu(self.up(self.norm(x))))
        return out


class HybridLayer(nn.Module):
    """Self-attention in each domain, cross-attention both ways, feed-forward; index 0 is the spectrogram."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        dim = config.dim
        self.norms = Modules[nn.LayerNorm](nn.LayerNorm(dim) for _ in range(4))
        self.selves = Modules[Attention](Attention(dim, config.heads) for _ in range(2))
        self.crosses = Modules[Attention](Attention(dim, config.heads) for _ in range(2))
        self.forwards = Modules[FeedForward](FeedForward(dim, int(dim * config.expansion)) for _ in range(2))


class TransformerState(NamedTuple):
    """The clock that all layers share, their rings, and the frames that wait for the look-ahead."""

    clock: Clock
    rings: tuple[KV, ...]
    late: tuple[Tensor, Tensor]


# (attention, queries, keys, which domains, look-ahead) -> what the queries heard
Hear = Callable[[Attention, Tensor, Tensor, tuple[int, int], int], Tensor]


class CrossDomainTransformer(StreamingLayer):
    """Both domains' bottleneck frames, each seeing its own past and the other's.

    The first self-attention looks `lookahead` frames ahead; its residual path is delayed by as many.

    Args:
        tokens: of a spectrogram frame; a waveform frame is one token.
        channels: of the spectrogram and of the waveform bottleneck.
        context: frames of the past in each attention.

    Shape:
        (`[B, channels[0], tokens, T]`, `[B, channels[1], T]`), kept
    """

    def __init__(
        self, config: TransformerConfig, tokens: int, channels: tuple[int, int], context: int, lookahead: int
    ) -> None:
        super().__init__()
        self.tokens, self.context, self.dim = (tokens, 1), context, config.dim
        self.into = Modules[nn.Linear](nn.Linear(c, config.dim) for c in channels)
        self.out = Modules[nn.Linear](nn.Linear(config.dim, c) for c in channels)
        self.norms = Modules[nn.LayerNorm](nn.LayerNorm(config.dim) for _ in channels)
        self.places = nn.Parameter(0.1 * torch.randn(tokens, config.dim))
        self.layers = Modules[HybridLayer](HybridLayer(config) for _ in range(config.layers))
        self.rotary = Rotary(config.dim // config.heads)
        self.delays = Modules[Delay](Delay((config.dim, n), lookahead) for n in self.tokens)
        self.lag = same_lag(*self.delays)

    def init_state(
        self, batch: int = 1, max_chunk: int = 1, device: Device = None, dtype: torch.dtype | None = None
    ) -> TransformerState:
        capacity = ring_capacity(self.context, self.lag, max_chunk)
        rings = tuple(
            attention.init_ring(batch, capacity, self.tokens[source], device, dtype)
            for layer in self.layers
            for attention, source in zip([*layer.selves, *layer.crosses], (0, 1, 1, 0), strict=True)
        )
        late = [delay.init_state(batch, 1, device, dtype) for delay in self.delays]
        return TransformerState(init_clock(batch, capacity, device), rings, (late[0], late[1]))

    def forward(self, x: Pair) -> Pair:
        def hear(attention: Attention, q: Tensor, kv: Tensor, domains: tuple[int, int], lookahead: int) -> Tensor:
            return full_pass(attention, q, kv, self.rotary, self.context, lookahead)

        return self.think(x, None, hear)[0]

    def step(self, x: Pair, state: TransformerState) -> tuple[Pair, TransformerState]:  # type: ignore[override]
        tick, clock = advance(state.clock, x[1].shape[-1])
        rings, masks, now = iter(state.rings), {}, self.rotary(tick.positions)
        before = self.rotary(tick.positions - self.lag) if self.lag else now

        def hear(attention: Attention, q: Tensor, kv: Tensor, domains: tuple[int, int], lookahead: int) -> Tensor:
            key = (*domains, lookahead)
            if key not in masks:
                seen = band(tick.positions - lookahead, tick.held, self.context, lookahead)
                masks[key] = token_mask(seen, self.tokens[domains[0]], self.tokens[domains[1]])
            turns = (before if lookahead else now, now)
            return through_ring(attention, q, kv, turns, next(rings), tick, masks[key])

        out, late = self.think(x, state.late, hear)
        return out, TransformerState(clock, state.rings, late)

    def think(self, x: Pair, late: Pair | None, hear: Hear) -> tuple[Pair, Pair]:
        """All layers on a chunk; `hear` decides what an attention sees, `late` waits for the look-ahead."""
        now = self._frames(x)
        delayed, after = [], []
        for domain, frames in enumerate(now):
            y, wait = run(self.delays[domain], frames.transpose(1, 3), None if late is None else late[domain])
            delayed.append(y.transpose(1, 3))
            after.append(wait)
        return self._run(now, delayed, hear), (after[0], after[1])

    def _frames(self, x: Pair) -> list[Tensor]:
        """Tokens `[B, T, tokens, dim]` of both domains."""
        spectrogram = self.norms[0](self.into[0](x[0].permute(0, 3, 2, 1))) + self.places
        return [spectrogram, self.norms[1](self.into[1](x[1].transpose(1, 2)))[:, :, None]]

    def _run(self, now: list[Tensor], late: list[Tensor], hear: Hear) -> Pair:
        lookahead = self.lag
        for layer in self.layers:
            normed = [layer.norms[d](now[d]) for d in (0, 1)]
            queries = [layer.norms[d](late[d]) for d in (0, 1)] if lookahead else normed
            x = [late[d] + hear(layer.selves[d], queries[d], normed[d], (d, d), lookahead) for d in (0, 1)]
            normed = [layer.norms[2 + d](x[d]) for d in (0, 1)]
            x = [x[d] + hear(layer.crosses[d], normed[d], normed[1 - d], (d, 1 - d), 0) for d in (0, 1)]
            now = late = [layer.forwards[d](x[d]) for d in (0, 1)]
            lookahead = 0
        return self.out[0](late[0]).permute(0, 3, 2, 1), self.out[1](late[1])[:, :, 0].transpose(1, 2)
