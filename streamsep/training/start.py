"""What a run starts from: rescaled random weights, a checkpoint, or what fits of a checkpoint of another class."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from streamsep.errors import StreamsepError
from streamsep.models.causal_htdemucs import CausalHTDemucs
from streamsep.models.registry import load_model
from streamsep.training.widen import unnumbered, widen

_OFFLINE = re.compile(
    r"(?P<time>t?)(?P<side>encoder|decoder)\.(?P<level>\d+)\.(?P<kind>conv|conv_tr|rewrite)\.(?P<rest>\w+)"
)
_KINDS = {"conv": "conv", "conv_tr": "conv", "rewrite": "function.0"}
_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.ConvTranspose1d, nn.ConvTranspose2d)


def rescale(model: nn.Module, reference: float) -> None:
    """Bring convolutions closer to a standard deviation of `reference`; those that start at zero stay there.

    Weights and biases are divided by sqrt(std / reference) (Défossez et al. 2019, arXiv:1909.01174, section 3.3). The
    offline model does so by itself.
    """
    for layer in model.modules():
        if isinstance(layer, _CONVOLUTIONS) and bool(layer.weight.any()):
            with torch.no_grad():
                scale = (layer.weight.std() / reference) ** 0.5
                layer.weight /= scale
                if layer.bias is not None:
                    layer.bias /= scale


def freeze(model: nn.Module, parts: Sequence[str]) -> None:
    """Let the weights of the named parts of `model` be as they are.

    Raises:
        StreamsepError: there is no such part, or nothing is left to learn.
    """
    for name in parts:
        try:
            model.get_submodule(name).requires_grad_(False)
        except AttributeError:
            known = ", ".join(child for child, _ in model.named_children())
            raise StreamsepError(f"frozen names {name!r}, which the model does not have; it has {known}") from None
    if not any(weight.requires_grad for weight in model.parameters()):
        raise StreamsepError("frozen leaves no weight to learn; name fewer parts")


def take_over(model: nn.Module, start: nn.Module) -> None:
    """Give `model` the weights of one of the same architecture, or of a narrower one: see `widen`.

    Raises:
        ValueError: it is neither.
    """
    if type(start) is type(model) is CausalHTDemucs:
        widen(start, model)
        return
    try:
        model.load_state_dict(start.state_dict())
    except RuntimeError as error:
        raise ValueError(str(error)) from None


def start_from(model: nn.Module, given: str | Path) -> None:
    """Take over the weights of the model `given` (name or path): of the same architecture, or narrower (see `widen`).

    Raises:
        StreamsepError: it is of another, or cannot be read.
    """
    try:
        take_over(model, load_model(given))
    except ValueError as error:
        reason = str(error).splitlines()[0]
        raise StreamsepError(
            f"{given} is another model than the configuration's, and no narrower one ({reason}); choose another --init"
        ) from None


def take_matching(model: nn.Module, given: str | Path) -> str:
    """Take over each weight of the model `given` (name or path) that has the same role and shape in `model`.

    The role is the name; between an offline and a causal model it is the place in the U-Net, of strided, transposed and
    encoders' gated convolutions.

    Returns:
        What was taken, as text.

    Raises:
        StreamsepError: nothing fits, or the checkpoint cannot be read.
    """
    offered = {role(name): value for name, value in load_model(given).state_dict().items()}
    own = model.state_dict()
    taken = {
        name: other for name, value in own.items() if (other := _fitting(offered.get(role(name)), value)) is not None
    }
    if not taken:
        raise StreamsepError(f"no weight of {given} fits the model of the configuration; choose another checkpoint")
    model.load_state_dict({**own, **taken})
    count, total = (sum(value.numel() for value in state.values()) for state in (taken, own))
    lines = "\n".join(f"  {name} {list(value.shape)}" for name, value in taken.items())
    return f"{lines}\ntaken from {given}: {len(taken)} of {len(own)} weights, {count / total:.0%} of their values"


def role(name: str) -> str:
    """The name of a weight, that of an offline model's convolution as a causal model would call it, without places."""
    if match := _OFFLINE.fullmatch(name):
        branch = "waveform" if match["time"] else "spectrogram"
        return f"{branch}.{match['side']}s.{match['level']}.{_KINDS[match['kind']]}.{match['rest']}"
    return unnumbered(name)


def _fitting(given: Tensor | None, value: Tensor) -> Tensor | None:
    return given if given is not None and given.shape == value.shape else None
