"""Sliding-window attention over frames of tokens, with a ring of keys and values.

Queries of one frame see the tokens of every frame in `(q - context, q + lookahead]`; all tokens of a frame
see each other. Scores are rotary in time and blind to the token's place, which an embedding must supply.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from streamsep.layers.base import Delay, Device, StreamingLayer
from streamsep.layers.ring import Clock, Tick, additive, advance, band, init_clock, ring_capacity, token_mask, write
from streamsep.layers.rotary import Rotary, rotate

Turn = tuple[Tensor, Tensor]


class Attention(nn.Module):
    """Projections and heads; the callers decide which frames are seen.

    Shape:
        queries `[B, n, tokens, dim]`, keys and values `[B, m, other_tokens, dim]`
    """

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.queries = nn.Linear(dim, dim)
        self.keys_values = nn.Linear(dim, 2 * dim)
        self.out = nn.Linear(dim, dim)

    def init_ring(self, batch: int, capacity: int, tokens: int, device: Device, dtype: torch.dtype | None) -> Tensor:
        """Empty keys and values, see `write`: zeros, for what a mask hides must still be finite."""
        dim = self.out.in_features // self.heads
        return torch.zeros(batch, 2, self.heads, capacity, tokens, dim, device=device, dtype=dtype)

    def project(self, x: Tensor, turn: Turn) -> tuple[Tensor, Tensor]:
        """Rotated keys and values of `x [B, n, tokens, dim]`, each `[B, heads, n, tokens, dim / heads]`."""
        keys, values = self._split(self.keys_values(x), 2 * self.heads).chunk(2, 1)
        return rotate(keys, turn), values

    def ask(self, x: Tensor, turn: Turn) -> Tensor:
        """Rotated queries of `x [B, n, tokens, dim]`, `[B, heads, n * tokens, dim / heads]`."""
        return rotate(self._split(self.queries(x), self.heads), turn).flatten(2, 3)

    def tell(self, heard: Tensor, x: Tensor) -> Tensor:
        """What the heads heard, `[B, heads, n * tokens, dim / heads]`, in the shape of `x [B, n, tokens, dim]`."""
        out: Tensor = self.out(heard.transpose(1, 2).flatten(-2).view_as(x))
        return out

    def attend(self, x: Tensor, turn: Turn, keys: Tensor, values: Tensor, mask: Tensor) -> Tensor:
        """Attention of the tokens of `x [B, n, tokens, dim]` over projected keys and values."""
        heard = F.scaled_dot_product_attention(self.ask(x, turn), keys.flatten(2, 3), values.flatten(2, 3), mask)
        return self.tell(heard, x)

    def through_ring(
        self, x: Tensor, other: Tensor, turns: tuple[Turn, Turn], ring: Tensor, tick: Tick, mask: Tensor
    ) -> Tensor:
        """Attention of a chunk over what the ring holds, the chunk's own frames included.

        Args:
            turns: rotary tables of the queries and of the new keys.
            mask: over tokens, from `band` on the tick's positions, as `additive` makes it.
        """
        write(ring, tick, *self.project(other, turns[1]))
        keys, values = ring.unbind(1)
        return self.attend(x, turns[0], keys, values, mask)

    @staticmethod
    def _split(x: Tensor, parts: int) -> Tensor:
        return x.unflatten(-1, (parts, -1)).permute(0, 3, 1, 2, 4)


def full_pass(
    attention: Attention, x: Tensor, other: Tensor, rotary: Rotary, context: int, lookahead: int = 0
) -> Tensor:
    """Attention over a whole signal, in blocks of queries, so that memory grows with its length only.

    Args:
        x: queries `[B, n, tokens, dim]`, already delayed by `lookahead` frames.
        other: what keys and values are made of, `[B, n, other_tokens, dim]`, not delayed.
    """
    positions = torch.arange(x.shape[1], device=x.device)[None]
    keys, values = attention.project(other, rotary(positions))
    turn, span, block = rotary(positions - lookahead), context + lookahead - 1, max(context, 512)
    parts = []
    for start in range(0, x.shape[1], block):
        new, seen = slice(start, start + block), slice(max(start - span, 0), start + block)
        frames = band(positions[:, new] - lookahead, positions[:, seen], context, lookahead)
        mask = token_mask(frames, x.shape[2], other.shape[2])
        here = (turn[0][:, :, new], turn[1][:, :, new])
        parts.append(attention.attend(x[:, new], here, keys[:, :, seen], values[:, :, seen], mask))
    return torch.cat(parts, 1) if len(parts) > 1 else parts[0]


class AttentionState(NamedTuple):
    """State of a `SelfAttention` or `CrossAttention` layer."""

    clock: Clock
    ring: Tensor
    late: Tensor


class CrossAttention(StreamingLayer):
    """What the tokens of one domain hear in another: `y = Attention(delay(x), other)`.

    Args:
        tokens: of a frame of the queries and of a frame of the keys.
        context: frames of the past that are seen, the query's own included.
        lookahead: frames of the future that are seen; the output lags by as many.

    Shape:
        x `[B, dim, tokens[0], T]` and other `[B, dim, tokens[1], T]` -> `[B, dim, tokens[0], T]`
    """

    def __init__(self, dim: int, heads: int, tokens: tuple[int, int], context: int, lookahead: int = 0) -> None:
        super().__init__()
        self.attention, self.rotary = Attention(dim, heads), Rotary(dim // heads)
        self.delay = Delay((dim, tokens[0]), lookahead)
        self.tokens, self.context, self.lag = tokens, context, lookahead

    def init_state(
        self, batch: int = 1, max_chunk: int = 1, device: Device = None, dtype: torch.dtype | None = None
    ) -> AttentionState:
        capacity = ring_capacity(self.context, self.lag, max_chunk)
        ring = self.attention.init_ring(batch, capacity, self.tokens[1], device, dtype)
        return AttentionState(init_clock(batch, capacity, device), ring, self.delay.init_state(batch, 1, device, dtype))

    def forward(self, x: tuple[Tensor, Tensor]) -> Tensor:
        queries, other = (part.permute(0, 3, 2, 1) for part in (self.delay(x[0]), x[1]))
        return full_pass(self.attention, queries, other, self.rotary, self.context, self.lag).permute(0, 3, 2, 1)

    def step(self, x: tuple[Tensor, Tensor], state: AttentionState) -> tuple[Tensor, AttentionState]:  # type: ignore[override]
        late, delayed = self.delay.step(x[0], state.late)
        tick, clock = advance(state.clock, late.shape[-1], ring_capacity(self.context, self.lag, 0))
        now = tick.positions - self.lag
        seen = band(now, tick.held, self.context, self.lag)
        mask = additive(token_mask(seen, *self.tokens), state.ring.dtype)
        turns = self.rotary(now), self.rotary(tick.positions)
        queries, other = (part.permute(0, 3, 2, 1) for part in (late, x[1]))
        heard = self.attention.through_ring(queries, other, turns, state.ring, tick, mask)
        return heard.permute(0, 3, 2, 1), AttentionState(clock, state.ring, delayed)


class SelfAttention(CrossAttention):
    """`CrossAttention` of a domain with itself: `[B, dim, tokens, T]`, kept."""

    def __init__(self, dim: int, heads: int, tokens: int, context: int, lookahead: int = 0) -> None:
        super().__init__(dim, heads, (tokens, tokens), context, lookahead)

    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
        return super().forward((x, x))

    def step(self, x: Tensor, state: AttentionState) -> tuple[Tensor, AttentionState]:  # type: ignore[override]
        return super().step((x, x), state)
