"""The U-Net of one domain: causal in time, with skips that wait for the bottleneck's look-ahead."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from streamsep.layers.base import Delay, Device, Modules, Pointwise, Serial, State, StreamingLayer, run
from streamsep.layers.conv import CausalConv1d, CausalConv2d, CausalConvTranspose1d, FrequencyConvTranspose
from streamsep.layers.dconv import DConv
from streamsep.models.causal_config import BranchConfig


class FrequencyEmbedding(nn.Module):
    """Adds to every bin a learned vector: convolutions over frequency do not know where they are."""

    def __init__(self, channels: int, bins: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(0.1 * torch.randn(channels, bins, 1))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.weight


def rewrite(channels: int, bins: int | None) -> Pointwise:
    """A gated 1x1 mixing of channels."""
    conv = nn.Conv1d if bins is None else nn.Conv2d
    return Pointwise(nn.Sequential(conv(channels, 2 * channels, 1), nn.GLU(1)))


def encoder_level(config: BranchConfig, level: int, inputs: int, bins: int | None) -> Serial:
    """Strided convolution, dilated residual branch, rewrite; `bins` are those that come in."""
    outputs, stride = config.channels[level], config.strides[level]
    layers: list[StreamingLayer] = [
        CausalConv1d(inputs, outputs, 2 * stride, stride)
        if bins is None
        else CausalConv2d(inputs, outputs, bins, (2 * stride, 1), stride)
    ]
    layers.append(Pointwise(nn.GELU()))
    bins = bins and bins // stride
    if bins and level == 0:
        layers.append(Pointwise(FrequencyEmbedding(outputs, bins)))
    layers.append(DConv(outputs, bins, config.dconv_depth, config.dconv_compress))
    if config.encoder_rewrite:
        layers.append(rewrite(outputs, bins))
    return Serial(*layers)


def decoder_level(config: BranchConfig, level: int, outputs: int, bins: int | None) -> Serial:
    """Rewrite, dilated residual branch, transposed convolution; `bins` are those that come in."""
    inputs, stride = config.channels[level], config.strides[level]
    layers: list[StreamingLayer] = [rewrite(inputs, bins)]
    if config.decoder_dconv:
        layers.append(DConv(inputs, bins, config.dconv_depth, config.dconv_compress))
    kind = CausalConvTranspose1d if bins is None else FrequencyConvTranspose
    layers.append(kind(inputs, outputs, 2 * stride, stride))
    if level:
        layers.append(Pointwise(nn.GELU()))
    return Serial(*layers)


class UNetState(NamedTuple):
    """States of the encoder levels, of the delayed skips and of the decoder levels."""

    encoders: tuple[State, ...]
    skips: tuple[Tensor, ...]
    decoders: tuple[State, ...]


class UNet(nn.Module):
    """Encoder and decoder around a bottleneck that lags by `lag` of its frames.

    Args:
        inputs: channels that come in; outputs: channels that leave.
        bins: frequency bins of a spectrogram, or None for a waveform.
        lag: bottleneck frames by which the decoder's input lags the encoder's output.
    """

    def __init__(self, config: BranchConfig, inputs: int, outputs: int, bins: int | None, lag: int) -> None:
        super().__init__()
        self.bins = bins
        encoders, decoders, skips = [], [], []
        for level, channels in enumerate(config.channels):
            before = config.channels[level - 1] if level else inputs
            encoders.append(encoder_level(config, level, before, bins))
            bins = bins and bins // config.strides[level]
            decoders.append(decoder_level(config, level, before if level else outputs, bins))
            rate = math.prod(config.strides[level + 1 :]) if bins is None else 1
            skips.append(Delay((channels, bins) if bins else (channels,), lag * rate))
        self.encoders, self.skips = Modules[Serial](encoders), Modules[Delay](skips)
        self.decoders = Modules[Serial](reversed(decoders))
        self._start_silent()

    def _start_silent(self) -> None:
        """Zero the last convolution: an untrained branch adds nothing."""
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.output_bias)

    @property
    def last(self) -> nn.ConvTranspose1d | nn.ConvTranspose2d:
        """The convolution that writes the output."""
        layer = self.decoders[-1].layers[-1]
        assert isinstance(layer, (CausalConvTranspose1d, FrequencyConvTranspose))
        return layer.conv

    @property
    def output_bias(self) -> Tensor:
        """Bias of the last convolution, `[outputs]`: what an untrained branch answers."""
        assert self.last.bias is not None
        return self.last.bias

    def init_state(self, batch: int, max_chunk: int, device: Device, dtype: torch.dtype | None) -> UNetState:
        """A fresh state; `max_chunk` counts bottleneck frames, and nothing here depends on it."""
        return UNetState(
            tuple(layer.init_state(batch, 1, device, dtype) for layer in self.encoders),
            tuple(layer.init_state(batch, 1, device, dtype) for layer in self.skips),
            tuple(layer.init_state(batch, 1, device, dtype) for layer in self.decoders),
        )

    def encode(self, x: Tensor, state: UNetState | None) -> tuple[Tensor, list[Tensor], UNetState | None]:
        """The bottleneck's input, the delayed output of each level (deepest first), and the state."""
        skips: list[Tensor] = []
        memories: list[State] = []
        waits: list[Tensor] = []
        for i, (encoder, delay) in enumerate(zip(self.encoders, self.skips, strict=True)):
            x, memory = run(encoder, x, None if state is None else state.encoders[i])
            late, wait = run(delay, x, None if state is None else state.skips[i])
            skips.insert(0, late)
            memories.append(memory)
            waits.append(wait)
        return x, skips, state and state._replace(encoders=tuple(memories), skips=tuple(waits))

    def decode(self, x: Tensor, skips: list[Tensor], state: UNetState | None) -> tuple[Tensor, UNetState | None]:
        """The branch's output from the bottleneck's and the skips."""
        memories = []
        for i, (decoder, skip) in enumerate(zip(self.decoders, skips, strict=True)):
            x, memory = run(decoder, x + skip, None if state is None else state.decoders[i])
            memories.append(memory)
        return x, state and state._replace(decoders=tuple(memories))
