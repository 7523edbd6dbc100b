"""A whole song through a streaming separator, chunk by chunk; knows only the separator's contract."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from streamsep.models.separator import Separator


@torch.inference_mode()
def separate_stream(
    model: Separator,
    mix: Tensor,
    chunk_hops: int = 64,
    progress: Callable[[int], None] | None = None,
    device: torch.device | str | None = None,
) -> Tensor:
    """Separate `mix [B, 2, T]` into `sources [B, S, 2, T]`, aligned with it: the model's latency is taken out.

    Silence is fed for the latency and up to a whole hop. Memory beside input and output is that of one chunk.

    Args:
        mix: samples at `model.sample_rate`.
        chunk_hops: hops handed to one step; a longer chunk is quicker, the result is the same.
        progress: called after each step with the number of input samples done, T at the end.
        device: where the model is; the result comes back to where `mix` is.

    Raises:
        ValueError: `mix` is not `[B, 2, T]`, or `chunk_hops` is below 1.
    """
    if mix.dim() != 3 or mix.shape[1] != 2:
        raise ValueError(f"expected a mix [B, 2, T], got {list(mix.shape)}")
    if chunk_hops < 1:
        raise ValueError(f"a chunk has at least one hop, got {chunk_hops}")
    batch, channels, length = mix.shape
    sources = mix.new_empty(batch, len(model.sources), channels, length)
    hops = -(-(length + model.latency) // model.hop)
    state = model.init_state(batch, max(1, min(chunk_hops, hops)), device=device, dtype=mix.dtype)
    for first in range(0, hops, chunk_hops):
        begin, end = first * model.hop, min(first + chunk_hops, hops) * model.hop
        chunk, state = model.step(_cut(mix, begin, end).to(device), state)
        at = begin - model.latency
        kept = chunk[..., max(0, -at) : max(0, length - at)]
        sources[..., max(0, at) : max(0, at) + kept.shape[-1]] = kept
        if progress is not None:
            progress(min(end, length))
    return sources


def _cut(mix: Tensor, begin: int, end: int) -> Tensor:
    """`mix[..., begin:end]`, with silence past its end."""
    piece = mix[..., begin:end]
    return torch.nn.functional.pad(piece, (0, end - begin - piece.shape[-1]))
