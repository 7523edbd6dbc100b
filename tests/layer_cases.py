"""Every streaming layer as a case of the law."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from streamsep.layers.attention import CrossAttention, SelfAttention
from streamsep.layers.base import Delay, Lookahead, Pointwise, Serial, Sum
from streamsep.layers.conv import CausalConv1d, CausalConv2d, CausalConvTranspose1d, FrequencyConvTranspose
from streamsep.layers.dconv import DConv
from streamsep.layers.expander import Expander
from streamsep.layers.norm import FrameNorm, RunningLevel
from streamsep.layers.running import RunningSum
from streamsep.layers.stft import ISTFT, STFT
from tests.contract import Case


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
