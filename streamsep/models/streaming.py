"""A whole song through a streaming separator, chunk by chunk; knows only the separator's contract."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from functools import reduce

import torch
from torch import Tensor, nn

from streamsep.models.separator import Separator

Read = Callable[[int, int], Tensor]
# Where the caller does not choose, a step takes this many hops, or as many as this many samples hold.
CHUNK_HOPS, CHUNK_SAMPLES = 64, 32768


def dtype_of(model: Separator) -> torch.dtype:
    """What a model computes in: its widest floating type, for networks may be narrower than what is around them."""
    tensors = itertools.chain(model.parameters(), model.buffers()) if isinstance(model, nn.Module) else ()
    kinds = {tensor.dtype for tensor in tensors if tensor.is_floating_point()}
    return reduce(torch.promote_types, kinds) if kinds else torch.get_default_dtype()


def check_floating(mix: Tensor) -> None:
    """Raise ValueError unless samples are floating-point numbers, for the full scale of others is not known."""
    if not mix.is_floating_point():
        raise ValueError(f"expected a mix of floating-point samples, got {mix.dtype}; divide it by its full scale")


@torch.inference_mode()
def stream_pieces(
    model: Separator, read: Read, length: int, chunk_hops: int | None = None, device: torch.device | str | None = None
) -> Iterator[tuple[int, Tensor]]:
    """Yield `(start, sources [B, S, 2, n])`, aligned with the song: the model's latency is taken out.

    Memory is that of one chunk. Silence is fed after the end, for the latency and up to a whole hop.

    Args:
        read: gives `mix [B, 2, frames]` at `model.sample_rate` from a start on, always inside the song; of any floating
            type, the pieces are of the model's.
        length: samples of the song.
        chunk_hops: hops handed to one step, 64 or fewer if None; a longer chunk is quicker, the result is the same.
        device: where the model is.

    Raises:
        ValueError: `chunk_hops` is below 1, or `read` gives integers.
    """
    if chunk_hops is None:
        chunk_hops = min(CHUNK_HOPS, max(1, CHUNK_SAMPLES // model.hop))
    if chunk_hops < 1:
        raise ValueError(f"a chunk has at least one hop, got {chunk_hops}")
    hops = -(-(length + model.latency) // model.hop)
    state, dtype = None, dtype_of(model)
    for first in range(0, hops, chunk_hops):
        begin, end = first * model.hop, min(first + chunk_hops, hops) * model.hop
        heard = read(min(begin, length), max(min(end, length) - begin, 0))
        check_floating(heard)
        inside = heard.to(device, dtype)
        mix = torch.nn.functional.pad(inside, (0, end - begin - inside.shape[-1]))
        if state is None:
            state = model.init_state(mix.shape[0], min(chunk_hops, hops), device=device, dtype=dtype)
        sources, state = model.step(mix, state)
        at = begin - model.latency
        piece = sources[..., max(0, -at) : max(0, length - at)]
        if piece.shape[-1]:
            yield max(0, at), piece


def separate_stream(
    model: Separator,
    mix: Tensor,
    chunk_hops: int | None = None,
    progress: Callable[[int], None] | None = None,
    device: torch.device | str | None = None,
) -> Tensor:
    """Separate `mix [B, 2, T]` into `sources [B, S, 2, T]`, aligned with it; see `stream_pieces`.

    Args:
        mix: samples at `model.sample_rate`, of any floating type; the sources are of the model's.
        progress: called after each piece with the number of output samples done, T at the end.
        device: where the model is; the result comes back to where `mix` is.

    Raises:
        ValueError: `mix` is not `[B, 2, T]` or of integers, or `chunk_hops` is below 1.
    """
    if mix.dim() != 3 or mix.shape[1] != 2:
        raise ValueError(f"expected a mix [B, 2, T], got {list(mix.shape)}")
    check_floating(mix)
    batch, channels, length = mix.shape
    sources = mix.new_empty(batch, len(model.sources), channels, length, dtype=dtype_of(model))
    pieces = stream_pieces(model, lambda start, frames: mix[..., start : start + frames], length, chunk_hops, device)
    for start, piece in pieces:
        stop = start + piece.shape[-1]
        sources[..., start:stop] = piece
        if progress is not None:
            progress(stop)
    return sources
