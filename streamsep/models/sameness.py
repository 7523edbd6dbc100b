"""Whether weights mean the same in two models: shapes do not tell, for heads and the order of stems are not in them."""

from __future__ import annotations

import dataclasses
from typing import Any

from torch import nn

# At a network's edge, or how long it waits: no weight knows of these.
_EDGE = ("expander", "lookahead", "lookaheads", "shares", "stem_shares")


def differing(model: nn.Module, other: nn.Module) -> str | None:
    """The first setting in which two models' networks differ, as `transformer.heads`; None where they are alike."""
    if type(model) is not type(other):
        return "their class"
    mine, others = (_flat(dataclasses.asdict(each.config)) for each in (model, other))  # type: ignore[call-overload]
    return next((name for name in mine | others if mine.get(name) != others.get(name)), None)


def _flat(value: Any, path: str = "") -> dict[str, Any]:
    """Settings by their path; tuples of settings, as a bag's members, by number."""
    if isinstance(value, dict):
        parts = {key: part for key, part in value.items() if key not in _EDGE}
    elif isinstance(value, (list, tuple)) and value and isinstance(value[0], dict):
        parts = dict(enumerate(value))
    else:
        return {path: value}
    flat: dict[str, Any] = {}
    for key, part in parts.items():
        flat |= _flat(part, f"{path}.{key}" if path else str(key))
    return flat
