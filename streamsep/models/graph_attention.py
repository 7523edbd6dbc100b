"""One hop of the causal transformer as nodes of a graph.

Tokens are rows. A ring is one state `[heads, capacity, tokens * dim]` whose slot is overwritten: where the caller gives
the same memory for what goes in and what comes out, nothing else of it is touched.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from torch import nn

from streamsep.layers.attention import Attention
from streamsep.layers.rotary import PERIOD, Rotary
from streamsep.models.causal_bottleneck import FeedForward
from streamsep.models.causal_transformer import CrossDomainTransformer, HybridLayer
from streamsep.models.graph_nodes import GraphNodes, Value

RING = "ring."  # the names of states that may be written in place begin so


class Turn(NamedTuple):
    """Cosines and signed sines by which queries or keys `[tokens, dim]` are turned, `[dim]`."""

    cosines: Value
    sines: Value


class HopClock:
    """Where the hop stands: position and filling of the ring, and what follows from them.

    The state `clock` is (hops so far, hops in the ring).
    """

    def __init__(self, graph: GraphNodes, transformer: CrossDomainTransformer, heads: int) -> None:
        self.graph, self.heads = graph, heads
        self.rotary: Rotary = transformer.rotary
        self.context, self.lag = transformer.context, transformer.lag
        self.capacity = self.context + self.lag
        self.position, held = graph.split(graph.state("clock", (2,), np.int64), [1, 1], 0)
        one = np.array([1], np.int64)
        self.held = graph.add("Min", graph.add("Add", held, one), np.array([self.capacity], np.int64))
        after = graph.add("Concat", graph.add("Add", self.position, one), self.held, axis=0)
        graph.remember("clock", after)
        self._slot = graph.add("Mod", self.position, np.array([self.capacity], np.int64))
        self._slots: dict[int, Value] = {}
        self._masks: dict[tuple[int, int], Value] = {}
        self._turns: dict[int, Turn] = {}

    def slot(self, width: int) -> Value:
        """The slot of this hop as often as `[heads, 1, width]` values are written to it."""
        if width not in self._slots:
            shape = np.array([self.heads, 1, width], np.int64)
            self._slots[width] = self.graph.add("Expand", self._slot, shape)
        return self._slots[width]

    def mask(self, tokens: int, lookahead: int) -> Value:
        """What is added to the scores of `[capacity * tokens]` tokens of the ring, seen with a look-ahead."""
        key = tokens, lookahead
        if key not in self._masks:
            graph = self.graph
            places = np.repeat(np.arange(self.capacity), tokens)
            age = graph.add("Mod", graph.add("Sub", self.position, places), np.array([self.capacity], np.int64))
            limit = graph.add("Min", self.held, np.array([self.context + lookahead], np.int64))
            seen = graph.add("Less", age, limit)
            zero, hidden = np.zeros(1, np.float32), np.full(1, -np.inf, np.float32)
            self._masks[key] = graph.add("Where", seen, zero, hidden)
        return self._masks[key]

    def turn(self, lookahead: int) -> Turn:
        """The rotation of all heads side by side, as many hops ago as the look-ahead."""
        if lookahead not in self._turns:
            graph, turns = self.graph, self.rotary.turns.numpy()
            position = graph.add("Sub", self.position, np.array([lookahead], np.int64)) if lookahead else self.position
            index = graph.add("Mod", graph.add("Mul", position, turns), np.array([PERIOD], np.int64))
            step = np.array([2 * math.pi / PERIOD], np.float32)
            angles = graph.add("Mul", graph.add("Cast", index, to=1), step)  # 1: float32
            place = np.tile(np.arange(len(turns)), 2 * self.heads)
            sign = np.tile(np.repeat(np.array([-1, 1], np.float32), len(turns)), self.heads)
            cosines = graph.add("Gather", graph.add("Cos", angles), place, axis=0)
            sines = graph.add("Mul", graph.add("Gather", graph.add("Sin", angles), place, axis=0), sign)
            self._turns[lookahead] = Turn(cosines, sines)
        return self._turns[lookahead]


class TransformerNodes:
    """The whole bottleneck for one hop: tokens `[tokens, channels]` of each domain in and out."""

    def __init__(self, graph: GraphNodes, transformer: CrossDomainTransformer, heads: int) -> None:
        self.graph, self.transformer, self.heads = graph, transformer, heads
        self.clock = HopClock(graph, transformer, heads)
        self.tokens = [transformer.tokens[domain] for domain in transformer.domains]
        self._rings = 0

    def think(self, x: Sequence[Value]) -> list[Value]:
        """All layers; see `CrossDomainTransformer.think`."""
        graph, transformer = self.graph, self.transformer
        now = [self._enter(i, value) for i, value in enumerate(x)]
        late = [
            graph.delay(f"transformer.late{i}", value, (self.tokens[i], transformer.dim), transformer.lag)
            for i, value in enumerate(now)
        ]
        lookahead = transformer.lag
        for layer in transformer.layers:
            now = late = self._layer(layer, now, late, lookahead)
            lookahead = 0
        return [self._linear(value, linear) for value, linear in zip(late, transformer.out, strict=True)]

    def _enter(self, i: int, value: Value) -> Value:
        transformer = self.transformer
        tokens = self._norm(self._linear(value, transformer.into[i]), transformer.norms[i])
        return self.graph.add("Add", tokens, transformer.places) if transformer.domains[i] == 0 else tokens

    def _layer(self, layer: HybridLayer, now: list[Value], late: list[Value], lookahead: int) -> list[Value]:
        places = range(len(now))
        normed = [self._norm(now[i], layer.norms[i]) for i in places]
        asking = [self._norm(late[i], layer.norms[i]) for i in places] if lookahead else normed
        heard = [self._hear(layer.selves[i], asking[i], normed[i], (i, i), lookahead) for i in places]
        x = [self.graph.add("Add", late[i], heard[i]) for i in places]
        if len(layer.crosses):
            normed = [self._norm(x[d], layer.norms[2 + d]) for d in (0, 1)]
            heard = [self._hear(layer.crosses[d], normed[d], normed[1 - d], (d, 1 - d), 0) for d in (0, 1)]
            x = [self.graph.add("Add", x[d], heard[d]) for d in (0, 1)]
        return [self._forward(value, forward) for value, forward in zip(x, layer.forwards, strict=True)]

    def _hear(
        self, attention: Attention, asking: Value, telling: Value, places: tuple[int, int], lookahead: int
    ) -> Value:
        """What the tokens of one domain hear in another's past, `[tokens, dim]`."""
        graph, dim = self.graph, attention.out.in_features
        head, (asked, told) = dim // self.heads, (self.tokens[place] for place in places)
        scale = head**-0.5  # into the weights: the scores are many more
        linear = attention.queries
        queries = self._turned(graph.linear(asking, scale * linear.weight.T, scale * linear.bias), asked, lookahead)
        linear = attention.keys_values
        keys, values = graph.split(graph.linear(telling, linear.weight.T, linear.bias), [dim, dim], 1)
        keys = self._through_ring(self._turned(keys, told, 0), told, "keys")
        values = self._through_ring(values, told, "values")
        self._rings += 1
        # Each query by itself: ONNX Runtime then multiplies without copying the ring into another order.
        queries = graph.reshape(self._by_head(queries, asked), self.heads, asked, 1, head)
        scores = graph.add("MatMul", queries, graph.add("Transpose", keys, perm=[0, 1, 3, 2]))
        weights = graph.add("Softmax", graph.add("Add", scores, self.clock.mask(told, lookahead)), axis=-1)
        heard = graph.reshape(graph.add("MatMul", weights, values), self.heads, asked, head)
        if asked > 1:
            heard = graph.add("Transpose", heard, perm=[1, 0, 2])
        return self._linear(graph.reshape(heard, asked, dim), attention.out)

    def _turned(self, x: Value, tokens: int, lookahead: int) -> Value:
        """Rotary embedding of all heads of `x [tokens, dim]`."""
        graph, turn = self.graph, self.clock.turn(lookahead)
        pairs = graph.reshape(x, tokens * self.heads, 2, -1)
        swapped = graph.reshape(graph.add("Gather", pairs, np.array([1, 0]), axis=1), tokens, -1)
        return graph.add("Add", graph.add("Mul", x, turn.cosines), graph.add("Mul", swapped, turn.sines))

    def _by_head(self, x: Value, tokens: int) -> Value:
        """`[tokens, dim]` to `[heads, tokens, dim / heads]`."""
        if tokens == 1:
            return self.graph.reshape(x, self.heads, 1, -1)
        return self.graph.add("Transpose", self.graph.reshape(x, tokens, self.heads, -1), perm=[1, 0, 2])

    def _through_ring(self, x: Value, tokens: int, kind: str) -> Value:
        """Puts `x [tokens, dim]` into its ring; gives all of it, `[heads, 1, capacity * tokens, dim / heads]`."""
        graph, width = self.graph, tokens * self.transformer.dim // self.heads
        name = f"{RING}{self._rings}.{kind}"
        ring = graph.state(name, (self.heads, self.clock.capacity, width))
        new = graph.reshape(self._by_head(x, tokens), self.heads, 1, width)
        ring = graph.add("ScatterElements", ring, self.clock.slot(width), new, axis=1)
        graph.remember(name, ring)
        return graph.reshape(ring, self.heads, 1, self.clock.capacity * tokens, width // tokens)

    def _forward(self, x: Value, forward: FeedForward) -> Value:
        hidden = self.graph.add("Gelu", self._linear(self._norm(x, forward.norm), forward.up))
        return self.graph.add("Add", x, self._linear(hidden, forward.down))

    def _linear(self, x: Value, linear: nn.Linear) -> Value:
        return self.graph.linear(x, linear.weight.T, linear.bias)

    def _norm(self, x: Value, norm: nn.LayerNorm) -> Value:
        return self.graph.add("LayerNormalization", x, norm.weight, norm.bias, axis=1, epsilon=norm.eps)
