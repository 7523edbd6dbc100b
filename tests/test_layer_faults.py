"""Seeded faults: each must be caught, or the contract is worth nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import streamsep.layers.attention as attention_module
from streamsep.layers.base import Delay, Lookahead, Pointwise, Serial, StreamingLayer, Sum
from streamsep.layers.conv import CausalConv1d, CausalConvTranspose1d
from streamsep.layers.rotary import Rotary
from streamsep.layers.stft import ISTFT, STFT
from tests.contract import Case, verify_contract
from tests.layer_cases import cases, noise


class BiasInTail(CausalConvTranspose1d):
    """Carries the tail with the bias in it, as a naive overlap-add does."""

    def step(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        y = self.conv(x)
        y = torch.cat([y[..., : self.tail] + state, y[..., self.tail :]], -1)
        done = x.shape[-1] * self.stride
        return y[..., :done], y[..., done:]


class ClipNorm(StreamingLayer):
    """Normalises by all that it is given."""

    def forward(self, x: Tensor) -> Tensor:
        return x / x.norm(dim=-1, keepdim=True)


class PaddedRight(CausalConv1d):
    """Centred padding: sees the future."""

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.conv(nn.functional.pad(x, (self.history - 1, 1)))
        return out


class Forgetful(CausalConv1d):
    """Drops its history at each chunk."""

    def step(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        return self(x), state


class LeakyRows(StreamingLayer):
    """Takes a statistic over the batch."""

    def forward(self, x: Tensor) -> Tensor:
        return x - x.mean(0, keepdim=True)


class SharedMemory(Delay):
    """Writes over the state it was given a moment ago."""

    def init_state(self, batch: int = 1, max_chunk: int = 1, device: Any = None, dtype: Any = None) -> Tensor:
        if not hasattr(self, "memory"):
            self.memory = super().init_state(batch, max_chunk, device, dtype)
        return self.memory

    def step(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        y, after = super().step(x, self.memory)
        self.memory.copy_(after)
        return y, self.memory


FAULTS: dict[str, tuple[Callable[[], Case], str]] = {
    "bias in the tail": (lambda: Case(BiasInTail(3, 2, 8, 4), noise(3)), "differ"),
    "norm over the clip": (lambda: Case(ClipNorm(), noise(3)), "differ"),
    "padding on the right": (lambda: Case(PaddedRight(3, 3, 5), noise(3)), "differ"),
    "history forgotten": (lambda: Case(Forgetful(3, 3, 5), noise(3)), "differ"),
    "statistic over the batch": (lambda: Case(LeakyRows(), noise(3)), "leaks|anew|disturbs|past|hear"),
    "state kept in the module": (lambda: Case(SharedMemory((3,), 2), noise(3)), "differ|hear|repeat"),
    "longer reach than declared": (lambda: Case(CausalConv1d(3, 3, 5), noise(3), reach=4), "older than"),
    "shorter reach than declared": (lambda: Case(CausalConv1d(3, 3, 5), noise(3), reach=6), "no frame before"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_seeded_fault_is_caught(name: str) -> None:
    make, message = FAULTS[name]
    case = make()
    case.layer.eval()
    with pytest.raises(AssertionError, match=message):
        verify_contract(case)


def test_ring_of_context_slots_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """A ring without room for the chunk overwrites keys that its first queries still need."""
    monkeypatch.setattr(
        attention_module,
        "ring_capacity",
        lambda context, lookahead, max_chunk: max(context, max_chunk) if max_chunk else 0,
    )
    with pytest.raises(AssertionError, match="differ"):
        verify_contract(cases()["self-attention"])


def test_growing_angles_are_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """Angles as float32 products of a growing position drift, and the aged stream shows it."""

    def angles(self: Rotary, positions: Tensor) -> tuple[Tensor, Tensor]:
        frequencies = torch.logspace(0, -3, self.cosines.shape[1])
        angle = positions.float()[..., None, :, None, None] * frequencies
        return angle.cos(), angle.sin()

    monkeypatch.setattr(Rotary, "forward", angles)
    with pytest.raises(AssertionError, match="position 10000000"):
        verify_contract(cases()["self-attention"])


def test_look_ahead_inside_a_layer_is_caught() -> None:
    """A sum whose branch says nothing of its look-ahead is refused where it is built."""
    with pytest.raises(ValueError, match="unequal lag"):
        Sum(Serial(CausalConv1d(3, 3, 3), Lookahead(1)), Pointwise(nn.Identity()))


def test_wrong_declared_lag_is_caught() -> None:
    """What `test_perfect_reconstruction` measures is not what a wrong declaration says."""

    class Wrong(ISTFT):
        def __init__(self, window: int, hop: int, shape: tuple[int, ...]) -> None:
            super().__init__(window, hop, shape)
            self.lag = 0

    chain, x = Serial(STFT(64, 8, 1), Wrong(64, 8, (1,))), torch.zeros(1, 1, 64)
    x[..., 20] = 1
    assert int(chain(x).abs().argmax()) != 20 + chain.lag
    assert int(Serial(STFT(64, 8, 1), ISTFT(64, 8, (1,)))(x).abs().argmax()) == 20 + 8
