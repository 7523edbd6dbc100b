"""The law of a streaming layer as one set of checks, for every layer and both halves of every model.

    cat(step(c) for c in chunks(x)) == forward(x)

`Case` says what to feed; `verify_contract` runs every check and raises AssertionError with the name of the
broken one. Signals are tensors, or tuples of tensors (two domains), with time last and batch first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor

from streamsep.engine.executor import make_executor
from streamsep.engine.state import clone_state, map_state
from streamsep.layers.base import State
from streamsep.layers.ring import Clock
from streamsep.layers.rotary import PERIOD

PARTITIONS = ((1,), (2, 1, 3), (5,), (1, 4))


@dataclass
class Case:
    """What to feed a layer.

    Attributes:
        layer: under test, in evaluation mode.
        make: `(batch, hops) -> signal`, fresh random values at each call.
        hops: length of the test signal.
        tolerance: largest difference allowed, relative to the largest output.
        reach: input frames that an output hop depends on, its own hop included; None is unbounded.
        exact: the oldest frame of the reach is heard indeed; False makes `reach` an upper bound.
        name: told where a check fails.
    """

    layer: Any
    make: Callable[[int, int], Any]
    hops: int = 12
    tolerance: float = 1e-5
    reach: int | None = None
    exact: bool = True
    name: str = ""


def verify_contract(case: Case) -> None:
    """Every check of the law on one layer."""
    torch.manual_seed(0)
    with torch.inference_mode():
        for check in (chunking, fixed_shapes, forking, interleaving, neighbours, aging, reset_rows):
            check(case)
    causality(case)


def chunking(case: Case) -> None:
    """Any partition of the input gives what one pass gives."""
    x = case.make(2, case.hops)
    whole = case.layer(x)
    for sizes in PARTITIONS:
        assert_close(case, stream(case, x, sizes), whole, f"chunks of {sizes} hops differ from the full pass")


def fixed_shapes(case: Case) -> None:
    """The state's shapes and types never change."""
    state = case.layer.init_state(2, max(PARTITIONS[1]))
    before = describe(state)
    for chunk in cut(case, case.make(2, case.hops), PARTITIONS[1]):
        _, state = case.layer.step(chunk, state)
        assert describe(state) == before, f"{case.name}: the state changed shape: {before} -> {describe(state)}"


def forking(case: Case) -> None:
    """A cloned state goes back to its moment, whatever happened to the other since."""
    first, ahead, other = case.make(2, 5), case.make(2, 4), case.make(2, 4)
    state = case.layer.init_state(2, 5)
    _, state = case.layer.step(first, state)
    saved = clone_state(state)
    wanted, state = case.layer.step(ahead, state)
    wanted = copy(wanted)
    case.layer.step(other, state)
    rewound, _ = case.layer.step(ahead, saved)
    assert_close(case, rewound, wanted, "a forked state does not repeat what it did")


def interleaving(case: Case) -> None:
    """Two sessions that take turns on one layer do not hear each other."""
    signals = [case.make(1, 6), case.make(1, 6)]
    alone = [case.layer(signal) for signal in signals]
    states = [case.layer.init_state(1, 2) for _ in signals]
    parts: list[list[Any]] = [[], []]
    for chunks in zip(*(cut(case, signal, (2,)) for signal in signals), strict=True):
        for i, chunk in enumerate(chunks):
            y, states[i] = case.layer.step(chunk, states[i])
            parts[i].append(copy(y))
    for wanted, got in zip(alone, parts, strict=True):
        assert_close(case, join(got), wanted, "interleaved sessions hear each other")


def neighbours(case: Case) -> None:
    """A row of garbage in the batch stays in its row."""
    x = case.make(2, 6)
    wanted = stream(case, x, (2,))
    bad = tree(lambda t: torch.cat([t[:1], torch.full_like(t[1:], float("nan"))]), x)
    got = stream(case, bad, (2,))
    assert_close(case, tree(lambda t: t[:1], got), tree(lambda t: t[:1], wanted), "a NaN neighbour leaks")


def aging(case: Case) -> None:
    """A stream that is ten million frames old, or at the wrap of the position table, sounds like a young one."""
    x = case.make(2, case.hops)
    young = stream(case, x, (2, 1))
    for position in (10_000_000, PERIOD - 3):
        state = at_position(case.layer.init_state(2, 2), position)
        assert_close(case, stream(case, x, (2, 1), state), young, f"position {position} differs from position 0")


def reset_rows(case: Case) -> None:
    """Putting one row of a state back to the start starts that stream anew and leaves its neighbour alone."""
    past, x = case.make(2, 4), case.make(2, 6)
    _, state = case.layer.step(past, case.layer.init_state(2, 6))
    going, fresh = clone_state(state), case.layer.init_state(2, 6)
    kept, _ = case.layer.step(x, state)
    kept = copy(kept)
    mixed = zip_state(lambda a, b: torch.cat([a[:1], b[1:]]), going, fresh)
    got, _ = case.layer.step(x, mixed)
    assert_close(case, tree(lambda t: t[:1], got), tree(lambda t: t[:1], kept), "a reset disturbs its neighbour")
    anew = tree(lambda t: t[1:], case.layer(x))
    assert_close(case, tree(lambda t: t[1:], got), anew, "a reset row remembers its past")


