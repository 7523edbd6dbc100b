"""One hop of a causal model, or of several, as a complete ONNX graph: mix and state in, stems and state out.

It is written node by node, not traced: a hop has one frame and one stream, and what is general in the modules (chunks,
batches) would stay in a trace as hundreds of small copies. `docs/onnx.md` describes the interface.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np

from streamsep import __version__
from streamsep.errors import StreamsepError
from streamsep.models import graph_levels, graph_spectrum
from streamsep.models.causal_htdemucs import CausalHTDemucs
from streamsep.models.causal_transformer import CrossDomainTransformer
from streamsep.models.expanded import ExpandedStem
from streamsep.models.full_band import FullBand
from streamsep.models.graph_attention import RING, TransformerNodes
from streamsep.models.graph_nodes import GraphNodes, Value
from streamsep.models.graph_unet import UNetNodes


def build_graph(
    models: Sequence[CausalHTDemucs],
    facts: dict[str, str] | None = None,
    parts: Sequence[Sequence[float]] = (),
    expander: ExpandedStem | None = None,
) -> bytes:
    """The mean of the models' `step` for one hop of one stream as a serialised ONNX model.

    Args:
        models: that agree in hop, latency and sources; usually one.
        facts: more metadata.
        parts: the share of each in what they say together, of every stem; where these differ, the stems still sum to
            what the first model's do.
        expander: on what they say together.

    Raises:
        StreamsepError: the package onnx is missing, or a model has recurrent layers.
    """
    graph, config = GraphNodes(), models[0].config
    mix = graph.input("mix", (config.audio_channels, config.hop))
    answers = []
    for number, model in enumerate(models):
        graph.suffix = "" if len(models) == 1 and expander is None else f"@{number}"
        answers.append(HopNodes(graph, model).stems_of(mix))
    stems = _joined(graph, answers, parts)
    if expander is not None:
        stems = graph_levels.expand(graph, expander, stems, _whole(graph, stems), kept=True)
    graph.output("stems", stems, (len(config.sources), config.audio_channels, config.hop))
    return graph.finish("streamsep", _facts(models[0]) | (facts or {}))


def _joined(graph: GraphNodes, answers: list[Value], parts: Sequence[Sequence[float]]) -> Value:
    """What `CausalBag` makes of its members' stems before its expander; of one alone nothing."""
    graph.suffix = ""
    if len(answers) == 1:
        return answers[0]
    shares = [np.array(part, np.float32)[:, None, None] for part in parts]
    stems = graph.add("Sum", *(graph.add("Mul", *pair) for pair in zip(answers, shares, strict=True)))
    if all(len(set(part)) == 1 for part in parts):
        return stems
    return _share_missing(graph, stems, _whole(graph, answers[0]), len(parts[0]))


def _whole(graph: GraphNodes, stems: Value) -> Value:
    return graph.add("ReduceSum", stems, np.array([0]), keepdims=0)


def _share_missing(graph: GraphNodes, stems: Value, mix: Value, count: int) -> Value:
    """See `consistency.share_missing`."""
    missing = graph.add("Sub", mix, _whole(graph, stems))
    return graph.add("Add", stems, graph.add("Mul", missing, np.full(1, 1 / count, np.float32)))


def _facts(model: CausalHTDemucs) -> dict[str, str]:
    return {
        "streamsep": __version__,
        "sources": json.dumps(model.sources),
        "sample_rate": str(model.sample_rate),
        "hop": str(model.hop),
        "latency": str(model.latency),
        "in_place": "next." + RING,
    }


