"""Several offline models whose outputs are averaged, with a weight for each model and source."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from streamsep.errors import StreamsepError
from streamsep.models.htdemucs import HTDemucs


class BagOfModels(nn.Module):
    """A weighted average of models: mix [B, C, T] -> sources [B, S, C, T].

    Attributes:
        models: the members.
        weights: [models][sources]; a source is the weighted mean of what the members say of it.
        max_length: samples of the shortest member's segment.
    """

    def __init__(
        self,
        models: Sequence[HTDemucs],
        weights: Sequence[Sequence[float]] | None = None,
        segment: float | None = None,
    ) -> None:
        """Join `models`, which must agree in sources, rate and channels.

        Args:
            models: at least one.
            weights: one row a model, one weight a source; equal weights if None.
            segment: seconds; members of a longer segment are cut down to it, in place.

        Raises:
            StreamsepError: members that disagree, a segment below one sample, or weights that do not fit, are not
                finite or leave a source without any.
        """
        super().__init__()
        _check_alike(models)
        self.models = nn.ModuleList(models)
        self.weights = [list(row) for row in weights] if weights else [[1.0] * len(models[0].sources) for _ in models]
        _check_weights(self.weights, len(models), models[0].sources)
        self.sources = models[0].sources
        self.sample_rate = models[0].sample_rate
        self.audio_channels = models[0].audio_channels
        if segment is not None:
            if not 1 <= segment * self.sample_rate < math.inf:
                raise StreamsepError(f"a bag's segment must be at least one sample long, not {segment} s; correct it")
            for model in models:
                model.max_length = min(model.max_length, int(segment * self.sample_rate))
        self.max_length = min(model.max_length for model in models)

    def shares(self) -> Tensor:
        """The weights scaled to sum to one over the models: [models, sources]."""
        weights = torch.tensor(self.weights)
        return weights / weights.sum(dim=0)

    def forward(self, mix: Tensor) -> Tensor:
        """Average the members over one segment, at most `max_length` samples long."""
        return self._average([model(mix) for model in self.models])

    def separate(self, mix: Tensor) -> Tensor:
        """Average the members over just the samples given, without their segments' padding."""
        return self._average([model.separate(mix) for model in self.models])  # type: ignore[operator]

    def _average(self, outputs: list[Tensor]) -> Tensor:
        shares = self.shares().to(outputs[0])
        weighted = [output * share[:, None, None] for output, share in zip(outputs, shares, strict=True)]
        return torch.stack(weighted).sum(dim=0)


def _check_alike(models: Sequence[HTDemucs]) -> None:
    if not models:
        raise StreamsepError("a bag of models needs at least one model")
    for name in ("sources", "sample_rate", "audio_channels"):
        values = {getattr(model, name) for model in models}
        if len(values) > 1:
            raise StreamsepError(f"the models of a bag must have the same {name}, not {sorted(map(str, values))}")


def _check_weights(weights: list[list[float]], models: int, sources: tuple[str, ...]) -> None:
    if len(weights) != models or any(len(row) != len(sources) for row in weights):
        raise StreamsepError(f"a bag's weights must be {models} rows of {len(sources)} numbers")
    for name, column in zip(sources, zip(*weights, strict=True), strict=True):
        if not math.isfinite(sum(column)):
            raise StreamsepError(f"the weights of a bag's models for {name} must be finite numbers; correct them")
        if sum(column) == 0:
            raise StreamsepError(f"the weights of a bag's models for {name} must not sum to zero")
