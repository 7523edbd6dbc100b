"""A causal model for inference alone: the same function in fewer and larger operations, its networks in any precision.

On a GPU a step is hundreds of operations of a few microseconds each, and their number is its time. So gates and norms
treat frames as rows with channels last, where an affine map, a bias and a scale belong to the matrix product; queries,
keys and values come from one product and are turned by two operations. FFT, level, masks and synthesis stay as they
are, in the precision they had.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from streamsep.layers.attention import Attention, Turn
from streamsep.layers.base import Device, Pointwise, State, StreamingLayer
from streamsep.layers.dconv import Block
from streamsep.layers.ring import Tick
from streamsep.layers.rotary import Rotary
from streamsep.layers.together import SideBySide
from streamsep.models.causal_htdemucs import CausalHTDemucs
from streamsep.models.causal_transformer import CrossDomainTransformer


def fuse(model: CausalHTDemucs, precision: torch.dtype, side_by_side: bool) -> CausalHTDemucs:
    """A copy of `model` whose branches and transformer compute and remember in `precision`.

    With `side_by_side` what the two branches do apart from each other overlaps in a CUDA graph; see `SideBySide`.
    Its weights are the model's as they are now; it cannot be trained, saved or made a graph of.
    """
    twin = copy.deepcopy(model).eval().requires_grad_(False)
    twin.has_graph = False
    if side_by_side:
        twin.together = SideBySide()
    for branch in twin.branches:
        _replace(branch)
    if isinstance(twin.transformer, CrossDomainTransformer):
        _replace(twin.transformer)
        twin.transformer.together = twin.together
    for network in (*twin.branches, twin.full_band, twin.transformer):
        if network is not None:
            network.to(precision)
    return twin


def _replace(module: nn.Module) -> None:
    """Exchange the parts of `module`, at any depth, for which there is a fused form."""
    for name, part in module.named_children():
        if isinstance(part, Block):
            setattr(module, name, FusedBlock(part))
        elif isinstance(part, Attention):
            setattr(module, name, FusedAttention(part))
        elif isinstance(part, Rotary):
            setattr(module, name, PairedRotary(part))
        elif isinstance(part, Pointwise) and isinstance(part.function, nn.Sequential):  # see `causal_unet.rewrite`
            setattr(module, name, FusedGate(part.function[0]))
        else:
            _replace(part)


class FusedGate(StreamingLayer):
    """The gated linear unit of a 1x1 convolution, `[B, C, *, T]` to `[B, C / 2 * ..., *, T]`, channels last in memory.

    Args:
        conv: that makes twice as many channels.
        scale: of the result, `[outputs]`; it goes into the weights.
    """

    weight: Tensor
    bias: Tensor

    def __init__(self, conv: nn.Module, scale: Tensor | None = None) -> None:
        super().__init__()
        assert isinstance(conv, (nn.Conv1d, nn.Conv2d)) and conv.bias is not None
        weight, bias = conv.weight.flatten(1), conv.bias
        if scale is not None:
            both = torch.cat([scale.flatten(), torch.ones_like(scale).flatten()])  # the gate keeps its size
            weight, bias = weight * both[:, None], bias * both
        self.register_buffer("weight", weight.detach().clone())
        self.register_buffer("bias", bias.detach().clone())

    def forward(self, x: Tensor) -> Tensor:
        return self.rows(x.movedim(1, -1)).movedim(-1, 1)

    def rows(self, x: Tensor) -> Tensor:
        """The same for channels that come last."""
        return F.glu(F.linear(x, self.weight, self.bias), -1)


class FusedBlock(StreamingLayer):
    """A `Block` whose norm, activation and gate see frames with channels last."""

    norm_weight: Tensor
    norm_bias: Tensor

    def __init__(self, block: Block) -> None:
        super().__init__()
        self.conv, self.gate = block.conv, FusedGate(block.project, block.scale)
        # One frame is normalised over all its channels and, where there are bins, over those too.
        bins = getattr(block.conv, "bins", 1)
        for name, value in (("norm_weight", block.norm.weight), ("norm_bias", block.norm.bias)):
            self.register_buffer(name, value.detach().expand(bins, -1).clone())

    def init_state(
        self, batch: int = 1, max_chunk: int = 1, device: Device = None, dtype: torch.dtype | None = None
    ) -> State:
        return self.conv.init_state(batch, max_chunk, device, dtype)

    def forward(self, x: Tensor) -> Tensor:
        return x + self._rest(self.conv(x))

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        hidden, state = self.conv.step(x, state)
        return x + self._rest(hidden), state

    def _rest(self, hidden: Tensor) -> Tensor:
        flat = hidden.dim() == 3
        frames = (hidden[:, :, None] if flat else hidden).transpose(1, -1)  # [B, T, bins, C]
        normed = F.layer_norm(frames, self.norm_weight.shape, self.norm_weight, self.norm_bias)
        out = self.gate.rows(F.gelu(normed)).transpose(1, -1)
        return out[:, :, 0] if flat else out


class PairedRotary(nn.Module):
    """`Rotary`'s tables as two factors: a pair `(a, b)` turned is `a * first + b * second`."""

    cosines: Tensor
    sines: Tensor

    def __init__(self, rotary: Rotary) -> None:
        super().__init__()
        self.rotary = rotary

    def forward(self, positions: Tensor) -> Turn:
        """Factors at `positions [..., n]` for queries, keys and (still) values, `[..., n, 1, 3, 1, 2, dim / 2]`."""
        cosines, sines = (table.movedim(-4, -2)[..., None, None, :] for table in self.rotary(positions))
        one, zero = torch.ones_like(cosines), torch.zeros_like(cosines)
        first, second = torch.cat([cosines, sines], -2), torch.cat([-sines, cosines], -2)
        still = torch.cat([one, zero], -2), torch.cat([zero, one], -2)
        return torch.cat([first, first, still[0]], -4), torch.cat([second, second, still[1]], -4)


