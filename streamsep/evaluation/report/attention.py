"""Where the two branches of a hybrid model listen to each other: cross-attention maps of chosen heads, over an excerpt.

For each head two maps: from time to frequency, what the waveform branch hears of the spectrogram branch, and from
frequency to time, the reverse (the maps of Rouard et al., "Hybrid Transformers for Music Source Separation", 2023).
Rows are the moments that ask, columns those that are heard; the tokens of one spectrogram frame are averaged (asking)
or added up (heard), so that each row sums to one. `bands` says which spectrogram tokens the waveform branch hears.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from streamsep.evaluation.material import Waves
from streamsep.evaluation.systems import System, load
from streamsep.layers.attention import full_pass
from streamsep.layers.ring import band, token_mask
from streamsep.models.apply import mean_and_level
from streamsep.models.bag import BagOfModels

SECONDS = 4.0
FRAMES = 400  # at most: memory grows with their square
_SIZE = 256  # rows and columns of a picture
TO_FREQUENCY, TO_TIME = "time to frequency", "frequency to time"


@dataclass(frozen=True)
class Map:
    """One head's map.

    Attributes:
        layer: among the layers that cross, from 0.
        weights: `[frames that ask, frames that are heard]`, rows summing to one.
        bands: `[tokens, frames that ask]`, of time to frequency only.
    """

    layer: int
    head: int
    direction: str
    weights: Tensor
    bands: Tensor | None = None


@torch.inference_mode()
def attention_maps(model: nn.Module, mix: Tensor, heads: Sequence[tuple[int, int]]) -> list[Map]:
    """Maps of `heads` while `mix [2, T]` is separated; empty for a model without cross-attention.

    Args:
        heads: (layer, head) pairs; negative numbers count from the end.
    """
    member = model.models[0] if isinstance(model, BagOfModels) else getattr(model, "forwards", model)
    if hasattr(getattr(member, "transformer", None), "think"):
        captured = list(_causal(member, mix))
    elif hasattr(getattr(member, "crosstransformer", None), "layers"):
        captured = list(_offline(member, mix))
    else:
        return []
    return [each for layer, head in heads for each in _chosen(captured, layer, head)]


@dataclass(frozen=True)
class _Heard:
    """Weights `[heads, queries, keys]` of one layer and direction; tokens of a frame that asks and that is heard."""

    direction: str
    weights: Tensor
    asking: int
    heard: int


def _chosen(captured: Sequence[_Heard], layer: int, head: int) -> Iterator[Map]:
    for direction in (TO_FREQUENCY, TO_TIME):
        layers = [each for each in captured if each.direction == direction]
        if not layers or not -len(layers) <= layer < len(layers):
            continue
        each = layers[layer]
        if not -len(each.weights) <= head < len(each.weights):
            continue
        frames = each.weights[head].unflatten(0, (-1, each.asking)).unflatten(-1, (-1, each.heard))
        bands = frames.sum(2).mean(1).T if direction == TO_FREQUENCY else None
        yield Map(layer % len(layers), head % len(each.weights), direction, frames.mean(1).sum(-1), bands)


def _causal(model: Any, mix: Tensor) -> Iterator[_Heard]:
    """The causal transformer, run again on the bottleneck it was given, with ears on its cross-attention.

    Nothing where there is less than a hop of sound.
    """
    if mix.shape[-1] < model.hop:
        return iter(())
    given: list[Any] = []
    hook = model.transformer.register_forward_pre_hook(lambda _, inputs: given.append(inputs[0]))
    try:
        model(mix[None, :, : mix.shape[-1] // model.hop * model.hop])
    finally:
        hook.remove()
    transformer, captured = model.transformer, []

    def hear(attention: Any, x: Tensor, other: Tensor, domains: tuple[int, int], lookahead: int) -> Tensor:
        if domains[0] != domains[1]:
            positions = torch.arange(x.shape[1])[None]
            keys, _ = attention.project(other, transformer.rotary(positions))
            queries = attention.ask(x, transformer.rotary(positions))
            mask = token_mask(band(positions, positions, transformer.context, 0), x.shape[2], other.shape[2])
            scores = queries[0] @ keys.flatten(2, 3)[0].mT / queries.shape[-1] ** 0.5
            weights = scores.masked_fill(~mask.flatten(0, -3)[0], -torch.inf).softmax(-1)
            direction = TO_TIME if domains[0] == 0 else TO_FREQUENCY
            captured.append(_Heard(direction, weights, x.shape[2], other.shape[2]))
        return full_pass(attention, x, other, transformer.rotary, transformer.context, lookahead)

    if given:
        transformer.think(given[0], None, hear)
    return iter(captured)


def _offline(model: Any, mix: Tensor) -> Iterator[_Heard]:
    """The offline transformer's crossing layers, one stack a direction, watched while the model runs."""
    mean, level = mean_and_level(mix[None])
    captured: list[_Heard] = []
    stacks = (TO_TIME, model.crosstransformer.layers), (TO_FREQUENCY, model.crosstransformer.layers_t)
    lengths: list[tuple[int, int]] = []
    hooks = [
        model.crosstransformer.register_forward_pre_hook(lambda _, x: lengths.append((x[0].shape[2], x[1].shape[2])))
    ]

    def watch(direction: str) -> Any:
        def hook(attention: Any, inputs: tuple[Tensor, Tensor], _: Tensor) -> None:
            rows, _times = lengths[-1]
            tokens = (rows, 1) if direction == TO_TIME else (1, rows)
            captured.append(_Heard(direction, _weights(attention, *inputs), *tokens))

        return hook

    for direction, layers in stacks:
        hooks += [
            layer.cross_attn.register_forward_hook(watch(direction)) for layer in layers if hasattr(layer, "cross_attn")
        ]
    try:
        model(((mix[None] - mean) / level)[..., : model.max_length])
    finally:
        for each in hooks:
            each.remove()
    return iter(captured)


