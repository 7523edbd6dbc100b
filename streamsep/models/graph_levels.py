"""What follows the energy of a hop as ONNX nodes: running sums, lines over a hop, the expander."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from streamsep.models.expanded import ExpandedStem
from streamsep.models.graph_nodes import Given, GraphNodes, Value


def energy(graph: GraphNodes, x: Value) -> Value:
    """The mean energy of a hop, `[1]`."""
    return graph.reshape(graph.add("ReduceMean", graph.add("Mul", x, x), keepdims=0), 1)


def fading(graph: GraphNodes, before: Value, decay: Tensor, x: Given) -> Value:
    """See `RunningSum`."""
    return graph.add("Add", graph.add("Mul", before, decay), x)


def line(graph: GraphNodes, before: Value, after: Value, ramp: Tensor) -> Value:
    """See `lines`; `[hop]`."""
    return graph.add("Add", graph.add("Mul", graph.add("Sub", after, before), ramp), before)


def expand(graph: GraphNodes, expanded: ExpandedStem, stems: Value, mix: Value, kept: bool) -> Value:
    """The stems `[stems, channels, hop]` after the expander on one of them; see `ExpandedStem`."""
    curve, one = expanded.curve, np.ones(1, np.float32)
    decay = curve.sum.decays[0, :1]
    *energies, cut = graph.split(graph.state("expander", (3,)), [1, 1, 1], 0)
    stem = graph.cut(stems, expanded.stem, expanded.stem + 1)
    heard = zip(energies, (stem, mix), strict=True)
    energies = [fading(graph, before, decay, energy(graph, x)) for before, x in heard]
    floor, threshold = np.full(1, curve.floor, np.float32), np.full(1, curve.threshold, np.float32)
    wanted = graph.add("Add", graph.add("Div", energies[0], threshold), floor)
    over = graph.add("Min", graph.add("Div", wanted, graph.add("Add", energies[1], floor)), one)
    gain = graph.add("Pow", over, np.full(1, curve.power, np.float32))
    after = graph.add("Sub", one, gain)
    graph.remember("expander", graph.add("Concat", *energies, after, axis=0))
    lost = graph.add("Mul", stem, line(graph, cut, after, curve.ramp))
    return graph.add("Add", stems, graph.add("Mul", lost, expanded.shared(kept)))
