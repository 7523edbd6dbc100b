"""The causal cross-domain transformer (S. Rouard et al., "Hybrid Transformers for Music Source Separation", 2022)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import product
from typing import NamedTuple

import torch
from torch import Tensor, nn

from streamsep.layers.attention import Attention, full_pass
from streamsep.layers.base import Device, Modules
from streamsep.layers.ring import Clock, Tick, additive, advance, band, init_clock, ring_capacity, token_mask
from streamsep.layers.rotary import Rotary
from streamsep.layers.together import in_turn
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
        together: how tasks of the two domains run that do not need each other.
    """

    def __init__(self, config: CausalConfig) -> None:
        super().__init__(config)
        inner = config.transformer
        self.context = config.context_frames
        self.layers = Modules[HybridLayer](HybridLayer(inner, len(self.domains)) for _ in range(inner.layers))
        self.rotary = Rotary(inner.dim // inner.heads)
        self.together = in_turn

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
        tick, clock = advance(state.clock, x[-1].shape[-1], ring_capacity(self.context, self.lag, 0))
        rings, now = iter(state.rings), self.rotary(tick.positions)
        before = self.rotary(tick.positions - self.lag) if self.lag else now
        masks = self._masks(tick, x[0].dtype)

        def hear(attention: Attention, q: Tensor, kv: Tensor, domains: tuple[int, int], lookahead: int) -> Tensor:
            turns = (before if lookahead else now, now)
            return attention.through_ring(q, kv, turns, next(rings), tick, masks[*domains, lookahead])

        out, late = self.think(x, state.late, hear)
        return out, TransformerState(clock, state.rings, late)

    def _masks(self, tick: Tick, dtype: torch.dtype) -> dict[tuple[int, int, int], Tensor]:
        """What is added to the scores of (domain of the queries, domain of the keys, look-ahead)."""
        masks = {}
        for lookahead in {0, self.lag}:
            seen = additive(band(tick.positions - lookahead, tick.held, self.context, lookahead), dtype)
            for asked, told in product(self.domains, repeat=2):
                masks[asked, told, lookahead] = token_mask(seen, self.tokens[asked], self.tokens[told])
        return masks

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
        def alone(i: int) -> tuple[Tensor, Tensor]:
            """A domain's own past, and what the other domain is told of it."""
            told = layer.norms[i](now[i])
            asking = layer.norms[i](late[i]) if lookahead else told
            x = late[i] + hear(layer.selves[i], asking, told, (self.domains[i], self.domains[i]), lookahead)
            return x, layer.norms[2 + i](x) if len(layer.crosses) else x

        def across(i: int) -> Tensor:
            x, normed = own[i]
            if len(layer.crosses):
                x = x + hear(layer.crosses[i], normed, own[1 - i][1], (i, 1 - i), 0)
            return layer.forwards[i](x)

        places = range(len(self.domains))
        own = self.together([partial(alone, i) for i in places])
        return self.together([partial(across, i) for i in places])
