"""AdamW in two groups, its learning-rate schedule, and the moving average of the weights."""

from __future__ import annotations

import copy
import math

import torch
from torch import Tensor, nn

from streamsep.training.config import OptimiserConfig


def adamw(model: nn.Module, config: OptimiserConfig) -> torch.optim.AdamW:
    """AdamW with weight decay on matrices and kernels, none on biases, gains and scales."""
    matrices = [p for p in model.parameters() if p.requires_grad and p.ndim > 1]
    vectors = [p for p in model.parameters() if p.requires_grad and p.ndim <= 1]
    groups = [{"params": matrices, "weight_decay": config.weight_decay}, {"params": vectors, "weight_decay": 0.0}]
    return torch.optim.AdamW([group for group in groups if group["params"]], lr=config.lr, betas=config.betas)


def learning_rate(step: int, progress: float, config: OptimiserConfig) -> float:
    """Linear rise over `warm_up` steps times a half cosine over `progress` 0..1."""
    rise = min(1.0, (step + 1) / max(config.warm_up, 1))
    cosine = 0.5 * (1 + math.cos(math.pi * min(max(progress, 0.0), 1.0)))
    return config.lr * rise * (config.final + (1 - config.final) * cosine)


class Average:
    """Exponential moving average of a model's weights without the pull of its start (Adam's bias correction).

    The correction is folded into each update: the weight of the newest value is (1 - d) / (1 - d^n) in update n.
    Buffers are copied.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay, self.updates = decay, 0
        self.model = copy.deepcopy(model).eval().requires_grad_(False)
        self._kept: list[Tensor] = list(self.model.parameters())

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Take in the current weights."""
        self.updates += 1
        newest = (1 - self.decay) / (1 - self.decay**self.updates)
        current: list[Tensor] = [p.detach() for p in model.parameters()]
        torch._foreach_lerp_(self._kept, current, newest)
        for kept, buffer in zip(self.model.buffers(), model.buffers(), strict=True):
            kept.copy_(buffer)
