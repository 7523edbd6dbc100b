"""The offline model's convolutional layers; their parameter names are those of the official releases.

Nothing here is causal: padding is symmetric and the norms see the whole segment. The streaming layers
live in `streamsep.layers`. Sources: Défossez et al. 2019 (arXiv:1909.01174) for the U-Net and its rewrite
convolutions, Défossez 2021 (arXiv:2111.03600) for the residual branch, the spectrogram branch and the
frequency embedding.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

KERNEL = 8
STRIDE = 4
PAD = KERNEL // 4  # on each side: the output is the input's length over the stride
BLOCK = 1 << 18  # elements that a layer is given at a time: a mebibyte, about what a core's cache holds


class LayerScale(nn.Module):
    """Adds a branch times a learnt gain a channel (Touvron et al. 2021, arXiv:2103.17239), small at first.

    Shape: x and branch [B, C, T], or [..., C] where `channels_last` -> the same.
    """

    def __init__(self, channels: int, initial: float, channels_last: bool = False) -> None:
        super().__init__()
        self.channels_last = channels_last
        self.scale = nn.Parameter(torch.full((channels,), initial))

    def forward(self, x: Tensor, branch: Tensor) -> Tensor:
        # Rounded as the reference rounds (not fused): a signal of some hundred samples magnifies the difference.
        return x + branch * (self.scale if self.channels_last else self.scale[:, None])


class FrequencyEmbedding(nn.Module):
    """One learnt vector a frequency row, smooth over frequency at first, added to every frame.

    Stored at a tenth of its value, so that an optimiser moves it ten times faster.
    Shape: [B, C, F, T] -> the same.
    """

    BOOST = 10.0
    WEIGHT = 0.2

    def __init__(self, rows: int, channels: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(rows, channels)
        with torch.no_grad():
            # a random walk grows as the root of its length; dividing by that keeps unit variance
            walk = self.embedding.weight.cumsum(0) / torch.arange(1, rows + 1).sqrt()[:, None]
            self.embedding.weight.copy_(walk / self.BOOST)

    def forward(self, x: Tensor) -> Tensor:
        return x + (self.WEIGHT * self.BOOST) * self.embedding.weight.t()[None, :, :, None]


class DilatedResidual(nn.Module):
    """Two residual branches along time, dilated by 1 and 2, in a narrow space of channels // compress.

    Shape: [B, C, T] -> the same.
    """

    def __init__(self, channels: int, compress: int) -> None:
        super().__init__()
        hidden = channels // compress
        self.layers = nn.ModuleList(
            nn.Sequential(
                nn.Conv1d(channels, hidden, 3, dilation=dilation, padding=dilation),
                nn.GroupNorm(1, hidden),
                nn.GELU(),
                nn.Conv1d(hidden, 2 * channels, 1),
                nn.GroupNorm(1, 2 * channels),
                nn.GLU(1),
                LayerScale(channels, 1e-3),
            )
            for dilation in (1, 2)
        )

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            *branch, scale = cast(nn.Sequential, layer)
            y = x
            for part in branch:
                y = part(y)
            x = scale(x, y)
        return x


def along_time(layer: nn.Module, x: Tensor) -> Tensor:
    """Apply a layer of [B, C, T] to x [B, C, T], or to each frequency row of x [B, C, F, T].

    On a CPU without gradients, some rows at a time: what the layer writes is then in the cache when it is read again.
    The result is channels-last then, as the convolutions around it read it fastest.
    """
    if x.dim() == 3:
        return layer(x)
    batch, channels, height, frames = x.shape
    rows = x.transpose(1, 2).reshape(-1, channels, frames)
    if torch.is_grad_enabled() or torch.compiler.is_compiling() or x.device.type != "cpu":
        return layer(rows).reshape(batch, height, channels, frames).transpose(1, 2)
    y = torch.empty_like(x, memory_format=torch.channels_last)
    found = y.transpose(1, 2).view(rows.shape)
    block = max(1, BLOCK // (channels * frames))
    for start in range(0, len(rows), block):
        found[start : start + block] = layer(rows[start : start + block].contiguous())
    return y


class EncoderLayer(nn.Module):
    """Strided convolution, residual branch, gated 1x1 convolution; along frequency or along time.

    Shape: [B, C, F, T] -> [B, C', F / 4, T] with `frequency`, else [B, C, T] -> [B, C', ceil(T / 4)].
    """

    def __init__(self, channels_in: int, channels_out: int, compress: int, frequency: bool) -> None:
        super().__init__()
        self.frequency = frequency
        if frequency:
            self.conv: nn.Module = nn.Conv2d(channels_in, channels_out, (KERNEL, 1), (STRIDE, 1), (PAD, 0))
            self.rewrite: nn.Module = nn.Conv2d(channels_out, 2 * channels_out, 1)
        else:
            self.conv = nn.Conv1d(channels_in, channels_out, KERNEL, STRIDE, PAD)
            self.rewrite = nn.Conv1d(channels_out, 2 * channels_out, 1)
        self.dconv = DilatedResidual(channels_out, compress)

    def forward(self, x: Tensor) -> Tensor:
        if not self.frequency:
            x = F.pad(x, (0, -x.shape[-1] % STRIDE))
        y = F.gelu(self.conv(x))
        y = along_time(self.dconv, y)
        return F.glu(self.rewrite(y), dim=1)


class DecoderLayer(nn.Module):
    """Skip added, gated 3-wide convolution, residual branch, transposed convolution; mirrors `EncoderLayer`.

    Shape: [B, C, F, T] -> [B, C', 4 * F, T] with `frequency`, else [B, C, T] -> [B, C', length].
    The last layer of a decoder has no activation.
    """

    def __init__(self, channels_in: int, channels_out: int, compress: int, frequency: bool, last: bool) -> None:
        super().__init__()
        self.last = last
        if frequency:
            self.conv_tr: nn.Module = nn.ConvTranspose2d(channels_in, channels_out, (KERNEL, 1), (STRIDE, 1), (PAD, 0))
            self.rewrite: nn.Module = nn.Conv2d(channels_in, 2 * channels_in, 3, padding=1)
        else:
            self.conv_tr = nn.ConvTranspose1d(channels_in, channels_out, KERNEL, STRIDE, PAD)
            self.rewrite = nn.Conv1d(channels_in, 2 * channels_in, 3, padding=1)
        self.dconv = DilatedResidual(channels_in, compress)

    def forward(self, x: Tensor, skip: Tensor, length: int) -> Tensor:
        """Decode `x`; `length` is the size of the dimension to restore: frequency rows, or samples."""
        y = F.glu(self.rewrite(x + skip), dim=1)
        y = along_time(self.dconv, y)
        y = self.conv_tr(y).narrow(2, 0, length)
        return y if self.last else F.gelu(y)


def rescale_convolutions(module: nn.Module, reference: float = 0.1) -> None:
    """Bring the initial weights of all convolutions closer to a standard deviation of `reference`.

    Weights and biases are divided by sqrt(std / reference) (Défossez et al. 2019, section 3.3).
    """
    for layer in module.modules():
        if isinstance(layer, (nn.Conv1d, nn.Conv2d, nn.ConvTranspose1d, nn.ConvTranspose2d)):
            with torch.no_grad():
                scale = (layer.weight.std() / reference) ** 0.5
                layer.weight /= scale
                if layer.bias is not None:
                    layer.bias /= scale
