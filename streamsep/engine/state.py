"""Trees of tensors: what the engine does to a separator's state without knowing what is in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor


def map_state(function: Callable[..., Any], state: Any, *others: Any) -> Any:
    """Apply `function` to the tensors of one or more equally shaped trees (named tuples, tuples, lists, dicts, None).

    Raises:
        TypeError: a leaf that is no tensor: a session could not copy, reset or capture it.
    """
    if isinstance(state, Tensor):
        return function(state, *others)
    if state is None:
        return None
    if isinstance(state, dict):
        return {key: map_state(function, state[key], *(o[key] for o in others)) for key in state}
    if isinstance(state, (tuple, list)):
        items = [map_state(function, *branch) for branch in zip(state, *others, strict=True)]
        return type(state)(*items) if hasattr(state, "_fields") else type(state)(items)
    raise TypeError(f"a state is a tree of tensors, not of {type(state).__name__}")


def leaves(state: Any) -> Iterator[Tensor]:
    """The tensors of a state in a fixed order."""
    found: list[Tensor] = []
    map_state(found.append, state)
    return iter(found)


def clone_state(state: Any) -> Any:
    """A copy that shares no memory with `state`."""
    return map_state(torch.clone, state)


def copy_state(target: Any, source: Any) -> None:
    """Copy every tensor of `source` into the tensor at the same place of `target`, row for row.

    A source that views another tensor of the target (two buffers swapped by a step) is read before anything is written.
    """
    owned = {leaf.untyped_storage().data_ptr() for leaf in leaves(target)}
    pairs = [(t, s) for t, s in zip(leaves(target), leaves(source), strict=True) if not _same(t, s)]
    ready = [(t, s.clone() if s.untyped_storage().data_ptr() in owned else s) for t, s in pairs]
    for to, value in ready:
        to.copy_(value)


def copy_rows(target: Any, source: Any, rows: Tensor) -> None:
    """Overwrite the batch rows `rows` (int64 indices) of `target` with those of `source`."""
    map_state(lambda to, value: to.index_copy_(0, rows, value.index_select(0, rows)), target, source)


def _same(a: Tensor, b: Tensor) -> bool:
    return a.data_ptr() == b.data_ptr() and a.shape == b.shape and a.stride() == b.stride()