def causality(case: Case) -> None:
    """By gradient: no output sees beyond its own hop, and it sees exactly as far back as its receptive field."""
    leaves = leaves_of(case.make(1, case.hops))
    for leaf in leaves:
        leaf.requires_grad_(True)
    y = case.layer(leaves[0] if len(leaves) == 1 else tuple(leaves))
    outputs = leaves_of(y)
    for output in outputs:
        frames = output.shape[-1] // case.hops
        for hop in (case.hops // 2, case.hops - 1):
            picked = output[..., hop * frames : (hop + 1) * frames].abs().square().sum()
            gradients = torch.autograd.grad(picked, leaves, retain_graph=True, allow_unused=True)
            check_reach(case, [gradient for gradient in gradients if gradient is not None], hop)


def check_reach(case: Case, gradients: Sequence[Tensor], hop: int) -> None:
    """Where the gradient of output hop `hop` to the inputs is not zero."""
    end = (hop + 1) * (gradients[0].shape[-1] // case.hops)
    seen = torch.cat([gradient.flatten(0, -2).abs().sum(0).nonzero().flatten() for gradient in gradients]).tolist()
    assert max(seen, default=0) < end, f"{case.name}: hop {hop} sees frame {max(seen)} of the future"
    if case.reach is None or case.reach > end:
        return
    oldest = min(seen, default=end)
    assert oldest >= end - case.reach, f"{case.name}: hop {hop} sees frame {oldest}, older than {end - case.reach}"
    if case.exact:
        assert oldest == end - case.reach, f"{case.name}: hop {hop} sees no frame before {oldest}: reach {case.reach}"


def stream(case: Case, x: Any, sizes: Sequence[int], state: State | None = None) -> Any:
    """The signal through `step`, in chunks whose sizes (in hops) go round."""
    if state is None:
        state = case.layer.init_state(leaves_of(x)[0].shape[0], max(sizes))
    parts = []
    for chunk in cut(case, x, sizes):
        y, state = case.layer.step(chunk, state)
        parts.append(copy(y))
    return join(parts)


def cut(case: Case, x: Any, sizes: Sequence[int]) -> list[Any]:
    """The signal in chunks; the number of hops is read off its length and the layer's hop."""
    total = leaves_of(x)[0].shape[-1] // case.layer.hop
    starts, at, i = [], 0, 0
    while at < total:
        n = min(sizes[i % len(sizes)], total - at)
        starts.append((at, n))
        at, i = at + n, i + 1

    def piece(start: int, n: int) -> Any:
        return tree(lambda t: t[..., start * (t.shape[-1] // total) : (start + n) * (t.shape[-1] // total)], x)

    return [piece(start, n) for start, n in starts]


def join(parts: Sequence[Any]) -> Any:
    if isinstance(parts[0], Tensor):
        return torch.cat(list(parts), -1)
    return tuple(torch.cat(list(part), -1) for part in zip(*parts, strict=True))


def tree(function: Callable[[Tensor], Tensor], x: Any) -> Any:
    return function(x) if isinstance(x, Tensor) else tuple(function(part) for part in x)


def copy(x: Any) -> Any:
    return tree(torch.clone, x)


def leaves_of(x: Any) -> list[Tensor]:
    return [x] if isinstance(x, Tensor) else list(x)


def describe(state: State) -> list[tuple[torch.Size, torch.dtype]]:
    seen: list[tuple[torch.Size, torch.dtype]] = []
    map_state(lambda t: seen.append((t.shape, t.dtype)) or t, state)  # type: ignore[func-returns-value]
    return seen


def zip_state(function: Callable[[Tensor, Tensor], Tensor], a: State, b: State) -> State:
    """Two states of one shape as one."""
    others: list[Tensor] = []
    map_state(lambda t: others.append(t) or t, b)  # type: ignore[func-returns-value]
    queue = iter(others)
    return map_state(lambda t: function(t, next(queue)), a)


def at_position(state: State, position: int | Tensor) -> State:
    """The same young state with its clocks at `position`, one for all rows or one for each."""
    if isinstance(state, Clock):
        return Clock(state.position + position, state.held)
    if isinstance(state, Tensor):
        return state
    items = [at_position(item, position) for item in state]
    return type(state)(*items) if hasattr(state, "_fields") else type(state)(items)


def assert_close(case: Case, got: Any, wanted: Any, message: str) -> None:
    """Largest difference against the largest wanted value; NaN never passes."""
    for a, b in zip(leaves_of(got), leaves_of(wanted), strict=True):
        assert a.shape == b.shape, f"{case.name}: {message}: {tuple(a.shape)} against {tuple(b.shape)}"
        error, scale = (a - b).abs().max(), b.abs().max().clamp_min(1e-6)
        assert bool(error <= case.tolerance * scale), f"{case.name}: {message}: {float(error / scale):.2e} relative"


def play(executor: Any, x: Tensor, hops: int, start: int = 0) -> Tensor:
    """The signal through an ONNX executor, `hops` at a time, from an empty state at position `start`."""
    state = executor.init_state()
    for name in state:
        if name.startswith("clock"):  # each member of a bag has one
            state[name][0, 0] = start
    parts = []
    for chunk in x.split(hops * executor.separator.hop, -1):
        y, state = executor(chunk, state)
        parts.append(y.clone())
    return torch.cat(parts, -1)


def verify_graph(model: Any) -> None:
    """The model's ONNX graph, hop by hop, gives its full pass.

    Skips the test where the extra onnx is missing.
    """
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    x = 0.1 * torch.randn(1, 2, 20 * model.hop)
    with torch.inference_mode():
        torch.testing.assert_close(play(make_executor("onnx", model), x, 1), model(x), rtol=0, atol=1e-5)
