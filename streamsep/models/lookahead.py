"""A causal model that waits: the same weights with another look-ahead."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from torch import nn

from streamsep.errors import StreamsepError
from streamsep.models.causal_bag import CausalBag
from streamsep.models.causal_config import CausalConfig
from streamsep.models.causal_htdemucs import CausalHTDemucs
from streamsep.models.separator import Separator

Causal = CausalHTDemucs | CausalBag


def with_lookahead(model: object, hops: int) -> Causal:
    """A twin of `model` that looks `hops` ahead and shares its weights: what trains one, trains both.

    No shape depends on the look-ahead; weights that never heard the future make little of it until they are trained so.

    Raises:
        StreamsepError: the model is not causal, or has recurrent layers.
    """
    if not isinstance(model, Causal) or not all(c.transformer.kind == "attention" for c in _configs(model)):
        raise StreamsepError("only a causal model with attention can look ahead; choose a preset such as live-23-small")
    if all(config.lookahead == hops for config in _configs(model)):
        return model
    with next(model.parameters()).device:  # where what is no weight, such as windows, must be too
        twin = type(model)(_changed(model.config, lookahead=hops)).train(model.training)
    for weight, own in zip(model.parameters(), twin.parameters(), strict=True):
        own.requires_grad_(weight.requires_grad)  # `assign` gives the weights what the twin's own have
    twin.load_state_dict(model.state_dict(keep_vars=True), assign=True)
    for part, switched in zip(_parts(twin), _parts(model), strict=True):
        _switch_alike(part, switched)
    return twin


def _parts(model: Causal) -> list[Causal]:
    return [part for part in model.modules() if isinstance(part, Causal)]


def _switch_alike(twin: Causal, model: Causal) -> None:
    """What can be switched off while a model is loaded is off in its twin too."""
    if model.expander is None:
        twin.expander = None
    if isinstance(model, CausalHTDemucs) and isinstance(twin, CausalHTDemucs):
        twin.mix_consistency = model.mix_consistency


def _configs(model: Causal) -> tuple[CausalConfig, ...]:
    return (model.config,) if isinstance(model, CausalHTDemucs) else model.config.members


def _changed(config: Any, **changes: Any) -> Any:
    """The configuration of a model, or of a bag with that of each member changed."""
    if isinstance(config, CausalConfig):
        return replace(config, **changes)
    return replace(config, members=tuple(replace(member, **changes) for member in config.members))


def learning(model: nn.Module, hops: Sequence[int]) -> nn.Module:
    """A model that is to learn to look `hops` ahead: it looks the first of them, and its configuration tells them all.

    Raises:
        StreamsepError: as `with_lookahead`, where there are any.
    """
    if hops:
        model = with_lookahead(model, hops[0])
    declare(model, hops)
    return model


def declare(model: nn.Module, hops: Iterable[int]) -> None:
    """Let a causal model's configuration tell that its weights learnt to look `hops` ahead."""
    told = tuple(sorted(set(hops)))
    for each in model.causal if isinstance(model, CausalBag) else ():
        declare(each, told)
    if isinstance(model, Causal):
        model.config = _changed(model.config, lookaheads=told)


def waiting(model: Separator, name: str, seconds: float) -> Separator:
    """A streaming model that looks `seconds` ahead, to the nearest hop from the first on; 0 is the least that it can.

    Raises:
        StreamsepError: longer than its weights learnt.
    """
    own = model.config.lookahead if isinstance(model, Causal) else 0
    learnt = (isinstance(model, Causal) and model.config.lookaheads) or (own,)
    hops = max(round(seconds * model.sample_rate / model.hop), int(seconds > 0), min(learnt))
    if hops > own == max(learnt):
        raise StreamsepError(
            f"--lookahead is for offline models and those that learnt to wait, and {name} is neither; leave it out"
        )
    if hops > max(learnt):
        raise StreamsepError(
            f"{name} learnt to wait {longest_lookahead(model):.2g} s at most; choose a shorter --lookahead"
        )
    return model if hops == own else with_lookahead(model, hops)


def longest_lookahead(model: object) -> float:
    """Seconds of future that the weights of a model learnt to make something of; 0 where they learnt no waiting."""
    return longest_hops(model) * model.hop / model.sample_rate if isinstance(model, Causal) else 0.0


def longest_hops(model: object) -> int:
    """`longest_lookahead` in hops."""
    return max(model.config.lookaheads, default=0) if isinstance(model, Causal) else 0
