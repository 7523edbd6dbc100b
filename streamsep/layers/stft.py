"""Streaming short-time Fourier transform with a long analysis and a short synthesis window."""

from __future__ import annotations

from fractions import Fraction

import torch
from torch import Tensor
from torch.nn import functional as F

from streamsep.dsp.windows import asymmetric_pair
from streamsep.layers.base import Device, StreamingLayer


class STFT(StreamingLayer):
    """Frame `i` analyses the `window` samples that end with hop `i`.

    The analysis window has unit energy, so that white noise keeps its variance in every bin.

    Shape:
        `[B, C, n * hop] -> [B, C, window / 2 + 1, n]`, complex
    """

    analysis: Tensor

    def __init__(self, window: int, hop: int, channels: int) -> None:
        super().__init__()
        self.window, self.hop, self.ratio, self.channels = window, hop, Fraction(1, hop), channels
        analysis = asymmetric_pair(window, hop)[0]
        self.register_buffer("analysis", (analysis / analysis.norm()).float(), persistent=False)

    def init_state(
        self, batch: int = 1, max_chunk: int = 1, device: Device = None, dtype: torch.dtype | None = None
    ) -> Tensor:
        return torch.zeros(batch, self.channels, self.window - self.hop, device=device, dtype=dtype)

    def forward(self, x: Tensor) -> Tensor:
        return self._analyse(F.pad(x, (self.window - self.hop, 0)))

    def step(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        x = torch.cat([state, x], -1)
        return self._analyse(x), x[..., -state.shape[-1] :]

    def _analyse(self, x: Tensor) -> Tensor:
        frames = x.unfold(-1, self.window, self.hop) * self.analysis
        return torch.fft.rfft(frames).transpose(-1, -2)


class ISTFT(StreamingLayer):
    """Overlap-add of the last two hops of each frame; the content lags the index by one hop.

    Shape:
        `[B, *, window / 2 + 1, n] -> [B, *, n * hop]`, real; `shape` is what stands for `*`
    """

    synthesis: Tensor

    def __init__(self, window: int, hop: int, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.window, self.frame, self.lag, self.ratio, self.shape = window, hop, hop, Fraction(hop), shape
        analysis, synthesis = asymmetric_pair(window, hop)
        self.register_buffer("synthesis", (synthesis * analysis.norm()).float(), persistent=False)

    def init_state(
        self, batch: int = 1, max_chunk: int = 1, device: Device = None, dtype: torch.dtype | None = None
    ) -> Tensor:
        return torch.zeros(batch, *self.shape, self.frame, device=device, dtype=dtype)

    def forward(self, x: Tensor) -> Tensor:
        head, tail = self._synthesise(x)
        return (head + F.pad(tail, (0, 0, 1, -1))).flatten(-2)

    def step(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        head, tail = self._synthesise(x)
        late = torch.cat([state.unsqueeze(-2), tail], -2)
        return (head + late[..., :-1, :]).flatten(-2), late[..., -1, :]

    def _synthesise(self, x: Tensor) -> tuple[Tensor, Tensor]:
        frames = torch.fft.irfft(x.transpose(-1, -2), self.window)[..., -2 * self.frame :] * self.synthesis
        return frames[..., : self.frame], frames[..., self.frame :]
