"""The networks of a causal model as one ONNX graph of one hop, and the step around it.

Level, transforms and overlap-add stay in PyTorch, whose FFT is quicker than any in ONNX; everything between
them, some thousand small operations, runs without Python. The rings of keys and values are inputs that the
graph only reads: it returns the hop's new keys and values, and the step writes them to their slots, for a
graph that returned whole rings would copy them every hop.
"""

from __future__ import annotations

import io
import warnings
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from streamsep.errors import StreamsepError, missing
from streamsep.layers.attention import Attention, Turn
from streamsep.layers.ring import KV, Clock, Tick, advance, band, token_mask, write
from streamsep.models.causal_bottleneck import Deep
from streamsep.models.causal_htdemucs import CausalHTDemucs, CausalState, Heard
from streamsep.models.causal_transformer import CrossDomainTransformer, TransformerState


class Timing(NamedTuple):
    """Where a hop stands: rotary tables of the queries that look ahead and of all others, and additive masks.

    Masks are over the tokens in the ring, `[1, 1, 1, capacity * tokens]`, by look-ahead (first 0) and domain.
    """

    before: Turn
    now: Turn
    masks: tuple[tuple[Tensor, Tensor], ...]


def timing(transformer: CrossDomainTransformer, clock: Clock) -> Timing:
    """The tables for the hop that comes next, from what the ring holds before it."""
    position = clock.position[:, None]
    now = transformer.rotary(position)
    before = transformer.rotary(position - transformer.lag) if transformer.lag else now
    masks = []
    for lookahead in sorted({0, transformer.lag}):
        seen = band(position - lookahead, clock.held, transformer.context, lookahead)
        hidden = torch.zeros(seen.shape).masked_fill_(~seen, float("-inf"))
        masks.append(tuple(token_mask(hidden, 1, tokens) for tokens in transformer.tokens))
    return Timing(before, now, tuple(masks))  # type: ignore[arg-type]


class NetworkGraph(nn.Module):
    """`CausalHTDemucs.network` for one hop of one stream, with flat tensors in and out, as an exporter wants it."""

    def __init__(self, model: CausalHTDemucs, transformer: CrossDomainTransformer, state: CausalState) -> None:
        super().__init__()
        self.model, self.transformer, self.shape = model, transformer, remembered(state)

    def forward(self, *given: Tensor) -> tuple[Tensor, ...]:
        """The branches' answers, new states, and the new keys and values of each ring in turn."""
        queue = list(given)
        inputs = [queue.pop(0) for _ in self.model.branches]
        when = unflatten(self._timing(), queue)
        *branches, late = unflatten(self.shape, queue)
        rings, fresh = iter(list(zip(queue[::2], queue[1::2], strict=True))), []

        def hear(attention: Attention, q: Tensor, kv: Tensor, domains: tuple[int, int], lookahead: int) -> Tensor:
            keys, values = attention.project(kv, when.now)
            fresh.extend([keys, values])
            mask = when.masks[-1 if lookahead else 0][domains[1]]
            heard = attend_beside(
                attention.ask(q, when.before if lookahead else when.now), next(rings), (keys, values), mask
            )
            return attention.tell(heard, q)

        def think(deep: Deep) -> tuple[Deep, Deep]:
            return self.transformer.think(deep, late, hear)

        present = [state for state in branches if state != ()]
        answers, states = self.model.network(inputs, present, think)
        return (*answers, *flatten(states), *fresh)

    def _timing(self) -> Timing:
        one = torch.zeros(1)
        masks = tuple((one, one) for _ in sorted({0, self.transformer.lag}))
        return Timing((one, one), (one, one), masks)


def remembered(state: CausalState) -> tuple[Any, Any, Deep]:
    """What the graph takes and gives back of a state: both branches', and the frames that wait in the transformer."""
    return state.spectrogram, state.waveform, state.transformer.late


def attend_beside(queries: Tensor, ring: tuple[Tensor, Tensor], new: tuple[Tensor, Tensor], mask: Tensor) -> Tensor:
    """Attention over a ring and the frame beside it, with neither copied.

    Args:
        queries: `[1, heads, tokens, dim]`; ring and new: keys and values `[1, heads, slots, tokens, dim]`.
        mask: additive, over the ring's tokens.
    """
    old_keys, old_values, keys, values = (t.flatten(2, 3) for t in (*ring, *new))
    queries = queries * queries.shape[-1] ** -0.5
    scores = torch.cat([queries @ old_keys.transpose(2, 3) + mask, queries @ keys.transpose(2, 3)], -1)
    weights = scores.softmax(-1)
    size = old_keys.shape[2]
    return weights[..., :size] @ old_values + weights[..., size:] @ values


