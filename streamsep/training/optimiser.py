"""AdamW or Muon, the learning-rate schedule, and the moving average of the weights."""

from __future__ import annotations

import copy
import math
from typing import Any

import torch
from torch import Tensor, nn

from streamsep.errors import StreamsepError
from streamsep.training.config import OptimiserConfig
from streamsep.training.muon import QuickMuon


def adamw(model: nn.Module, config: OptimiserConfig) -> torch.optim.AdamW:
    """AdamW with weight decay on matrices and kernels, none on biases, gains and scales."""
    trained = [p for p in model.parameters() if p.requires_grad]
    # A scale of a channel each may have further dimensions, of size 1.
    matrices = [p for p in trained if p.numel() > max(p.shape, default=1)]
    vectors = [p for p in trained if p.numel() <= max(p.shape, default=1)]
    groups = [{"params": matrices, "weight_decay": config.weight_decay}, {"params": vectors, "weight_decay": 0.0}]
    return torch.optim.AdamW([group for group in groups if group["params"]], lr=config.lr, betas=config.betas)


class Muon:
    """Muon on matrices and kernels, AdamW on all else, as one optimiser (Jordan et al. 2024, "Muon").

    A matrix's step is its momentum with all singular values made alike, as large as AdamW's step would be (Liu et al.
    2025, arXiv:2502.16982), so that both take the same learning rate. A kernel is a matrix of outputs by all the rest
    (of inputs by the rest, where it is transposed). Matrices of more than `largest` numbers, which would take longer
    than all else in the step, are AdamW's too. Weights decay under Muon only, not what AdamW moves here.

    Raises:
        StreamsepError: there is nothing for one of the two.
    """

    def __init__(self, model: nn.Module, config: OptimiserConfig, narrowest: int = 8, largest: int = 2_000_000) -> None:
        trained = [p for p in model.parameters() if p.requires_grad]
        matrices = [p for p in trained if p.ndim > 1 and min(p.flatten(1).shape) >= narrowest]
        self._kernels = [p for p in matrices if p.numel() <= largest]
        # Each shares its memory with the kernel, whatever is later written there.
        self._matrices = [nn.Parameter(p.detach().view(len(p), -1)) for p in self._kernels]
        chosen = set(map(id, self._kernels))
        rest = [p for p in trained if id(p) not in chosen]
        if not (chosen and rest):
            raise StreamsepError("muon needs kernels to train and other weights too; set optimiser: kind to adamw")
        self._adamw = torch.optim.AdamW(rest, lr=config.lr, betas=config.betas, weight_decay=0.0)
        self._muon = QuickMuon(self._matrices, lr=config.lr, weight_decay=config.weight_decay)

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """Of both."""
        return [*self._muon.param_groups, *self._adamw.param_groups]

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget all gradients."""
        self._adamw.zero_grad(set_to_none)
        for kernel in self._kernels:
            kernel.grad = None

    def step(self) -> None:
        """Update all weights by their gradients."""
        for kernel, matrix in zip(self._kernels, self._matrices, strict=True):
            matrix.grad = None if kernel.grad is None else kernel.grad.reshape(matrix.shape)
        self._muon.step()
        self._adamw.step()

    def state_dict(self) -> dict[str, Any]:
        """Of both."""
        return {"muon": self._muon.state_dict(), "adamw": self._adamw.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Put back what `state_dict` gave.

        Raises:
            KeyError, ValueError: it is of another optimiser or model.
        """
        self._muon.load_state_dict(state["muon"])
        self._adamw.load_state_dict(state["adamw"])


Optimiser = torch.optim.AdamW | Muon


def optimiser_of(model: nn.Module, config: OptimiserConfig) -> Optimiser:
    """What `config.kind` names."""
    return Muon(model, config) if config.kind == "muon" else adamw(model, config)


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
