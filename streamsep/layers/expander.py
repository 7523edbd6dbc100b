"""A downward expander: a stem that is a small part of the mix is turned down, for it is then mostly leakage."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from streamsep.layers.base import Device, StreamingLayer
from streamsep.layers.running import RunningSum, hop_energies, lines, rising

_FLOOR = 1e-9  # energy of a mix that counts as silence


class ExpanderState(NamedTuple):
    """Running energies of stem and mix `[B, 2]`, and by how much the last hop's end was turned down `[B, 1]`."""

    energies: Tensor
    cut: Tensor


class Expander(StreamingLayer):
    """The gain of a stem, from its share of the mix's energy, both in running means of `seconds`.

    At `threshold_db` and above the gain is 1; each dB below it becomes `ratio` dB. It is drawn as a straight line over
    each hop, and does not delay.

    Shape:
        stem and mix, both `[B, C, n * hop]` -> `[B, 1, n * hop]`
    """

    ramp: Tensor

    def __init__(self, hop: int, sample_rate: int, threshold_db: float, ratio: float, seconds: float) -> None:
        super().__init__()
        self.hop, self.floor = hop, _FLOOR
        self.threshold, self.power = 10 ** (threshold_db / 10), (ratio - 1) / 2
        self.sum = RunningSum(hop, sample_rate, seconds, 2)
        self.register_buffer("ramp", rising(hop), persistent=False)

    def init_state(
        self, batch: int = 1, max_chunk: int = 1, device: Device = None, dtype: torch.dtype | None = None
    ) -> ExpanderState:
        cut = torch.zeros(batch, 1, device=device, dtype=dtype)  # a young stream starts open
        return ExpanderState(self.sum.init_state(batch, max_chunk, device, dtype), cut)

    def forward(self, x: tuple[Tensor, Tensor]) -> Tensor:
        return self.step(x, self.init_state(x[0].shape[0], device=x[0].device, dtype=x[0].dtype))[0]

    def step(self, x: tuple[Tensor, Tensor], state: ExpanderState) -> tuple[Tensor, ExpanderState]:  # type: ignore[override]
        hops = torch.stack([hop_energies(part, self.hop) for part in x], 1)
        energies, last = self.sum.step(hops, state.energies)
        # Silence leaves it open: what begins after it must not be faded in.
        over = (energies[:, 0] / self.threshold + self.floor) / (energies[:, 1] + self.floor)
        cut = 1 - over.clamp_max(1) ** self.power
        return 1 - lines(state.cut, cut, self.ramp), ExpanderState(last, cut[:, -1:])
