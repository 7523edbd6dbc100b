"""Recurrent layers in the place of the causal transformer, to find out what attention is good for.

Long short-term memory (Hochreiter and Schmidhuber 1997), forwards in time, as the causal Demucs of A. Défossez et al.,
"Real Time Speech Enhancement in the Waveform Domain", 2020, has it at its bottleneck.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from streamsep.layers.base import Device, Modules
from streamsep.layers.recurrent import Memory
from streamsep.models.causal_bottleneck import Bottleneck, Deep, FeedForward
from streamsep.models.causal_config import CausalConfig, TransformerConfig


class RecurrentLayer(nn.Module):
    """An LSTM along time for each domain, an exchange of both domains' frames, feed-forward; index 0 comes first."""

    def __init__(self, config: TransformerConfig, domains: int) -> None:
        super().__init__()
        dim, crosses = config.dim, domains if config.cross and domains > 1 else 0
        self.norms = Modules[nn.LayerNorm](nn.LayerNorm(dim) for _ in range(domains + crosses))
        self.lstms = Modules[nn.LSTM](nn.LSTM(dim, dim, batch_first=True) for _ in range(domains))
        self.crosses = Modules[nn.Linear](nn.Linear(dim, dim) for _ in range(crosses))
        self.forwards = Modules[FeedForward](FeedForward(dim, int(dim * config.expansion)) for _ in range(domains))


class LSTMState(NamedTuple):
    """The memories of all layers in turn, `[B, tokens, dim]` each, and the frames that wait for the look-ahead."""

    memories: tuple[Memory, ...]
    late: Deep


class CrossDomainLSTM(Bottleneck):
    """Each domain's frames through LSTMs whose weights all tokens share; see `Bottleneck` for the shapes.

    Where the domains hear each other, every token of the spectrogram is given the waveform's, and the waveform's token
    the mean of the spectrogram's. The residual path around the first layer is delayed by the look-ahead.
    """

    def __init__(self, config: CausalConfig) -> None:
        super().__init__(config)
        inner = config.transformer
        self.layers = Modules[RecurrentLayer](RecurrentLayer(inner, len(self.domains)) for _ in range(inner.layers))

    def init_state(
        self, batch: int = 1, max_chunk: int = 1, device: Device = None, dtype: torch.dtype | None = None
    ) -> LSTMState:
        def silence(domain: int) -> Tensor:
            return torch.zeros(batch, self.tokens[domain], self.dim, device=device, dtype=dtype)

        memories = tuple(Memory(silence(domain), silence(domain)) for _ in self.layers for domain in self.domains)
        return LSTMState(memories, self.init_late(batch, device, dtype))

    def forward(self, x: Deep) -> Deep:
        return self._run(x, None)[0]

    def step(self, x: Deep, state: LSTMState) -> tuple[Deep, LSTMState]:  # type: ignore[override]
        return self._run(x, state)

    def _run(self, x: Deep, state: LSTMState | None) -> tuple[Deep, LSTMState]:
        now, late, waiting = self.enter(x, None if state is None else state.late)
        before = iter(state.memories if state is not None else ())
        after = []
        for layer in self.layers:
            heard = []
            for i, lstm in enumerate(layer.lstms):
                y, memory = _along_time(lstm, layer.norms[i](now[i]), next(before, None))
                heard.append(late[i] + y)
                after.append(memory)
            now = late = [forward(y) for forward, y in zip(layer.forwards, _exchange(layer, heard), strict=True)]
        return self.leave(late), LSTMState(tuple(after), waiting)


def _along_time(lstm: nn.LSTM, x: Tensor, memory: Memory | None) -> tuple[Tensor, Memory]:
    """Every token of `x [B, T, tokens, dim]` through `lstm` as a stream of its own."""
    batch, frames, tokens, dim = x.shape
    start = None if memory is None else (memory.output.reshape(1, -1, dim), memory.cell.reshape(1, -1, dim))
    y, (output, cell) = lstm(x.transpose(1, 2).reshape(batch * tokens, frames, dim), start)
    shape = (batch, tokens, dim)
    return y.view(batch, tokens, frames, dim).transpose(1, 2), Memory(output.view(shape), cell.view(shape))


def _exchange(layer: RecurrentLayer, x: list[Tensor]) -> list[Tensor]:
    """Each domain's frames with what the other's tell added, where there is an exchange."""
    if not len(layer.crosses):
        return x
    normed = [layer.norms[2 + d](x[d]) for d in (0, 1)]
    return [x[0] + layer.crosses[0](normed[1]), x[1] + layer.crosses[1](normed[0].mean(2, keepdim=True))]