class FusedAttention(nn.Module):
    """An `Attention` that steps: queries, keys and values from one product where they are made of the same tokens."""

    weight: Tensor
    bias: Tensor

    def __init__(self, attention: Attention) -> None:
        super().__init__()
        self.heads, self.out, self.init_ring = attention.heads, attention.out, attention.init_ring
        parts = (attention.queries, attention.keys_values)
        self.register_buffer("weight", torch.cat([part.weight.detach() for part in parts]))
        self.register_buffer("bias", torch.cat([part.bias.detach() for part in parts]))

    def through_ring(
        self, x: Tensor, other: Tensor, turns: tuple[Turn, Turn], ring: Tensor, tick: Tick, mask: Tensor
    ) -> Tensor:
        """See `Attention`; the turns are those of `PairedRotary`."""
        if x is other and turns[0] is turns[1]:
            queries, new = self._turned(x, turns[0], 0, 3).split([1, 2], 3)
        else:
            queries, new = self._turned(x, turns[0], 0, 1), self._turned(other, turns[1], 1, 3)
        # [B, n, tokens, kinds, heads, dim] to [B, n, kinds, heads, tokens, dim]
        ring[tick.rows, :, :, tick.slots] = new.permute(0, 1, 3, 4, 2, 5)
        asked = queries[:, :, :, 0].permute(0, 3, 1, 2, 4).flatten(2, 3)
        heard = F.scaled_dot_product_attention(asked, ring[:, 0].flatten(2, 3), ring[:, 1].flatten(2, 3), mask)
        out: Tensor = self.out(heard.transpose(1, 2).flatten(-2).view_as(x))
        return out

    def _turned(self, x: Tensor, turn: Turn, first: int, last: int) -> Tensor:
        """Kinds `first` to `last` of queries, keys and values, `[B, n, tokens, kinds, heads, dim / heads]`."""
        dim = x.shape[-1]
        weight, bias = self.weight[first * dim : last * dim], self.bias[first * dim : last * dim]
        pairs = F.linear(x, weight, bias).unflatten(-1, (last - first, self.heads, 2, -1))
        left, right = (factor[..., first:last, :, :, :] for factor in turn)
        return torch.addcmul(pairs[..., :1, :] * left, pairs[..., 1:, :], right).flatten(-2)
