"""One hop of a causal U-Net as nodes of a graph.

Frames are matrices with channels last: rows are the bins of a spectrogram's one frame, or the frames of a waveform.
Every convolution is then one matrix product of rows laid side by side, with its weights on the right, where ONNX
Runtime packs them once.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from streamsep.layers.base import Pointwise, Serial, StreamingLayer
from streamsep.layers.conv import CausalConv1d, CausalConv2d, CausalConvTranspose1d, FrequencyConvTranspose
from streamsep.layers.dconv import Block, DConv
from streamsep.layers.norm import FrameNorm
from streamsep.models.causal_unet import FrequencyEmbedding, UNet
from streamsep.models.graph_nodes import GraphNodes, Value


@dataclass
class Frames:
    """A value and its shape `[rows, width]`."""

    value: Value
    rows: int
    width: int


class UNetNodes:
    """A U-Net's encoder and decoder for one hop.

    Args:
        name: of the branch, before the names of its states.
        rows: of the input, bins or samples.
    """

    def __init__(self, graph: GraphNodes, unet: UNet, name: str, rows: int) -> None:
        self.graph, self.unet, self.name, self.rows = graph, unet, name, rows
        self._skips: list[Frames] = []

    def encode(self, value: Value, width: int) -> Value:
        """`[rows, width]` to the bottleneck's input."""
        x = Frames(value, self.rows, width)
        for i, (encoder, delay) in enumerate(zip(self.unet.encoders, self.unet.skips, strict=True)):
            x = self._serial(x, encoder, f"{self.name}.encoder{i}")
            # One frame of a spectrogram is all its rows.
            hops = delay.lag if len(delay.shape) == 2 else delay.lag // x.rows
            late = self.graph.delay(f"{self.name}.skip{i}", x.value, (x.rows, x.width), hops)
            self._skips.append(Frames(late, x.rows, x.width))
        return x.value

    def decode(self, value: Value) -> Value:
        """From the bottleneck's output to the branch's."""
        for i, decoder in enumerate(self.unet.decoders):
            skip = self._skips.pop()
            x = Frames(self.graph.add("Add", value, skip.value), skip.rows, skip.width)
            value = self._serial(x, decoder, f"{self.name}.decoder{i}").value
        return value

    def _serial(self, x: Frames, serial: Serial, name: str) -> Frames:
        for layer in serial.layers:
            x = self._layer(x, layer, name)
        return x

    def _layer(self, x: Frames, layer: StreamingLayer, name: str) -> Frames:
        match layer:
            case CausalConv1d():
                return self._down_time(x, layer, name)
            case CausalConv2d():
                return self._down_frequency(x, layer)
            case CausalConvTranspose1d():
                return self._up_time(x, layer, name)
            case FrequencyConvTranspose():
                return self._up_frequency(x, layer)
            case DConv():
                for i, block in enumerate(layer.blocks):
                    x = self._block(x, block, f"{name}.dconv{i}")
                return x
            case Pointwise():
                return self._pointwise(x, layer.function)
        raise TypeError(f"no nodes for {type(layer).__name__}")

    def _pointwise(self, x: Frames, function: object) -> Frames:
        match function:
            case nn.GELU():
                value = self.graph.add("Gelu", x.value)
            case FrequencyEmbedding():
                value = self.graph.add("Add", x.value, function.weight[..., 0].T)
            case nn.Sequential():  # see `causal_unet.rewrite`
                value = self._gated(x, function[0])
            case _:
                raise TypeError(f"no nodes for {type(function).__name__}")
        return Frames(value, x.rows, x.width)

    def _gated(self, x: Frames, conv: nn.Module, scale: Tensor | None = None) -> Value:
        """GLU of a 1x1 convolution, as two products: halving one would copy."""
        assert isinstance(conv, (nn.Conv1d, nn.Conv2d)) and conv.bias is not None
        (weight, gate), (bias, offset) = conv.weight.flatten(1).chunk(2), conv.bias.chunk(2)
        if scale is not None:
            weight, bias = weight * scale.flatten()[:, None], bias * scale.flatten()
        open_ = self.graph.add("Sigmoid", self.graph.linear(x.value, gate.T, offset))
        return self.graph.add("Mul", self.graph.linear(x.value, weight.T, bias), open_)

    def _block(self, x: Frames, block: Block, name: str) -> Frames:
        graph = self.graph
        hidden = (self._dilated_time if isinstance(block.conv, CausalConv1d) else self._dilated_frame)(x, block, name)
        gelu = Frames(graph.add("Gelu", self._norm(hidden, block.norm)), hidden.rows, hidden.width)
        branch = self._gated(gelu, block.project, block.scale)
        return Frames(graph.add("Add", x.value, branch), x.rows, x.width)

    def _norm(self, x: Frames, norm: FrameNorm) -> Value:
        weight, bias = norm.weight, norm.bias
        if self.unet.bins is None:
            return self.graph.add("LayerNormalization", x.value, weight, bias, axis=1)
        whole = (x.rows, x.width)  # one frame: all its bins together
        return self.graph.add("LayerNormalization", x.value, weight.expand(whole), bias.expand(whole), axis=0)

    def _down_time(self, x: Frames, layer: CausalConv1d, name: str) -> Frames:
        conv, history = layer.conv, layer.history
        kernel, stride, dilation = conv.kernel_size[0], conv.stride[0], conv.dilation[0]
        value = x.value
        if history:
            value = self.graph.history(f"{name}.input", value, x.rows, (history, x.width))
        index = np.arange(0, x.rows, stride)[:, None] + dilation * np.arange(kernel)
        return self._convolve(Frames(value, history + x.rows, x.width), index, taps(conv.weight), conv.bias)

    def _dilated_time(self, x: Frames, block: Block, name: str) -> Frames:
        assert isinstance(block.conv, CausalConv1d)
        return self._down_time(x, block.conv, name)

    def _down_frequency(self, x: Frames, layer: CausalConv2d) -> Frames:
        conv = layer.conv
        index, padded = self._columns(x, conv)
        return self._convolve(padded, index, taps(conv.weight[..., 0]), conv.bias)

    def _columns(self, x: Frames, conv: nn.Conv2d) -> tuple[NDArray[np.int64], Frames]:
        kernel, stride, padding = conv.kernel_size[0], conv.stride[0], int(conv.padding[0])
        index = np.arange(0, x.rows, stride)[:, None] + np.arange(kernel)
        return index, Frames(self.graph.pad(x.value, padding, x.width), x.rows + 2 * padding, x.width)

    def _dilated_frame(self, x: Frames, block: Block, name: str) -> Frames:
        """Three taps in time as three products of this frame: what later frames will want of it waits, summed."""
        assert isinstance(block.conv, CausalConv2d)
        graph, conv = self.graph, block.conv.conv
        index, padded = self._columns(x, conv)
        columns = graph.unfold(padded.value, index)
        oldest, middle, newest = (taps(conv.weight[..., tap]) for tap in range(3))
        shape, hops = (x.rows, conv.out_channels), conv.dilation[1]
        first = graph.delay(f"{name}.far", graph.linear(columns, oldest), shape, hops)
        second = graph.delay(f"{name}.near", graph.linear(columns, middle, first), shape, hops)
        value = graph.add("Add", graph.linear(columns, newest, conv.bias), second)
        return Frames(value, *shape)

    def _up_time(self, x: Frames, layer: CausalConvTranspose1d, name: str) -> Frames:
        joined = self.graph.history(f"{name}.input", x.value, x.rows, (1, x.width))
        return self._spread(Frames(joined, x.rows + 1, x.width), layer.conv)

    def _up_frequency(self, x: Frames, layer: FrequencyConvTranspose) -> Frames:
        conv = layer.conv
        spread = self._spread(Frames(self.graph.pad(x.value, 1, x.width), x.rows + 2, x.width), conv)
        start, rows = int(conv.padding[0]), x.rows * conv.stride[0]
        return Frames(self.graph.cut(spread.value, start, start + rows), rows, spread.width)

    def _spread(self, x: Frames, conv: nn.ConvTranspose1d | nn.ConvTranspose2d) -> Frames:
        """A transposed convolution whose kernel is twice its stride: `stride` rows from every two neighbours of `x`."""
        stride, outputs = conv.stride[0], conv.out_channels
        assert conv.kernel_size[0] == 2 * stride and conv.bias is not None
        # [inputs, outputs, 2 * stride] -> [later tap for the older row, earlier tap for the newer] x [stride, outputs]
        halves = conv.weight.flatten(2).unflatten(2, (2, stride)).flip(2).permute(2, 0, 3, 1)
        weight = halves.reshape(2 * conv.in_channels, stride * outputs)
        index = np.arange(x.rows - 1)[:, None] + np.arange(2)
        value = self.graph.linear(self.graph.unfold(x.value, index), weight, conv.bias.repeat(stride))
        rows = (x.rows - 1) * stride
        return Frames(self.graph.reshape(value, rows, outputs), rows, outputs)

    def _convolve(self, x: Frames, index: NDArray[np.int64], weight: Tensor, bias: Tensor | None) -> Frames:
        """The rows `index [outputs, taps]` of `x` times `weight [taps * width, channels]`.

        Neighbouring rows that always go together are gathered as one.
        """
        group = math.gcd(x.rows, index.shape[1], int(index[1, 0] - index[0, 0]) if len(index) > 1 else 0)
        if (np.diff(index, axis=1) != 1).any():
            group = 1
        rows = self.graph.reshape(x.value, x.rows // group, group * x.width) if group > 1 else x.value
        columns = self.graph.unfold(rows, index[:, ::group] // group)
        return Frames(self.graph.linear(columns, weight, bias), len(index), weight.shape[1])


def taps(weight: Tensor) -> Tensor:
    """A convolution's weight `[outputs, inputs, kernel]` as a matrix `[kernel * inputs, outputs]`."""
    return weight.permute(2, 1, 0).flatten(0, 1)
