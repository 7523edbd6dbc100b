"""PyTorch's Muon, with float32 on processors that are slow at bfloat16."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

# Of the quintic iteration (K. Jordan et al. 2024, "Muon"), as PyTorch has them.
COEFFICIENTS, ITERATIONS, TINY = (3.4445, -4.7750, 2.0315), 5, 1e-7


class QuickMuon(torch.optim.Muon):
    """`torch.optim.Muon` by the rule "match_rms_adamw", which makes matrices orthogonal in `precision_of(...)`.

    PyTorch's own does so in bfloat16, which a processor multiplies thirty times more slowly, or twice as fast.
    """

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> None:  # type: ignore[override]
        """Update all matrices that have a gradient."""
        assert closure is None
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    self._update(p, p.grad, group)

    def _update(self, p: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        momentum = self.state[p].setdefault("momentum_buffer", torch.zeros_like(p))
        momentum.lerp_(gradient, 1 - group["momentum"])
        direction = orthogonal(gradient.lerp(momentum, group["momentum"]), precision_of(p))  # Nesterov's
        p.mul_(1 - group["lr"] * group["weight_decay"])
        p.add_(direction, alpha=-group["lr"] * 0.2 * math.sqrt(max(p.shape)))


def precision_of(p: Tensor) -> torch.dtype:
    """bfloat16, but float32 on a processor that has no instructions for it."""
    slow = p.device.type == "cpu" and not torch.cpu.get_capabilities().get("avx512_bf16", False)
    return torch.float32 if slow else torch.bfloat16


def orthogonal(matrix: Tensor, precision: torch.dtype) -> Tensor:
    """About `U V^T` of `matrix = U S V^T`: its singular values become 0.7 to 1.2."""
    a, b, c = COEFFICIENTS
    wide = matrix.shape[0] <= matrix.shape[1]
    x = (matrix if wide else matrix.T).to(precision)
    x = x / x.norm().clamp_min(TINY)
    for _ in range(ITERATIONS):
        gram = x @ x.T
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return (x if wide else x.T).to(matrix.dtype)
