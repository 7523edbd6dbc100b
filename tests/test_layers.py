"""Every streaming layer keeps the law, and is what it says."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
import torch
from torch import nn

from streamsep.layers.attention import SelfAttention
from streamsep.layers.base import Delay, Pointwise, Serial, Sum
from streamsep.layers.conv import CausalConv1d, CausalConvTranspose1d
from streamsep.layers.norm import FrameNorm, RunningLevel
from streamsep.layers.rotary import Rotary, rotate
from streamsep.layers.stft import ISTFT, STFT
from tests.contract import Case, chunking, verify_contract
from tests.layer_cases import cases, noise


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


@pytest.mark.parametrize("name", ["self-attention", "cross-attention"])
def test_a_chunk_longer_than_its_state_was_made_for_is_refused(name: str) -> None:
    """It would overwrite keys that its first frames still need."""
    case = cases()[name]
    state = case.layer.init_state(1, 3)
    with pytest.raises(ValueError, match=r"a chunk of 4 frames is too long .* max_chunk=4, not 3"):
        case.layer.step(case.make(1, 4), state)
