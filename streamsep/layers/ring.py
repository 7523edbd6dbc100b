"""The ring of keys and values, and the clock that says where in it the stream stands."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from streamsep.layers.base import Device


class Clock(NamedTuple):
    """Where a stream stands: shared by all attention layers that advance together.

    Attributes:
        position: frames seen so far, `[B]`, int64.
        held: the frame position in each slot of the ring, `[B, capacity]`, int64; -1 is an empty slot.
    """

    position: Tensor
    held: Tensor


class Tick(NamedTuple):
    """One advance of the clock by n frames.

    Attributes:
        positions: of the new frames, `[B, n]`.
        rows: of the batch, `[B, 1]`, for writing.
        slots: where they go, `[B, n]`.
        held: positions in all slots after writing, `[B, capacity]`.
    """

    positions: Tensor
    rows: Tensor
    slots: Tensor
    held: Tensor


def ring_capacity(context: int, lookahead: int, max_chunk: int) -> int:
    """Slots that keep every key that the first query of the longest chunk still needs."""
    return context - 1 + lookahead + max_chunk


def init_clock(batch: int, capacity: int, device: Device = None) -> Clock:
    """A clock at position 0 over empty slots."""
    position = torch.zeros(batch, dtype=torch.int64, device=device)
    return Clock(position, torch.full((batch, capacity), -1, dtype=torch.int64, device=device))


def advance(clock: Clock, frames: int, needed: int) -> tuple[Tick, Clock]:
    """Move the clock on by `frames`; the positions held are written in place, the rest is new.

    Args:
        needed: slots without those of the chunk, see `ring_capacity`.

    Raises:
        ValueError: the chunk is longer than the ring was made for.
    """
    if frames > (longest := clock.held.shape[1] - needed):
        raise ValueError(
            f"a chunk of {frames} frames is too long for this state; make it with max_chunk={frames}, not {longest}"
        )
    positions = clock.position[:, None] + torch.arange(frames, device=clock.position.device)
    slots = positions % clock.held.shape[1]
    clock.held.scatter_(1, slots, positions)
    rows = torch.arange(slots.shape[0], device=slots.device)[:, None]
    return Tick(positions, rows, slots, clock.held), Clock(clock.position + frames, clock.held)


def write(ring: Tensor, tick: Tick, keys: Tensor, values: Tensor) -> None:
    """Put the new frames `[B, heads, n, tokens, dim]` into their slots of a ring, in place.

    Autocast has them in another type.

    Args:
        ring: keys, already rotated, and values, `[B, 2, heads, capacity, tokens, dim]`.
    """
    for kind, new in enumerate((keys, values)):
        ring[tick.rows, kind, :, tick.slots] = new.transpose(1, 2).to(ring.dtype)


def band(queries: Tensor, keys: Tensor, context: int, lookahead: int) -> Tensor:
    """Which keys a query sees: `q - context < k <= q + lookahead`, and never an empty slot.

    Shape:
        queries `[B, n]` and keys `[B, m]`, positions of frames -> `[B, n, m]`, bool
    """
    distance = queries[:, :, None] - keys[:, None]
    return (distance < context) & (distance >= -lookahead) & (keys >= 0)[:, None]


def additive(mask: Tensor, dtype: torch.dtype) -> Tensor:
    """What is added to scores so that only those where `mask` is true count: 0 there, minus infinity elsewhere."""
    return torch.zeros(mask.shape, dtype=dtype, device=mask.device).masked_fill_(~mask, -torch.inf)


def token_mask(frames: Tensor, query_tokens: int, key_tokens: int) -> Tensor:
    """A mask over frames `[B, n, m]`, of any type, as one over tokens `[B, 1, n * query_tokens, m * key_tokens]`."""
    b, n, m = frames.shape
    tokens = frames[:, :, None, :, None].expand(b, n, query_tokens, m, key_tokens)
    return tokens.reshape(b, 1, n * query_tokens, m * key_tokens)
