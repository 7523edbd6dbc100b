"""A graph in the making: what is remembered comes back a hop later, and costs no copy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from streamsep.models.graph_nodes import GraphNodes

onnx = pytest.importorskip("onnx", reason="needs the extra onnx")
onnxruntime = pytest.importorskip("onnxruntime", reason="needs the extra onnx")


def play(graph: GraphNodes, hops: list[Any]) -> list[Any]:
    """What leaves as `y` for each `x`, with all states handed on."""
    session = onnxruntime.InferenceSession(graph.finish("test", {}), providers=["CPUExecutionProvider"])
    state = {i.name: np.zeros(i.shape, np.float32) for i in session.get_inputs() if i.name != "x"}
    names, heard = [o.name for o in session.get_outputs()], []
    for hop in hops:
        answer = dict(zip(names, session.run(None, {"x": hop, **state}), strict=True))
        heard.append(answer.pop("y"))
        state = {name.replace("next.", "state."): value for name, value in answer.items()}
    return heard


@pytest.mark.parametrize("hops", [0, 1, 3])
def test_delay(hops: int) -> None:
    graph = GraphNodes()
    doubled = graph.add("Mul", graph.input("x", (2, 3)), np.full(1, 2, np.float32))
    graph.output("y", graph.delay("d", doubled, (2, 3), hops), (2, 3))
    given = list(np.arange(36, dtype=np.float32).reshape(6, 2, 3) + 1)
    heard = play(graph, given)
    for i, y in enumerate(heard):
        np.testing.assert_array_equal(y, 2 * given[i - hops] if i >= hops else np.zeros((2, 3)))


@pytest.mark.parametrize("axis", [0, 1])
def test_history(axis: int) -> None:
    """Longer than a hop and no multiple of it."""
    graph = GraphNodes()
    shape, past = [(2, 3), (3, 2)][axis], [(5, 3), (3, 5)][axis]
    whole = tuple(a + (b if i == axis else 0) for i, (a, b) in enumerate(zip(past, shape, strict=True)))
    graph.output("y", graph.history("h", graph.input("x", shape), 2, past, axis), whole)
    given = list(np.random.default_rng(0).standard_normal((5, *shape)).astype(np.float32))
    signal = np.concatenate([np.zeros(past, np.float32), *given], axis)
    for i, y in enumerate(play(graph, given)):
        np.testing.assert_array_equal(y, signal.take(range(2 * i, 2 * i + 7), axis))


def test_what_leaves_is_named_where_it_arises() -> None:
    """One node gives state and output by name; only a second name for the same value, and an input, are copied."""
    graph = GraphNodes()
    x = graph.input("x", (1, 2))
    value = graph.add("Neg", x)
    for name in ("a", "b", "c"):
        graph.state(name, (1, 2))
    graph.remember("a", value)
    graph.remember("b", value)
    graph.remember("c", x)
    graph.output("y", graph.add("Add", value, "state.a"), (1, 2))
    nodes = onnx.load_from_string(graph.finish("test", {})).graph.node
    assert [(n.op_type, list(n.input), list(n.output)) for n in nodes] == [
        ("Neg", ["x"], ["next.a"]),
        ("Add", ["next.a", "state.a"], ["y"]),
        ("Identity", ["next.a"], ["next.b"]),
        ("Identity", ["x"], ["next.c"]),
    ]


def test_equal_constants_are_kept_once() -> None:
    graph = GraphNodes()
    x = graph.add("Add", graph.input("x", (2,)), torch.ones(2))
    graph.output("y", graph.add("Add", graph.add("Add", x, np.ones(2, np.float32)), np.ones(1, np.float32)), (2,))
    model = onnx.load_from_string(graph.finish("test", {"who": "me"}))
    onnx.checker.check_model(model)
    assert len(model.graph.initializer) == 2
    assert [(p.key, p.value) for p in model.metadata_props] == [("who", "me")]