def _weights(attention: Any, query: Tensor, memory: Tensor) -> Tensor:
    """`[heads, T, S]` of an offline attention."""
    width = query.shape[-1]
    q = nn.functional.linear(query, attention.in_proj_weight[:width], attention.in_proj_bias[:width])
    k = nn.functional.linear(
        memory, attention.in_proj_weight[width : 2 * width], attention.in_proj_bias[width : 2 * width]
    )
    q, k = (x.unflatten(-1, (attention.heads, -1)).transpose(1, 2)[0] for x in (q, k))
    return (q @ k.mT / q.shape[-1] ** 0.5).softmax(-1)


def write_attention(system: System, mix: Waves, heads: Sequence[tuple[int, int]], folder: Path) -> list[dict[str, Any]]:
    """Write the maps of a system over the beginning of an excerpt `[n, 2]` as pictures; returns what they show."""
    from streamsep.evaluation.report.excerpts import write_picture

    model = load(replace(system, device="cpu"))  # for four seconds: all around it is there too
    rate = int(model.sample_rate)
    longest = FRAMES * model.hop if hasattr(model, "hop") else len(mix)
    samples = torch.from_numpy(np.array(mix[: min(round(SECONDS * rate), longest)].T))
    facts = []
    for each in attention_maps(model, samples, heads):
        name = f"attention-{each.layer}-{each.head}-{each.direction.replace(' ', '-')}"
        _write_map(folder / f"{name}.webp", each.weights.flip(0), write_picture)
        fact = {"layer": each.layer, "head": each.head, "direction": each.direction, "file": f"{name}.webp"}
        if each.bands is not None:
            _write_map(folder / f"{name}-bands.webp", each.bands, write_picture)
            fact["bands"] = f"{name}-bands.webp"
        facts.append(fact | {"seconds": samples.shape[-1] / rate})
    return facts


def _write_map(path: Path, weights: Tensor, write: Any) -> None:
    """The square root of each weight over that of the highest; the first row at the bottom."""
    small = weights
    if max(weights.shape) > _SIZE:
        target = tuple(min(size, _SIZE) for size in weights.shape)
        small = nn.functional.adaptive_max_pool2d(weights[None, None], target)[0, 0]
    write(path, (small / small.max().clamp_min(1e-12)).sqrt().numpy(), 0.0, 1.0, "viridis")
