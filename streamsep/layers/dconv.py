"""The dilated residual branch of Demucs v3 (A. Défossez, "Hybrid Spectrogram and Waveform Source Separation", 2021)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from streamsep.layers.base import Device, Modules, State, StreamingLayer
from streamsep.layers.conv import CausalConv1d, CausalConv2d
from streamsep.layers.norm import FrameNorm


class DConv(StreamingLayer):
    """`x + scale * GLU(W gelu(norm(conv(x))))`, with the dilation doubling at each depth.

    Args:
        channels: of input and output.
        bins: frequency bins of a spectrogram branch, or None for a waveform branch.
        depth: residual blocks; 0 makes this the identity.
        compress: the hidden layer has `channels / compress` channels.

    Shape:
        `[B, channels, T]` or `[B, channels, bins, T]`, kept
    """

    def __init__(self, channels: int, bins: int | None, depth: int, compress: int) -> None:
        super().__init__()
        self.blocks = Modules[Block](Block(channels, bins, channels // compress, 2**i) for i in range(depth))

    def init_state(
        self, batch: int = 1, max_chunk: int = 1, device: Device = None, dtype: torch.dtype | None = None
    ) -> list[State]:
        return [block.init_state(batch, max_chunk, device, dtype) for block in self.blocks]

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = block(x)
        return x

    def step(self, x: Tensor, state: list[State]) -> tuple[Tensor, list[State]]:
        after = []
        for block, before in zip(self.blocks, state, strict=True):
            x, new = block.step(x, before)
            after.append(new)
        return x, after


class Block(StreamingLayer):
    """One residual block of a `DConv`."""

    def __init__(self, channels: int, bins: int | None, hidden: int, dilation: int) -> None:
        super().__init__()
        self.conv: CausalConv1d | CausalConv2d
        self.project: nn.Conv1d | nn.Conv2d
        if bins is None:
            self.conv = CausalConv1d(channels, hidden, 3, dilation=dilation)
            self.project = nn.Conv1d(hidden, 2 * channels, 1)
        else:
            self.conv = CausalConv2d(channels, hidden, bins, (3, 3), dilation=dilation)
            self.project = nn.Conv2d(hidden, 2 * channels, 1)
        self.norm = FrameNorm(hidden)
        self.scale = nn.Parameter(torch.full((channels,) + (1,) * (1 if bins is None else 2), 0.1))

    def init_state(
        self, batch: int = 1, max_chunk: int = 1, device: Device = None, dtype: torch.dtype | None = None
    ) -> Tensor:
        return self.conv.init_state(batch, max_chunk, device, dtype)

    def forward(self, x: Tensor) -> Tensor:
        return x + self._rest(self.conv(x))

    def step(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        hidden, state = self.conv.step(x, state)
        return x + self._rest(hidden), state

    def _rest(self, hidden: Tensor) -> Tensor:
        return F.glu(self.project(F.gelu(self.norm(hidden))), 1) * self.scale
