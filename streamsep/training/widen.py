"""A wider and deeper model that answers as a narrower one does: what a run may start from, in place of random weights.

Every channel is there several times, and whoever listens to it takes unequal parts of each copy, so that the copies
learn different things (T. Chen et al. 2016, arXiv:1511.05641, "Net2Net", with shares drawn at random). Norms see the
same mean and variance, attention the same heads more often. Further layers, residual blocks and gated convolutions pass
on at first what comes in.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from streamsep.layers.attention import Attention
from streamsep.layers.dconv import Block
from streamsep.models.causal_bottleneck import FeedForward
from streamsep.models.causal_config import CausalConfig
from streamsep.models.causal_htdemucs import CausalHTDemucs
from streamsep.models.full_band import FullBand

_UNEVEN = 0.25  # standard deviation of a copy's share about its mean, times the number of copies
_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d)
_LAST: dict[type, str] = {Attention: "out", FeedForward: "down"}  # what a transformer's part adds comes from here
_LISTENERS = (nn.Linear, nn.Conv1d, nn.Conv2d, *_TRANSPOSED)
_NUMBER = re.compile(r"(coders\.\d+)\.layers\.\d+")
_NEW = re.compile(r"full_band\.|transformer\.layers\.|.+\.blocks\.\d+\.|.+\.encoders\.\d+\.layers\.\d+\.function\.0\.")


def unnumbered(name: str) -> str:
    """The name of a weight without the number of its layer in a level.

    Which layers a level has is a matter of its configuration; their kinds tell them apart.
    """
    return _NUMBER.sub(r"\1", name)


def widen(narrow: CausalHTDemucs, wide: CausalHTDemucs, seed: int = 0) -> None:
    """Give `wide` weights with which it answers as `narrow`.

    Args:
        narrow: a causal model with attention.
        wide: one of the same class whose channels, dim and heads are whole multiples, level by level, and which may
            have more: layers of its transformer, residual blocks, encoders' gated convolutions, a full band.

    Raises:
        ValueError: it is not.
    """
    if (differing := _differing(narrow.config, wide.config)) is not None:
        raise ValueError(f"they differ in {differing}")
    if {width for _, (_, width) in _heads(narrow)} != {width for _, (_, width) in _heads(wide)}:
        raise ValueError("the heads of its attention must be as wide, and more of them")
    before = {unnumbered(name): weight for name, weight in narrow.state_dict().items()}
    listening, groups = _listening(wide), dict(_heads(wide)) | dict(_tokens(wide))
    generator = torch.Generator().manual_seed(seed)
    new = []
    with torch.no_grad():
        for name, weight in wide.state_dict().items():
            old = before.pop(unnumbered(name), None)
            if old is None:
                new.append(name)
            else:
                weight.copy_(_copied(old, weight, listening.get(name), groups.get(name, ()), generator))
        _pass_on(wide, new)
    if before:
        raise ValueError(f"the wider model has no {next(iter(before))}")


def _differing(narrow: CausalConfig, wide: CausalConfig) -> str | None:
    """What of two configurations must be alike and is not: what is heard of the mix, and in which steps."""
    for name in (
        "hop",
        "window",
        "sample_rate",
        "audio_channels",
        "sources",
        "compression",
        "complex_mask",
        "branches",
    ):
        if getattr(narrow, name) != getattr(wide, name):
            return name
    for branch in narrow.domains:
        if getattr(narrow, branch).strides != getattr(wide, branch).strides:
            return f"the strides of the {branch} branch"
    return None


def _pass_on(model: nn.Module, new: list[str]) -> None:
    """Let the parts whose weights are `new` answer what they are asked, or add nothing to it."""
    for name in new:
        if not _NEW.match(name):
            raise ValueError(f"the narrower model has no {name}")
    for path in {name.rpartition(".")[0] for name in new}:
        parent, _, own = path.rpartition(".")
        part, around = model.get_submodule(path), model.get_submodule(parent)
        if isinstance(part, Block):
            nn.init.zeros_(part.scale)
        elif isinstance(around, FullBand) or own == _LAST.get(type(around)):
            for parameter in part.parameters():
                nn.init.zeros_(parameter)
        elif ".function" in path:
            _twice_the_half(part)


def _twice_the_half(gated: nn.Module) -> None:
    """A convolution before a GLU, so that both together change nothing: `2 x sigmoid(0)`."""
    assert isinstance(gated, (nn.Conv1d, nn.Conv2d)) and gated.bias is not None
    nn.init.zeros_(gated.bias)
    nn.init.zeros_(gated.weight)
    nn.init.eye_(gated.weight[: gated.in_channels].flatten(1)).mul_(2)


def _listening(model: nn.Module) -> dict[str, int]:
    """The axis of its inputs, by name of each matrix or kernel."""
    return {
        f"{name}.weight": 0 if isinstance(part, _TRANSPOSED) else 1
        for name, part in model.named_modules()
        if isinstance(part, _LISTENERS)
    }


def _heads(model: nn.Module) -> Iterator[tuple[str, tuple[int, int]]]:
    """`(axis, width of a head)` of the weights that have heads along an axis."""
    for name, part in model.named_modules():
        if isinstance(part, Attention):
            width = part.out.in_features // part.heads
            yield f"{name}.out.weight", (1, width)
            for kind in ("queries", "keys_values"):
                yield f"{name}.{kind}.weight", (0, width)
                yield f"{name}.{kind}.bias", (0, width)


def _tokens(model: nn.Module) -> Iterator[tuple[str, tuple[int, int]]]:
    """`(axis, tokens of a channel)` of the weights that have channels of several tokens along an axis."""
    for name, part in model.named_modules():
        if isinstance(part, FullBand):
            for kind, axis in (("hearing.weight", 0), ("hearing.bias", 0), ("answering.weight", 1)):
                yield f"{name}.{kind}", (axis, part.deep[1])


def _copied(
    old: Tensor, new: Tensor, listening: int | None, group: tuple[int, ...], generator: torch.Generator
) -> Tensor:
    """`old` in the shape of `new`, every channel beside its copies (heads, and a channel's tokens, as a whole)."""
    if old.dim() != new.dim():
        raise ValueError(f"weights of shape {tuple(old.shape)} do not become {tuple(new.shape)}")
    for axis, (few, many) in enumerate(zip(old.shape, new.shape, strict=True)):
        copies, rest = divmod(many, few)
        if rest:
            raise ValueError(f"{many} channels are no multiple of {few}")
        if copies == 1:
            continue
        width = group[1] if group and group[0] == axis else 1
        old = old.unflatten(axis, (-1, width)).repeat_interleave(copies, axis).flatten(axis, axis + 1)
        if axis == listening:
            old = old * _shares(old, axis, copies, width, generator)
    return old


def _shares(x: Tensor, axis: int, copies: int, width: int, generator: torch.Generator) -> Tensor:
    """A factor for every element of `x`; those of the copies of one channel sum to one."""
    shape = list(x.unflatten(axis, (-1, copies, width)).shape)
    shares = 1 + _UNEVEN * torch.randn(shape, generator=generator)
    shares = shares - shares.mean(axis + 1, keepdim=True) + 1
    return (shares / copies).flatten(axis, axis + 2)
