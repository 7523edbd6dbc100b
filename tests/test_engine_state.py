"""Trees of tensors: mapped, cloned, copied and reset row by row."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor

from streamsep.engine.state import clone_state, copy_state, fill_rows, hold, leaves, let_rest, map_state


class Nest(NamedTuple):
    ring: Tensor
    inner: Any


def nest(fill: float) -> Nest:
    inner = [torch.full((3, 2), fill), {"position": torch.full((3,), int(fill))}, (), None]
    return Nest(torch.full((3, 4), fill), inner)


def test_shape_of_the_tree_survives() -> None:
    doubled = map_state(lambda x: x * 2, nest(3.0))
    assert isinstance(doubled, Nest)
    assert doubled.inner[1]["position"].tolist() == [6, 6, 6]
    assert doubled.inner[2:] == [(), None]
    assert [leaf.dim() for leaf in leaves(doubled)] == [2, 2, 1]


def test_a_leaf_that_is_no_tensor_is_refused() -> None:
    with pytest.raises(TypeError, match="not of int"):
        clone_state([torch.zeros(1), 7])


def test_clone_shares_no_memory() -> None:
    state = nest(1.0)
    twin = clone_state(state)
    state.ring.zero_()
    assert twin.ring.eq(1).all()


def test_rows_are_overwritten_alone() -> None:
    state = nest(5.0)
    fill_rows(state, map_state(lambda x: x[:1], nest(0.0)), torch.tensor([0, 2]))
    assert state.ring[:, 0].tolist() == [0, 5, 0]
    assert state.inner[1]["position"].tolist() == [0, 5, 0]


def test_copy_survives_swapped_buffers() -> None:
    first, second = torch.tensor([1.0, 2.0]), torch.tensor([3.0, 4.0])
    state = (first, second)
    copy_state(state, (second, first))
    assert first.tolist() == [3, 4]
    assert second.tolist() == [1, 2]


def test_copy_survives_a_shifted_view_of_itself() -> None:
    line = torch.arange(5.0)
    copy_state([line[:4]], [line[1:]])
    assert line.tolist() == [1, 2, 3, 4, 4]


def test_copy_leaves_identical_tensors_alone() -> None:
    state = [torch.ones(2)]
    before = state[0]._version
    copy_state(state, list(state))
    assert state[0]._version == before


def test_rows_that_rest_keep_what_they_had() -> None:
    state, active = nest(1.0), torch.tensor([True, False, True])
    copy_state(state, nest(2.0), active)
    assert state.ring[:, 0].tolist() == [2, 1, 2]
    chosen = let_rest(nest(4.0), nest(3.0), active)
    assert chosen.inner[0][:, 1].tolist() == [4, 3, 4]
    assert chosen.inner[1]["position"].tolist() == [4, 3, 4]


def test_only_what_is_dead_in_a_resting_row_is_not_held() -> None:
    class Separator:
        def dead_when_still(self, state: Nest) -> tuple[Tensor, ...]:
            return (state.ring,)

    state = nest(1.0)
    held = hold(state, Separator())
    assert held.ring is state.ring
    assert held.inner[0] is not state.inner[0]
    assert hold(state, object()).ring is not state.ring
    state.ring.fill_(2.0)  # by a step, in place: what it wrote stays, though the row rests
    assert let_rest(state, held, torch.zeros(3, dtype=torch.bool)).ring.eq(2).all()
