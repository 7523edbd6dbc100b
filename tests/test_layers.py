"""Every streaming layer keeps the law; seeded faults break it and are caught."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import streamsep.layers.attention as attention_module
from streamsep.layers.attention import CrossAttention, SelfAttention
from streamsep.layers.base import Delay, Lookahead, Pointwise, Serial, StreamingLayer, Sum
from streamsep.layers.conv import CausalConv1d, CausalConv2d, CausalConvTranspose1d, FrequencyConvTranspose
from streamsep.layers.dconv import DConv
from streamsep.layers.expander import Expander
from streamsep.layers.norm import FrameNorm, RunningLevel
from streamsep.layers.rotary import Rotary, rotate
from streamsep.layers.running import RunningSum
from streamsep.layers.stft import ISTFT, STFT
from tests.contract import Case, chunking, verify_contract


def noise(*shape: int, hop: int = 1) -> Callable[[int, int], Tensor]:
    return lambda batch, hops: torch.randn(batch, *shape, hops * hop)


def stem_and_mix(hop: int) -> Callable[[int, int], tuple[Tensor, Tensor]]:
    """The stem far below the mix in some hops and beside it in others."""

    def make(batch: int, hops: int) -> tuple[Tensor, Tensor]:
        stem = torch.randn(batch, 2, hops, hop) * torch.rand(batch, 1, hops, 1) ** 4
        return stem.flatten(2), torch.randn(batch, 2, hops * hop)

    return make


def two_domains(*shapes: tuple[int, ...]) -> Callable[[int, int], tuple[Tensor, ...]]:
    return lambda batch, hops: tuple(torch.randn(batch, *shape, hops) for shape in shapes)


def spectra(*shape: int) -> Callable[[int, int], Tensor]:
    return lambda batch, hops: torch.randn(batch, *shape, hops, dtype=torch.complex64)


def cases() -> dict[str, Case]:
    torch.manual_seed(1)
    found = {
        "conv": Case(CausalConv1d(3, 4, 5), noise(3), reach=5),
        "conv-dilated": Case(CausalConv1d(3, 4, 3, dilation=4), noise(3), reach=9),
        "conv-strided": Case(CausalConv1d(2, 4, 8, 4), noise(2, hop=4), reach=8),
        "conv-no-memory": Case(CausalConv1d(2, 4, 4, 4), noise(2, hop=4), reach=4),
        "conv-2d": Case(CausalConv2d(2, 3, 16, (8, 1), 4), noise(2, 16), reach=1),
        "conv-2d-time": Case(CausalConv2d(2, 3, 8, (3, 3), dilation=2), noise(2, 8), reach=5),
        "transposed": Case(CausalConvTranspose1d(3, 2, 8, 4), noise(3), reach=2),
        "transposed-long": Case(CausalConvTranspose1d(3, 2, 11, 3), noise(3), reach=4),
        "transposed-no-tail": Case(CausalConvTranspose1d(3, 2, 4, 4), noise(3), reach=1),
        "transposed-frequency": Case(FrequencyConvTranspose(3, 2, 8, 4), noise(3, 4), reach=1),
        "stft": Case(STFT(64, 8, 2), noise(2, hop=8), reach=63),  # its window starts at zero
        "istft": Case(ISTFT(64, 8, (2,)), spectra(2, 33), reach=2),
        "stft-istft": Case(Serial(STFT(64, 8, 2), ISTFT(64, 8, (2,))), noise(2, hop=8), reach=72, exact=False),
        "stft-shortest": Case(Serial(STFT(16, 8, 2), ISTFT(16, 8, (2,))), noise(2, hop=8), reach=24, exact=False),
        "frame-norm": Case(FrameNorm(4), noise(4), reach=1),
        "frame-norm-2d": Case(FrameNorm(4), noise(4, 6), reach=1),
        "running-level": Case(RunningLevel(8, 800, 0.05), noise(2, hop=8)),
        "running-sum": Case(RunningSum(8, 800, 0.05, 3), noise(3)),
        "expander": Case(Expander(8, 800, -3.0, 2.0, 0.05), stem_and_mix(8)),
        "dconv": Case(DConv(8, None, 2, 4), noise(8), reach=7),
        "dconv-2d": Case(DConv(8, 6, 2, 4), noise(8, 6), reach=7),
        "self-attention": Case(SelfAttention(16, 2, 3, 5), noise(16, 3), reach=5),
        "self-attention-ahead": Case(SelfAttention(16, 2, 3, 5, 2), noise(16, 3), reach=7),
        "cross-attention": Case(CrossAttention(16, 2, (3, 1), 4), two_domains((16, 3), (16, 1)), reach=4),
        "cross-attention-ahead": Case(CrossAttention(16, 2, (1, 3), 4, 1), two_domains((16, 1), (16, 3)), reach=5),
        "delay": Case(Delay((3,), 4), noise(3), reach=5),
        "delay-nothing": Case(Delay((3,), 0), noise(3), reach=1),
        "serial": Case(Serial(CausalConv1d(2, 4, 8, 4), Pointwise(nn.GELU()), CausalConvTranspose1d(4, 2, 8, 4)),
                       noise(2, hop=4), reach=12),
        "sum": Case(Sum(Serial(CausalConv1d(3, 3, 3), Lookahead(2)), Delay((3,), 2)), noise(3), reach=3),
    }  # fmt: skip
    for name, case in found.items():
        case.name = name
        case.layer.eval()
    return found


@pytest.mark.parametrize("name", cases())
def test_law(name: str) -> None:
    verify_contract(cases()[name])


def test_long_attention_pass_in_blocks() -> None:
    """Beyond one block of queries the full pass still equals the stream."""
    torch.manual_seed(0)
    layer = SelfAttention(16, 2, 2, 7, 1).eval()
    case = Case(layer, noise(16, 2), hops=1100, name="blocks")
    with torch.inference_mode():
        chunking(case)


def test_running_level_in_blocks() -> None:
    """The blocks of the full pass join without a seam, and the level is the exponential mean it claims to be."""
    layer, x = RunningLevel(4, 400, 0.5), torch.randn(1, 2, 4 * 1300)
    level = layer(x)[0, 0, 3::4]
    rate, energy, weight, wanted = math.exp(-4 / 200), 0.0, 0.0, []
    for hop in x[0].double().unflatten(-1, (-1, 4)).square().mean((0, 2)).tolist():
        energy, weight = rate * energy + hop, rate * weight + 1
        wanted.append(math.sqrt(energy / weight))
    torch.testing.assert_close(level, torch.tensor(wanted), rtol=1e-5, atol=0)


def test_levels_are_as_fine_under_autocast() -> None:
    layer, x = RunningLevel(4, 400, 0.5), torch.randn(1, 2, 400)
    with torch.autocast("cpu", torch.bfloat16):
        level, state = layer.step(x, layer.init_state())
    assert level.dtype == state.sums.dtype == torch.float32
    torch.testing.assert_close(level, layer(x), rtol=0, atol=0)


def test_running_level_draws_straight_lines() -> None:
    """From the end of one hop to the end of the next, and flat over the first."""
    steps = RunningLevel(8, 800, 0.05)(torch.randn(1, 2, 8 * 40))[0, 0].diff()
    rises = steps[7:].unflatten(0, (-1, 8))
    assert rises.abs().max() > 1e-3 and steps[:7].abs().max() == 0
    torch.testing.assert_close(rises, rises.mean(1, keepdim=True).expand_as(rises), rtol=0, atol=1e-6)


@pytest.mark.parametrize("shape", [(4,), (4, 6)])
def test_frame_norm_is_a_layer_norm_of_each_frame(shape: tuple[int, ...]) -> None:
    norm, x = FrameNorm(4), 3 * torch.randn(2, *shape, 5) + 1
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    weight, bias = (p.view(4, *[1] * len(shape)) for p in (norm.weight, norm.bias))
    wanted = nn.functional.layer_norm(x.movedim(-1, 1), shape).movedim(1, -1) * weight + bias
    torch.testing.assert_close(norm(x), wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("window", "hop"), [(16, 8), (64, 8), (72, 8), (2048, 512), (4096, 128)])
def test_perfect_reconstruction(window: int, hop: int) -> None:
    """Analysis and synthesis give the signal back, later by exactly one hop."""
    chain = Serial(STFT(window, hop, 1), ISTFT(window, hop, (1,)))
    assert chain.lag == hop and chain.ratio == 1
    x = torch.randn(1, 1, 8 * hop)
    torch.testing.assert_close(chain(x)[..., hop:], x[..., :-hop], rtol=0, atol=2e-5)


def test_rotary_scores_depend_on_distance_alone() -> None:
    torch.manual_seed(0)
    rotary, q, k = Rotary(32), torch.randn(32), torch.randn(32)

    def score(position: int) -> float:
        turn = rotary(torch.tensor([position, position + 100]))
        queries, keys = (rotate(x.expand(1, 2, 1, 32), turn)[0, :, 0] for x in (q, k))
        return float(queries[0] @ keys[1])

    for position in (17, 65_500, 10_000_000, 2**40):
        assert score(position) == pytest.approx(score(0), abs=2e-5)


def test_serial_counts_rate_lag_and_hop() -> None:
    chain = Serial(Delay((2,), 8), CausalConv1d(2, 4, 8, 4), Delay((4,), 1), CausalConvTranspose1d(4, 2, 8, 4))
    assert (chain.hop, chain.ratio, chain.lag) == (4, Fraction(1), 12)
    with pytest.raises(ValueError, match="not whole"):
        Serial(Delay((2,), 3), CausalConv1d(2, 4, 8, 4))
    assert Serial(RunningLevel(2, 100, 0.5), RunningLevel(3, 100, 0.5)).hop == 6


def test_sum_refuses_unequal_branches() -> None:
    with pytest.raises(ValueError, match="unequal lag"):
        Sum(Delay((3,), 1), Delay((3,), 2))
    with pytest.raises(ValueError, match="unequal rate"):
        Sum(Pointwise(nn.GELU()), CausalConv1d(1, 1, 4, 4))


def test_constructors_refuse_what_cannot_work() -> None:
    with pytest.raises(ValueError, match="skip frames"):
        CausalConv1d(1, 1, 2, 4)
    with pytest.raises(ValueError, match="holes"):
        CausalConvTranspose1d(1, 1, 2, 4)
    with pytest.raises(ValueError, match="two hops"):
        STFT(15, 8, 1)


# Seeded faults: each must be caught, or the contract is worth nothing.


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


@pytest.mark.parametrize("name", ["self-attention", "cross-attention"])
def test_a_chunk_longer_than_its_state_was_made_for_is_refused(name: str) -> None:
    """It would overwrite keys that its first frames still need."""
    case = cases()[name]
    state = case.layer.init_state(1, 3)
    with pytest.raises(ValueError, match=r"a chunk of 4 frames is too long .* max_chunk=4, not 3"):
        case.layer.step(case.make(1, 4), state)


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
