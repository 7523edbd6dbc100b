"""Causal convolutions: in time alone, and over frequency and time with time causal."""

from __future__ import annotations

from fractions import Fraction

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from streamsep.layers.base import Device, StreamingLayer


def _continue(x: Tensor, history: Tensor) -> tuple[Tensor, Tensor]:
    """Put the remembered frames before the chunk; the newest as many become the new memory."""
    if not history.shape[-1]:
        return x, history
    joined = torch.cat([history, x], -1)
    return joined, joined[..., -history.shape[-1] :]


class CausalConv1d(StreamingLayer):
    """Convolution in time; output frame `i` ends at input frame `(i + 1) * stride - 1`.

    Shape:
        `[B, inputs, T] -> [B, outputs, T / stride]`
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, dilation: int = 1) -> None:
        super().__init__()
        self.history = (kernel - 1) * dilation + 1 - stride
        if self.history < 0:
            raise ValueError(f"a stride of {stride} would skip frames of a kernel of {kernel}")
        self.conv = nn.Conv1d(inputs, outputs, kernel, stride, dilation=dilation)
        self.hop, self.ratio = stride, Fraction(1, stride)

    def init_state(
        self, batch: int = 1, max_chunk: int = 1, device: Device = None, dtype: torch.dtype | None = None
    ) -> Tensor:
        return torch.zeros(batch, self.conv.in_channels, self.history, device=device, dtype=dtype)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.conv(F.pad(x, (self.history, 0)))
        return out

    def step(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        x, state = _continue(x, state)
        return self.conv(x), state


class CausalConvTranspose1d(StreamingLayer):
    """Transposed convolution; input frame `i` writes output frames `i * stride` and after.

    The unfinished tail of `kernel - stride` frames waits in the state, without the bias, which is
    added once to frames that are complete.

    Shape:
        `[B, inputs, T] -> [B, outputs, T * stride]`
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int) -> None:
        super().__init__()
        self.tail, self.stride = kernel - stride, stride
        if self.tail < 0:
            raise ValueError(f"a stride of {stride} would leave holes with a kernel of {kernel}")
        self.conv = nn.ConvTranspose1d(inputs, outputs, kernel, stride)
        self.ratio = Fraction(stride)

    def init_state(
        self, batch: int = 1, max_chunk: int = 1, device: Device = None, dtype: torch.dtype | None = None
    ) -> Tensor:
        return torch.zeros(batch, self.conv.out_channels, self.tail, device=device, dtype=dtype)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.conv(x)
        return out[..., : x.shape[-1] * self.stride]

    def step(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        y = F.conv_transpose1d(x, self.conv.weight, None, self.stride)
        y = y + F.pad(state, (0, y.shape[-1] - self.tail))
        done = x.shape[-1] * self.stride
        out = y[..., :done]
        return (out if self.conv.bias is None else out + self.conv.bias[:, None]), y[..., done:]


class CausalConv2d(StreamingLayer):
    """Convolution over frequency (centred, strided) and time (causal, dilated).

    Shape:
        `[B, inputs, bins, T] -> [B, outputs, bins / stride, T]`
    """

    def __init__(
        self, inputs: int, outputs: int, bins: int, kernel: tuple[int, int], stride: int = 1, dilation: int = 1
    ) -> None:
        super().__init__()
        self.bins, self.history = bins, (kernel[1] - 1) * dilation
        padding = ((kernel[0] - stride + 1) // 2, 0)
        self.conv = nn.Conv2d(inputs, outputs, kernel, (stride, 1), padding, (1, dilation))

    def init_state(
        self, batch: int = 1, max_chunk: int = 1, device: Device = None, dtype: torch.dtype | None = None
    ) -> Tensor:
        return torch.zeros(batch, self.conv.in_channels, self.bins, self.history, device=device, dtype=dtype)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.conv(F.pad(x, (self.history, 0)) if self.history else x)
        return out

    def step(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        x, state = _continue(x, state)
        return self.conv(x), state


class FrequencyConvTranspose(StreamingLayer):
    """Transposed convolution over frequency, frame by frame.

    Shape:
        `[B, inputs, bins, T] -> [B, outputs, bins * stride, T]`
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int) -> None:
        super().__init__()
        self.conv = nn.ConvTranspose2d(inputs, outputs, (kernel, 1), (stride, 1), ((kernel - stride) // 2, 0))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.conv(x)
        return out
