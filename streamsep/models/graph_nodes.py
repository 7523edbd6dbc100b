"""An ONNX graph in the making: nodes, constants, and what is remembered from hop to hop.

It knows how ONNX spells things, and nothing of any model. Values inside are matrices without a batch dimension.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from streamsep.errors import missing

OPSET, IR_VERSION = 20, 9  # Gelu came with 20; ONNX Runtime 1.17 and later run it
STATE, NEXT = "state.", "next."
Value = str  # the name of what a node gives
Given = Value | Tensor | NDArray[Any]


class GraphNodes:
    """Collects nodes; every method adds some and returns the name of what they give.

    Attributes:
        suffix: of the names of states that are made from now on, to tell several models in one graph apart.

    Raises:
        StreamsepError: the package onnx is missing.
    """

    def __init__(self) -> None:
        try:
            import onnx
        except ImportError:
            raise missing("onnx", "onnx") from None
        self._onnx, self.suffix = onnx, ""
        self._nodes: list[Any] = []
        self._constants: dict[Any, tuple[str, NDArray[Any]]] = {}
        self._inputs: dict[str, tuple[tuple[int, ...], type]] = {}
        self._outputs: dict[str, tuple[tuple[int, ...], type]] = {}
        self._leaving: dict[str, Value] = {}

    def add(self, kind: str, *inputs: Given, **attributes: Any) -> Value:
        """One node with one output; arrays and tensors among the inputs become constants."""
        return self._add(kind, inputs, 1, attributes)[0]

    def split(self, x: Value, sizes: Sequence[int], axis: int) -> list[Value]:
        """Consecutive parts of `x` along `axis`."""
        return self._add("Split", (x, _integers(sizes)), len(sizes), {"axis": axis})

    def reshape(self, x: Value, *shape: int) -> Value:
        """`x` in another shape; costs nothing."""
        return self.add("Reshape", x, _integers(shape))

    def cut(self, x: Value, start: int, stop: int, axis: int = 0) -> Value:
        """A piece of `x` along `axis`."""
        return self.add("Slice", x, _integers([start]), _integers([stop]), _integers([axis]))

    def linear(self, x: Value, weight: Tensor, bias: Given | None = None) -> Value:
        """`x [rows, inputs]` times `weight [inputs, outputs]`, and a bias `[outputs]` or `[rows, outputs]`."""
        return self.add("MatMul", x, weight) if bias is None else self.add("Gemm", x, weight, bias)

    def unfold(self, x: Value, index: NDArray[np.int64]) -> Value:
        """The rows `index [n, k]` of `x [rows, width]` side by side, `[n, k * width]`."""
        return self.reshape(self.add("Gather", x, index, axis=0), len(index), -1)

    def pad(self, x: Value, rows: int, width: int) -> Value:
        """`x [n, width]` between as many `rows` of zeros above and below."""
        zeros = np.zeros((rows, width), np.float32)
        return self.add("Concat", zeros, x, zeros, axis=0) if rows else x

    def input(self, name: str, shape: tuple[int, ...]) -> Value:
        """Something that the caller gives at every hop."""
        self._inputs[name] = (shape, np.float32)
        return name

    def output(self, name: str, value: Value, shape: tuple[int, ...]) -> None:
        """Let `value` leave the graph as `name`."""
        self._outputs[name], self._leaving[name] = (shape, np.float32), value

    def state(self, name: str, shape: tuple[int, ...], kind: type = np.float32) -> Value:
        """What `remember` was given a hop ago; zeros at first."""
        given = STATE + name + self.suffix
        self._inputs[given] = (shape, kind)
        return given

    def remember(self, name: str, value: Value) -> None:
        """Keep `value` for the next hop's `state`."""
        name += self.suffix
        self._outputs[NEXT + name], self._leaving[NEXT + name] = self._inputs[STATE + name], value

    def delay(self, name: str, x: Value, shape: tuple[int, int], hops: int) -> Value:
        """`x [rows, width]` of some hops ago."""
        if not hops:
            return x
        rows, width = shape
        before = self.state(name, (hops * rows, width))
        if hops == 1:
            self.remember(name, x)
            return before
        joined = self.add("Concat", before, x, axis=0)
        self.remember(name, self.cut(joined, rows, (hops + 1) * rows))
        return self.cut(joined, 0, rows)

    def history(self, name: str, x: Value, frames: int, shape: tuple[int, int], axis: int = 0) -> Value:
        """`x [frames, width]` after the `shape` of what came before it, joined along `axis`."""
        before = self.state(name, shape)
        joined = self.add("Concat", before, x, axis=axis)
        self.remember(name, self.cut(joined, frames, frames + shape[axis], axis))
        return joined

    def finish(self, name: str, facts: Mapping[str, str]) -> bytes:
        """The serialised model, with `facts` as its metadata."""
        helper, arrays = self._onnx.helper, self._onnx.numpy_helper
        self._name_outputs()
        graph = helper.make_graph(
            self._nodes,
            name,
            [self._describe(key, *about) for key, about in self._inputs.items()],
            [self._describe(key, *about) for key, about in self._outputs.items()],
            [arrays.from_array(value, key) for key, value in self._constants.values()],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="streamsep")
        model.ir_version = IR_VERSION
        helper.set_model_props(model, dict(facts))
        serialised: bytes = model.SerializeToString()
        return serialised

    def _name_outputs(self) -> None:
        """Call what leaves by its name where it arises: a node that only renames would copy it."""
        names: dict[Value, str] = {}
        for name, value in self._leaving.items():
            if value in names or value in self._inputs:
                self._nodes.append(self._onnx.helper.make_node("Identity", [value], [name]))
            else:
                names[value] = name
        for node in self._nodes:
            for values in (node.input, node.output):
                values[:] = [names.get(value, value) for value in values]

    def _describe(self, name: str, shape: tuple[int, ...], kind: type) -> Any:
        return self._onnx.helper.make_tensor_value_info(
            name, self._onnx.helper.np_dtype_to_tensor_dtype(np.dtype(kind)), shape
        )

    def _add(self, kind: str, inputs: Sequence[Given], outputs: int, attributes: dict[str, Any]) -> list[Value]:
        names = [x if isinstance(x, str) else self._constant(x) for x in inputs]
        given = [f"{kind}_{len(self._nodes)}" + (f"_{i}" if outputs > 1 else "") for i in range(outputs)]
        self._nodes.append(self._onnx.helper.make_node(kind, names, given, **attributes))
        return given

    def _constant(self, value: Tensor | NDArray[Any]) -> Value:
        array = value.detach().numpy() if isinstance(value, Tensor) else value
        array = np.ascontiguousarray(array)
        key = (array.dtype, array.shape, array.tobytes())
        return self._constants.setdefault(key, (f"constant_{len(self._constants)}", array))[0]


def _integers(values: Sequence[int]) -> NDArray[np.int64]:
    return np.array(values, np.int64)
