"""Trees of tensors: what the engine does to a separator's state without knowing what is in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor


class Move(NamedTuple):
    """Which leaf is to be copied, and whether it views memory that is written on the way."""

    leaf: int
    inside: bool


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


def copy_state(target: Any, source: Any, active: Tensor | None = None) -> None:
    """Copy every tensor of `source` into the tensor at the same place of `target`, in the rows that are `active [B]`.

    A source that views another tensor of the target (two buffers swapped by a step) is read before anything is written.
    """
    copy_planned(plan_copy(target, source), target, source, active)


def plan_copy(target: Any, source: Any) -> list[Move]:
    """What `copy_state` has to do; it looks at where tensors lie, which a compiler cannot."""
    owned = {leaf.untyped_storage().data_ptr() for leaf in leaves(target)}
    pairs = enumerate(zip(leaves(target), leaves(source), strict=True))
    return [Move(i, s.untyped_storage().data_ptr() in owned) for i, (t, s) in pairs if not same_memory(t, s)]


def copy_planned(moves: list[Move], target: Any, source: Any, active: Tensor | None = None) -> None:
    """`copy_state` by a plan for states of these places."""
    targets, sources = list(leaves(target)), list(leaves(source))
    ready = [(targets[i], sources[i].clone() if inside else sources[i]) for i, inside in moves]
    for to, value in ready:
        if active is None:
            to.copy_(value)
        else:
            torch.where(rows_like(active, to), value, to, out=to)


def fill_rows(target: Any, one: Any, rows: Tensor) -> None:
    """Overwrite the batch rows `rows` (int64 indices) of `target` with the single row of `one`."""

    def fill(to: Tensor, value: Tensor) -> None:
        to.index_copy_(0, rows.to(to.device), value.expand(len(rows), *value.shape[1:]))

    map_state(fill, target, one)


def hold(state: Any, separator: Any) -> Any:
    """A copy of what a step may destroy and a resting row still needs; the rest of the tree is `state` itself.

    A separator whose `dead_when_still(state)` names tensors promises that what a step writes into those, in place, is
    overwritten before it is read if the other tensors are put back. They may be by far the largest.
    """
    dead = getattr(separator, "dead_when_still", lambda state: ())(state)
    spared = {leaf.data_ptr() for leaf in dead}
    return map_state(lambda leaf: leaf if leaf.data_ptr() in spared else leaf.clone(), state)


def let_rest(after: Any, before: Any, active: Tensor) -> Any:
    """The state after a step in the rows that are `active [B]`, and the one before it in all others."""

    def choose(new: Tensor, old: Tensor) -> Tensor:
        return new if same_memory(new, old) else torch.where(rows_like(active, new), new, old)

    return map_state(choose, after, before)


def rows_like(active: Tensor, leaf: Tensor) -> Tensor:
    """A mask over rows `[B]` that broadcasts with `leaf [B, ...]`."""
    return active.to(leaf.device).view(-1, *(1,) * (leaf.dim() - 1))


def same_memory(a: Tensor, b: Tensor) -> bool:
    return a.data_ptr() == b.data_ptr() and a.shape == b.shape and a.stride() == b.stride()
