"""A causal model that waits: the same weights with another look-ahead."""

from __future__ import annotations

from dataclasses import replace

from streamsep.errors import StreamsepError
from streamsep.models.causal_htdemucs import CausalHTDemucs


def with_lookahead(model: object, hops: int) -> CausalHTDemucs:
    """A twin of `model` that looks `hops` ahead and shares its weights: what trains one, trains both.

    No shape depends on the look-ahead; weights that never heard the future make little of it until they are trained so.

    Raises:
        StreamsepError: the model is not causal, or has recurrent layers.
    """
    if not isinstance(model, CausalHTDemucs) or model.config.transformer.kind != "attention":
        raise StreamsepError("only a causal model with attention can look ahead; choose a preset such as live-23-small")
    if hops == model.config.lookahead:
        return model
    twin = CausalHTDemucs(replace(model.config, lookahead=hops)).train(model.training)
    twin.load_state_dict(model.state_dict(keep_vars=True), assign=True)
    return twin