def flatten(tree: Any) -> list[Tensor]:
    """The tensors of a tree that hold anything, in order."""
    if isinstance(tree, Tensor):
        return [tree] if tree.numel() else []
    return [leaf for item in tree for leaf in flatten(item)]


def unflatten(shape: Any, queue: list[Tensor]) -> Any:
    """A tree shaped like `shape` from the front of `queue`; empty tensors are kept as they are."""
    if isinstance(shape, Tensor):
        return queue.pop(0) if shape.numel() else shape
    items = [unflatten(item, queue) for item in shape]
    return type(shape)(*items) if hasattr(shape, "_fields") else type(shape)(items)


def export_network(model: CausalHTDemucs) -> bytes:
    """The networks of `model` as a serialised ONNX graph for one hop of one stream.

    Raises:
        StreamsepError: the package onnx is missing, or the model has recurrent layers.
    """
    transformer = attentive(model)
    state = model.init_state(1, 1)
    heard = model.listen(torch.zeros(1, model.config.audio_channels, model.hop), state)[0]
    inputs = _inputs(transformer, heard, state, attention_state(state))
    buffer: Any = io.BytesIO()  # the exporter declares a path, and takes a file as well
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # the exporter warns of itself
        try:
            torch.onnx.export(
                NetworkGraph(model, transformer, state), tuple(inputs), buffer, dynamo=False, opset_version=17,
                input_names=[f"in_{i}" for i in range(len(inputs))],
            )  # fmt: skip
        except ImportError:
            raise missing("onnx", "onnx") from None
    return buffer.getvalue()


def attentive(model: CausalHTDemucs) -> CrossDomainTransformer:
    """The model's transformer.

    Raises:
        StreamsepError: it has recurrent layers in its place.
    """
    if not isinstance(model.transformer, CrossDomainTransformer):
        raise StreamsepError("a model with recurrent layers has no ONNX graph; use --executor eager")
    return model.transformer


def attention_state(state: CausalState) -> TransformerState:
    """The transformer's part of a state."""
    assert isinstance(state.transformer, TransformerState)
    return state.transformer


def _inputs(
    transformer: CrossDomainTransformer, heard: Heard, state: CausalState, inner: TransformerState
) -> list[Tensor]:
    when = flatten(timing(transformer, inner.clock))
    return [*heard.inputs, *when, *flatten(remembered(state)), *flatten(inner.rings)]


class GraphStep:
    """`CausalHTDemucs.step` for one stream on a CPU, the networks by ONNX Runtime.

    Run it on a thread that flushes denormals: ONNX Runtime's own setting would leak to every later thread.

    Args:
        model: in evaluation mode on the CPU.
        threads: of ONNX Runtime.

    Raises:
        StreamsepError: onnx or onnxruntime is missing, or the model has recurrent layers.
    """

    def __init__(self, model: CausalHTDemucs, threads: int = 1) -> None:
        try:
            import onnxruntime
        except ImportError:
            raise missing("onnxruntime", "onnx") from None
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        self.model, self.transformer = model, attentive(model)
        self._session = onnxruntime.InferenceSession(export_network(model), options, providers=["CPUExecutionProvider"])
        # The exporter leaves out what the graph does not read, such as the look-ahead's tables where there is none.
        self._inputs = [(node.name, int(node.name.removeprefix("in_"))) for node in self._session.get_inputs()]

    def __call__(self, mix: Tensor, state: CausalState) -> tuple[Tensor, CausalState]:
        """`mix [1, C, n * hop] -> sources [1, S, C, n * hop]`, hop by hop; the state is consumed."""
        parts = []
        for hop in mix.split(self.model.hop, -1):
            sources, state = self._hop(hop, state)
            parts.append(sources)
        return (parts[0] if len(parts) == 1 else torch.cat(parts, -1)), state

    def _hop(self, mix: Tensor, s: CausalState) -> tuple[Tensor, CausalState]:
        model, inner = self.model, attention_state(s)
        heard, ears = model.listen(mix, s)
        inputs = _inputs(self.transformer, heard, s, inner)
        feed = {name: inputs[i].contiguous().numpy() for name, i in self._inputs}
        rest = [torch.from_numpy(value) for value in self._session.run(None, feed)]
        answers = [rest.pop(0) for _ in model.branches]
        spectrogram, waveform, late = unflatten(remembered(s), rest)
        tick, clock = advance(inner.clock, 1)
        _write_all(inner.rings, tick, rest)
        transformer = TransformerState(clock, inner.rings, late)
        sources, voice = model.speak(answers, heard, s.istft)
        return sources, CausalState(*(*ears, spectrogram, waveform, transformer, voice))


def _write_all(rings: tuple[KV, ...], tick: Tick, fresh: list[Tensor]) -> None:
    for ring, keys, values in zip(rings, fresh[::2], fresh[1::2], strict=True):
        write(ring, tick, keys, values)
