"""What a step minimises: mixtures in, loss out. One module, so that data-parallel training can wrap it whole."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from streamsep.errors import StreamsepError
from streamsep.models.causal_htdemucs import CausalHTDemucs
from streamsep.models.htdemucs import HTDemucs
from streamsep.models.lookahead import with_lookahead
from streamsep.models.precision import compiled
from streamsep.training.batches import Batch
from streamsep.training.clips import RATE
from streamsep.training.losses import LossConfig, separation_loss

Separate = Callable[[Tensor], Tensor]


class Objective(nn.Module):
    """The loss of a batch.

    Args:
        model: causal (with `hop`, `latency` and, for a warm state, `init_state` and `step`) or offline.
        lookaheads: hops that a causal model looks ahead, one of them at every call; none for its own.
        bf16: run the model under bfloat16 autocast; its spectrograms and the loss stay in float32.
        teacher: `mix [B, C, T] -> sources [B, S, C, T]`, not late; no part of what is trained.

    Raises:
        StreamsepError: a warm state or a look-ahead is asked of a model that has none.
    """

    def __init__(
        self, model: nn.Module, config: LossConfig, lookaheads: Sequence[int] = (), *, bf16: bool = False,
        teacher: Separate | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        if config.warm_state and not hasattr(model, "step"):
            raise StreamsepError("an offline model has no state to warm; set loss: warm_state to false")
        self.config, self.bf16, self.teacher = config, bf16, teacher
        self.models = nn.ModuleList([with_lookahead(model, hops) for hops in lookaheads] or [model])
        self.hop, _ = timing(model)

    def compile_networks(self, backend: str | Callable[..., Any] = "inductor") -> None:
        """Compile what lies between the models' transforms; the loss, which branches on its data, stays as it is.

        A compiled network keeps the weights that it was made of: whoever copies the model must do so before.
        """
        parts = [part for part in self.models.modules() if isinstance(part, CausalHTDemucs | HTDemucs)]
        if not parts:
            raise StreamsepError("a model of this class is not compiled; set loop: compile to false")
        for part in parts:
            network = compiled(part.network, "set loop: compile to false", backend=backend, dynamic=False)
            part.network = network  # type: ignore[method-assign]

    def draw(self) -> int:
        """Number of a look-ahead, by PyTorch's own generator."""
        return int(torch.randint(len(self.models), ())) if len(self.models) > 1 else 0

    def forward(self, batch: Batch, which: int = 0) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss with look-ahead number `which` and, detached, its parts."""
        model = self.models[which]
        taught = None if self.teacher is None else self.teacher(batch.mix)
        with torch.autocast(batch.mix.device.type, torch.bfloat16, enabled=self.bf16):
            estimate = self._estimate(model, batch.mix)
        return separation_loss(estimate.float(), batch, timing(model)[1], self.config, taught)

    def _estimate(self, model: nn.Module, mix: Tensor) -> Tensor:
        warm = round(self.config.warm * RATE / self.hop) * self.hop
        if not (self.config.warm_state and warm):
            estimate: Tensor = model(mix)
            return estimate
        longest = max(warm, mix.shape[-1] - warm) // self.hop
        state = model.init_state(mix.shape[0], longest, mix.device)  # type: ignore[operator]
        with torch.no_grad():
            before, state = model.step(mix[..., :warm], state)  # type: ignore[operator]
        after, _ = model.step(mix[..., warm:], state)  # type: ignore[operator]
        return torch.cat([before, after], -1)


def timing(model: nn.Module) -> tuple[int, int]:
    """Hop and latency of a model in samples; an offline model takes any length and is not late."""
    return int(getattr(model, "hop", 1)), int(getattr(model, "latency", 0))


def whole(model: nn.Module) -> Separate:
    """How a model separates an excerpt of any length: offline ones without the padding to their segment."""
    separate: Separate = getattr(model, "separate", model)
    return separate
