"""Windows for low-delay analysis and synthesis."""

from __future__ import annotations

import torch
from torch import Tensor


def hann(length: int) -> Tensor:
    """Periodic Hann window: `w[n] + w[n + length / 2] = 1`. Returns `[length]`, float64."""
    return torch.hann_window(length, periodic=True, dtype=torch.float64)


def asymmetric_pair(window: int, hop: int) -> tuple[Tensor, Tensor]:
    """A long analysis window and a short synthesis window whose product is a Hann of `2 * hop`.

    The analysis window rises slowly over `window - hop` samples and falls over the last `hop`; the
    synthesis window lives on the last `2 * hop` samples alone. Frames of `window` samples taken every
    `hop` are then perfectly reconstructed by overlap-add with a delay of `2 * hop` whatever `window` is
    (D. Mauler and R. Martin, "A low delay, variable resolution, perfect reconstruction spectral
    analysis-synthesis system for speech enhancement", EUSIPCO 2007).

    Returns:
        analysis `[window]` and synthesis `[2 * hop]`, float64.

    Raises:
        ValueError: `window < 2 * hop`.
    """
    if window < 2 * hop:
        raise ValueError(f"the window ({window}) must hold at least two hops of {hop}")
    short = hann(2 * hop)
    analysis = torch.cat([hann(2 * (window - hop))[: window - hop].sqrt(), short[hop:].sqrt()])
    synthesis = short / analysis[-2 * hop :].clamp_min(1e-12)  # 0 / 0 only at the first sample, where Hann is 0
    return analysis, synthesis