class HopNodes:
    """What `CausalHTDemucs` does with one hop."""

    def __init__(self, graph: GraphNodes, model: CausalHTDemucs) -> None:
        if not isinstance(model.transformer, CrossDomainTransformer):
            raise StreamsepError("a model with recurrent layers has no ONNX graph; use --executor eager")
        self.graph, self.model, self.transformer = graph, model, model.transformer
        config = model.config
        self.hop, self.window, self.bins = config.hop, config.window, config.window // 2
        self.channels, self.stems = config.audio_channels, len(config.sources)
        self.voices = self.stems * self.channels
        if model.stft is not None:
            self.n1, self.n2 = graph_spectrum.factors(config.window, 2 * config.hop)

    def stems_of(self, mix: Value) -> Value:
        """All of it: `[channels, hop] -> [stems, channels, hop]`."""
        graph, model = self.graph, self.model
        level = self._level(mix)
        both = graph.add("Concat", mix, level, axis=0)
        rows = self.channels + 1
        dry = graph.delay("dry", both, (rows, self.hop), model.latency // self.hop)
        dry, level_then = graph.split(dry, [self.channels, 1], 0)
        voices = self._voices(graph.add("Div", mix, level), level_then)
        stems = self._consistent(voices, dry)
        if model.expander is None:
            return stems
        return graph_levels.expand(graph, model.expander, stems, dry, model.mix_consistency)

    def _level(self, mix: Value) -> Value:
        """See `RunningLevel`; `[1, hop]`."""
        graph, level = self.graph, self.model.level
        energy, weight, before = graph.split(graph.state("level", (3,)), [1, 1, 1], 0)
        decay, one = level.sum.decays[0, :1], np.ones(1, np.float32)
        energy = graph_levels.fading(graph, energy, decay, graph_levels.energy(graph, mix))
        weight = graph_levels.fading(graph, weight, decay, one)
        root = graph.add("Sqrt", graph.add("Div", energy, weight))
        scale = graph.add("Max", root, np.full(1, level.floor, np.float32))
        graph.remember("level", graph.add("Concat", energy, weight, scale, axis=0))
        young = graph.add("Equal", before, np.zeros(1, np.float32))
        before = graph.add("Where", young, scale, before)
        return graph.reshape(graph_levels.line(graph, before, scale, level.ramp), 1, self.hop)

    def _voices(self, normed: Value, level: Value) -> Value:
        """The stems `[stems * channels, hop]` as the branches that there are give them."""
        graph, model, spectrum, nyquist = self.graph, self.model, "", ""
        bottoms, branches = [], []
        if model.spectrogram is not None:
            spectrum, nyquist = self._analyse(normed)
            features = self._features(spectrum)
            branches.append(UNetNodes(graph, model.spectrogram, "spectrogram", self.bins))
            bottom = branches[-1].encode(features, 3 * self.channels)
            bottoms.append(bottom if model.full_band is None else self._hear(model.full_band, features, bottom))
        if model.waveform is not None:
            branches.append(UNetNodes(graph, model.waveform, "waveform", self.hop))
            bottoms.append(branches[-1].encode(graph.add("Transpose", normed, perm=[1, 0]), self.channels))
        heads = model.config.transformer.heads
        deep = TransformerNodes(graph, self.transformer, heads).think(bottoms)
        answers = [
            graph.add("Transpose", branch.decode(bottom), perm=[1, 0])
            for branch, bottom in zip(branches, deep, strict=True)
        ]
        if model.full_band is not None:
            answers[0] = self._answer(model.full_band, deep[0], answers[0])
        voices = []
        if model.spectrogram is not None:
            voices.append(graph.add("Mul", self._synthesise(answers[0], spectrum, nyquist), level))
        if model.waveform is not None:
            voices.append(graph.add("Mul", answers[-1], self._loud(level)))
        return voices[0] if len(voices) == 1 else graph.add("Add", *voices)

    def _hear(self, full_band: FullBand, features: Value, bottom: Value) -> Value:
        """The bottleneck's input `[tokens, deep]` with what all magnitudes tell it; see `FullBand`."""
        graph, (width, tokens) = self.graph, full_band.deep
        kinds = np.arange(2, 3 * self.channels, 3)
        row = graph.reshape(graph.add("Gather", features, kinds, axis=1), 1, self.bins * self.channels)
        weight = full_band.hearing.weight.unflatten(1, (self.channels, self.bins)).unflatten(0, (width, tokens))
        weight = weight.permute(3, 2, 1, 0).flatten(2).flatten(0, 1)
        bias = full_band.hearing.bias.unflatten(0, (width, tokens)).T.flatten()
        return graph.add("Add", bottom, graph.reshape(graph.linear(row, weight, bias), tokens, width))

    def _answer(self, full_band: FullBand, bottom: Value, masks: Value) -> Value:
        """The masks `[outputs, bins]` with what the bottleneck's output `[tokens, deep]` adds to them."""
        graph, (width, tokens) = self.graph, full_band.deep
        weight = full_band.answering.weight.unflatten(1, (width, tokens)).transpose(1, 2).flatten(1).T
        row = graph.linear(graph.reshape(bottom, 1, tokens * width), weight, full_band.answering.bias)
        return graph.add("Add", masks, graph.reshape(row, full_band.outputs, self.bins))

    def _loud(self, level: Value) -> Value:
        """The level, and nothing at its floor."""
        floor, zero = np.full(1, self.model.level.floor, np.float32), np.zeros(1, np.float32)
        return self.graph.add("Where", self.graph.add("Greater", level, floor), level, zero)

    def _analyse(self, normed: Value) -> tuple[Value, Value]:
        """The spectrum as `[channels, 2, bins]`, real and imaginary parts, and its Nyquist bin `[channels, 1]`."""
        graph, channels, n1, n2 = self.graph, self.channels, self.n1, self.n2
        assert self.model.stft is not None
        past = (channels, self.window - self.hop)
        joined = graph.history("stft", normed, self.hop, past, axis=1)
        frame = graph.add("Mul", joined, self.model.stft.analysis)
        stages = graph_spectrum.analysis(self.window, n1, n2)
        x = graph.add("MatMul", stages.first, graph.reshape(frame, channels, n1, n2))
        x = graph.reshape(graph.add("Mul", x, stages.twiddle), channels * n1, 4 * n2)
        x = graph.reshape(graph.add("MatMul", x, stages.second), channels, n1, 2, n2 // 2)
        spectrum = graph.reshape(graph.add("Transpose", x, perm=[0, 2, 3, 1]), channels, 2, self.bins)
        return spectrum, graph.add("MatMul", frame, graph_spectrum.alternating(self.window)[:, None])

    def _features(self, spectrum: Value) -> Value:
        """Compressed real, imaginary and magnitude parts, `[bins, channels * 3]`."""
        graph, compression = self.graph, self.model.config.compression
        squares = graph.add("ReduceSumSquare", spectrum, np.array([1]), keepdims=1)
        energy = graph.add("Add", squares, np.full(1, 1e-4, np.float32))
        magnitude = graph.add("Sqrt", energy)
        if compression == 0.5:
            root = graph.add("Sqrt", magnitude)  # a power would take ten times as long
            parts = graph.add("Div", spectrum, root)
        else:
            gain = graph.add("Pow", magnitude, np.full(1, compression - 1, np.float32))
            parts, root = graph.add("Mul", spectrum, gain), graph.add("Mul", magnitude, gain)
        features = graph.reshape(graph.add("Concat", parts, root, axis=1), 3 * self.channels, self.bins)
        return graph.add("Transpose", features, perm=[1, 0])

    def _synthesise(self, mask: Value, spectrum: Value, nyquist: Value) -> Value:
        """What the masks `[voices * parts, bins]` let through, as sound `[voices, hop]`."""
        graph, n1, n2, tail = self.graph, self.n1, self.n2, 2 * self.hop
        assert self.model.istft is not None
        masked, edge = self._masked(mask, spectrum, nyquist)
        stages = graph_spectrum.synthesis(self.window, n1, n2, tail)
        x = graph.add("MatMul", stages.first, graph.reshape(masked, self.voices, n2, n1))
        x = graph.reshape(graph.add("Mul", x, stages.twiddle), self.voices * n2, 4 * n1)
        x = graph.reshape(graph.add("MatMul", x, stages.second), self.voices, n2, tail // n2)
        frame = graph.reshape(graph.add("Transpose", x, perm=[0, 2, 1]), self.voices, tail)
        wave = graph.add("Mul", edge, graph_spectrum.alternating(tail) / np.float32(self.window))
        frame = graph.add("Mul", graph.add("Add", frame, wave), self.model.istft.synthesis)
        head, after = graph.split(frame, [self.hop, self.hop], 1)
        before = graph.state("istft", (self.voices, self.hop))
        graph.remember("istft", after)
        return graph.add("Add", head, before)

    def _masked(self, mask: Value, spectrum: Value, nyquist: Value) -> tuple[Value, Value]:
        """The stems' spectra `[stems, channels, 2, bins]`, doubled above 0, and Nyquist bins `[voices, 1]`."""
        graph, channels, hops = self.graph, self.channels, self.model.config.lookahead
        double = np.full(self.bins, 2, np.float32)
        double[0] = 1
        flat = graph.reshape(graph.add("Mul", spectrum, double), 2 * channels, self.bins)
        spectrum = graph.delay("spectrum", flat, (2 * channels, self.bins), hops)
        nyquist = graph.delay("nyquist", nyquist, (channels, 1), hops)
        spectrum = graph.reshape(spectrum, 1, channels, 2, self.bins)
        if self.model.config.complex_mask:
            parts = graph.reshape(mask, self.stems, channels, 2, self.bins)
            real, imaginary = graph.split(parts, [1, 1], 2)
            turned = self._times_i(spectrum)
            masked = graph.add("Add", graph.add("Mul", real, spectrum), graph.add("Mul", imaginary, turned))
        else:
            real = graph.reshape(mask, self.stems, channels, 1, self.bins)
            masked = graph.add("Mul", real, spectrum)
        last = graph.reshape(graph.cut(real, self.bins - 1, self.bins, 3), self.stems, channels, 1)
        return masked, graph.reshape(graph.add("Mul", last, nyquist), self.voices, 1)

    def _times_i(self, spectrum: Value) -> Value:
        """Real and imaginary parts along axis 2, of `i` times the spectrum."""
        real, imaginary = self.graph.split(spectrum, [1, 1], 2)
        return self.graph.add("Concat", self.graph.add("Neg", imaginary), real, axis=2)

    def _consistent(self, voices: Value, dry: Value) -> Value:
        """`[stems, channels, hop]`; what they miss of the mix is shared equally where that is wanted."""
        graph = self.graph
        stems = graph.reshape(voices, self.stems, self.channels, self.hop)
        if not self.model.mix_consistency:
            return stems
        return _share_missing(graph, stems, dry, self.stems)
