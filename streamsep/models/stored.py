"""Weights in fewer bits on disk: half precision, or kernels in bytes with one scale for each of their outputs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor

Bits = Literal[32, 16, 8]
SCALE = "/scale"  # no name of a tensor in a model has a slash
# Numbers of a kernel from which on bytes save anything worth having.
SMALLEST = 4096
LARGEST = 127


def narrowed(state: Mapping[str, Tensor], bits: Bits) -> dict[str, Tensor]:
    """What is stored of `state`.

    Args:
        bits: of a floating-point number: 32 as it is, 16 half precision, 8 bytes for kernels of `SMALLEST` numbers or
            more, each row (along the first dimension) by the scale `NAME/scale [rows]`, and halves for all else.
    """
    stored = {}
    for name, value in state.items():
        if bits == 8 and value.is_floating_point() and value.ndim > 1 and value.numel() >= SMALLEST:
            scale = value.flatten(1).abs().amax(1).float().clamp_min(torch.finfo(torch.float32).tiny) / LARGEST
            stored[name + SCALE] = scale
            stored[name] = (value / _across(scale, value)).round().to(torch.int8)
        else:
            stored[name] = value.half() if bits < 32 and value.is_floating_point() else value
    return stored


def widened(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What `narrowed` was given, rounded: kernels of bytes become float32; all else stays as it was stored."""
    state = dict(tensors)
    for name, value in tensors.items():
        scale = tensors.get(name + SCALE)
        if value.dtype == torch.int8 and scale is not None and scale.shape == value.shape[:1]:
            state[name] = value.float() * _across(scale.float(), value)
            del state[name + SCALE]
    return state


def _across(scale: Tensor, value: Tensor) -> Tensor:
    """`scale [rows]` in a shape that multiplies the rows of `value`."""
    return scale.view(-1, *[1] * (value.ndim - 1))
