"""Long short-term memory as a streaming layer (S. Hochreiter and J. Schmidhuber 1997), forwards in time."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from streamsep.layers.base import Device, StreamingLayer


class Memory(NamedTuple):
    """What LSTMs remember, batch first: their outputs and their cells, `[B, layers, units]` or one of each token."""

    output: Tensor
    cell: Tensor


class LSTM(StreamingLayer):
    """Layers of LSTM along time.

    Shape:
        `[B, inputs, T] -> [B, units, T]`
    """

    def __init__(self, inputs: int, units: int, layers: int = 1) -> None:
        super().__init__()
        self.lstm = nn.LSTM(inputs, units, layers, batch_first=True)

    def init_state(
        self, batch: int = 1, max_chunk: int = 1, device: Device = None, dtype: torch.dtype | None = None
    ) -> Memory:
        zeros = torch.zeros(batch, self.lstm.num_layers, self.lstm.hidden_size, device=device, dtype=dtype)
        return Memory(zeros, zeros.clone())

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.lstm(x.transpose(1, 2))[0]
        return y.transpose(1, 2)

    def step(self, x: Tensor, state: Memory) -> tuple[Tensor, Memory]:
        before = (state.output.transpose(0, 1).contiguous(), state.cell.transpose(0, 1).contiguous())
        y, (output, cell) = self.lstm(x.transpose(1, 2), before)
        return y.transpose(1, 2), Memory(output.transpose(0, 1), cell.transpose(0, 1))
