"""The causal cross-domain transformer (S. Rouard et al., "Hybrid Transformers for Music Source Separation", 2022)."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from streamsep.layers.attention import Attention, full_pass
from streamsep.layers.base import Device, Modules
from streamsep.layers.ring import Clock, additive, advance, band, init_clock, ring_capacity, token_mask
from streamsep.layers.rotary import Rotary
from streamsep.models.causal_bottleneck import Bottleneck, Deep, FeedForward
from streamsep.models.causal_config import CausalConfig, TransformerConfig


class HybridLayer(nn.Module):
    """Self-attention in each of `domains` domains, cross-attention both ways where it is wanted, feed-forward."""

    def __init__(self, config: TransformerConfig, domains: int) -> None:
        super().__init__()
        dim, crosses = config.dim, domains if config.cross and domains > 1 else 0
        self.norms = Modules[nn.LayerNorm](nn.LayerNorm(dim) for _ in range(domains + crosses))
        self.selves = Modules[Attention](Attention(dim, config.heads) for _ in range(domains))
        self.crosses = Modules[Attention](Attention(dim, config.heads) for _ in range(crosses))
        self.forwards = Modules[FeedForward](FeedForward(dim, int(dim * config.expansion)) for _ in range(domains))


class TransformerState(NamedTuple):
    """The clock that all layers share, their rings, and the frames that wait for the look-ahead."""

    clock: Clock
    rings: tuple[Tensor, ...]
    late: Deep


# (attention, queries, keys, which domains, look-ahead) -> what the queries heard
Hear = Callable[[Attention, Tensor, Tensor, tuple[int, int], int], Tensor]


class CrossDomainTransformer(Bottleneck):
    """Both domains' bottleneck frames, each seeing its own past and the other's; see `Bottleneck` for the shapes.

    The first self-attention looks `lookahead` frames ahead; its residual path is delayed by as many.

    Attributes:
        context: frames of the past in each attention.
    """

    def __init__(self, config: CausalConfig) -> None:
        super().__init__(config)
        inner = config.transformer
        self.context = config.context_frames
        self.layers = Modules[HybridLayer](HybridLayer(inner, len(self.domains)) for _ in range(inner.layers))
        self.rotary = Rotary(inner.dim // inner.heads)

    def init_state(
        self, batch: int = 1, max_chunk: int = 1, device: Device = None, dtype: torch.dtype | None = None
    ) -> TransformerState:
        capacity = ring_capacity(self.context, self.lag, max_chunk)
        rings = tuple(
            attention.init_ring(batch, capacity, self.tokens[source], device, dtype)
            for layer in self.layers
            for attentions, sources in ((layer.selves, self.domains), (layer.crosses, self.domains[::-1]))
            for attention, source in zip(attentions, sources, strict=False)  # there may be no crosses
        )
        return TransformerState(init_clock(batch, capacity, device), rings, self.init_late(batch, device, dtype))

    def forward(self, x: Deep) -> Deep:
        def hear(attention: Attention, q: Tensor, kv: Tensor, domains: tuple[int, int], lookahead: int) -> Tensor:
            return full_pass(attention, q, kv, self.rotary, self.context, lookahead)

        return self.think(x, None, hear)[0]

    def step(self, x: Deep, state: TransformerState) -> tuple[Deep, TransformerState]:  # type: ignore[override]
        tick, clock = advance(state.clock, x[-1].shape[-1])
        rings, masks, now = iter(state.rings), {}, self.rotary(tick.positions)
        before = self.rotary(tick.positions - self.lag) if self.lag else now

        def hear(attention: Attention, q: Tensor, kv: Tensor, domains: tuple[int, int], lookahead: int) -> Tensor:
            key = (*domains, lookahead)
            if key not in masks:
                seen = band(tick.positions - lookahead, tick.held, self.context, lookahead)
                tokens = token_mask(seen, self.tokens[domains[0]], self.tokens[domains[1]])
                masks[key] = additive(tokens, x[0].dtype)
            turns = (before if lookahead else now, now)
            return attention.through_ring(q, kv, turns, next(rings), tick, masks[key])

        out, late = self.think(x, state.late, hear)
        return out, TransformerState(clock, state.rings, late)

    def think(self, x: Deep, late: Deep | None, hear: Hear) -> tuple[Deep, Deep]:
        """All layers on a chunk; `hear` decides what an attention sees, `late` waits for the look-ahead."""
        now, delayed, after = self.enter(x, late)
        lookahead = self.lag
        for layer in self.layers:
            now = delayed = self._layer(layer, now, delayed, hear, lookahead)
            lookahead = 0
        return self.leave(delayed), after

    def _layer(
        self, layer: HybridLayer, now: list[Tensor], late: list[Tensor], hear: Hear, lookahead: int
    ) -> list[Tensor]:
        places = range(len(self.domains))
        normed = [layer.norms[i](now[i]) for i in places]
        queries = [layer.norms[i](late[i]) for i in places] if lookahead else normed
        x = [
            late[i] + hear(layer.selves[i], queries[i], normed[i], (domain, domain), lookahead)
            for i, domain in enumerate(self.domains)
        ]
        if len(layer.crosses):
            normed = [layer.norms[2 + d](x[d]) for d in (0, 1)]
            x = [x[d] + hear(layer.crosses[d], normed[d], normed[1 - d], (d, 1 - d), 0) for d in (0, 1)]
        return [forward(frames) for forward, frames in zip(layer.forwards, x, strict=True)]
