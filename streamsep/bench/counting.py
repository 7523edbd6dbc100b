"""What a step is made of, counted rather than timed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from streamsep.engine.operations import count_operations
from streamsep.engine.state import leaves
from streamsep.models.separator import Separator


@dataclass(frozen=True)
class Work:
    """One hop of one stream.

    Attributes:
        parameters: trained numbers; weight_bytes: their size as they are held.
        state_bytes: of what one stream remembers.
        mflop: of matrix products, convolutions and attention, a multiplication and an addition being two; what goes
            element by element (norms, activations, masks) is not counted.
        transform_mflop: of Fourier transforms: by custom 5/2 n log2 n for n real samples, 5 n log2 n for complex ones.
        dispatches: of an eager step: operators of PyTorch that are more than a view, on a GPU kernels and copies.
        nodes: of the ONNX graph, as written; None where there is none.
    """

    parameters: int
    weight_bytes: int
    state_bytes: int
    mflop: float
    transform_mflop: float
    dispatches: int
    nodes: int | None


def count(separator: Separator) -> Work:
    """Count a step of `separator`, on the device where its weights are."""
    weights: list[Tensor] = list(separator.parameters()) if isinstance(separator, nn.Module) else []
    device = weights[0].device if weights else torch.device("cpu")
    state = separator.init_state(batch=1, device=device)
    size = sum(leaf.numel() * leaf.element_size() for leaf in leaves(state))
    flop, transforms = _flop(separator, state, device)
    return Work(
        parameters=sum(value.numel() for value in weights),
        weight_bytes=sum(value.numel() * value.element_size() for value in weights),
        state_bytes=size,
        mflop=flop / 1e6,
        transform_mflop=transforms / 1e6,
        dispatches=_dispatches(separator, device),
        nodes=_nodes(separator),
    )


# Not inference mode: there, what PyTorch composes of several operators would be counted as one.
@torch.no_grad()
def _dispatches(separator: Separator, device: torch.device) -> int:
    state = separator.init_state(batch=1, device=device)
    mix = torch.randn(1, 2, separator.hop, device=device)
    return count_operations(lambda: separator.step(mix, state), device)


@torch.no_grad()
def _flop(separator: Separator, state: Any, device: torch.device) -> tuple[int, int]:
    """Operations of everything but the transforms, and of these; attention is spelt out as the products it is."""
    counter = FlopCounterMode(display=False, custom_mapping=_TRANSFORMS)
    with sdpa_kernel(SDPBackend.MATH), counter:
        separator.step(torch.randn(1, 2, separator.hop, device=device), state)
    counted = counter.get_flop_counts().get("Global", {})
    transforms = sum(flop for operator, flop in counted.items() if operator in _TRANSFORMS)
    return sum(counted.values()) - transforms, transforms


def _forward(x: Sequence[int], dims: Sequence[int], *rest: Any, out_shape: Sequence[int]) -> int:
    return round(2.5 * math.prod(x) * math.log2(math.prod(x[dim] for dim in dims)))


def _backward(x: Sequence[int], dims: Sequence[int], *rest: Any, out_shape: Sequence[int]) -> int:
    return _forward(out_shape, dims, out_shape=out_shape)


def _complex(x: Sequence[int], dims: Sequence[int], *rest: Any, out_shape: Sequence[int]) -> int:
    return 2 * _forward(x, dims, out_shape=out_shape)


_TRANSFORMS = {
    torch.ops.aten._fft_r2c: _forward,
    torch.ops.aten._fft_c2r: _backward,
    torch.ops.aten._fft_c2c: _complex,
}


def _nodes(separator: Separator) -> int | None:
    if not getattr(separator, "has_graph", False):
        return None
    try:
        import onnx
    except ImportError:
        return None
    graph = separator.onnx_graph()  # type: ignore[attr-defined]
    return len(onnx.load_from_string(graph).graph.node)
