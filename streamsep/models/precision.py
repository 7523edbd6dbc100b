"""Offline models in narrower numbers, and compiled: quicker where the machine has instructions or a compiler for it.

Spectrograms, norms and sums stay float32 throughout. How far results move is measured in `benchmarks/offline.py`.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal

import torch
from torch import nn

from streamsep.errors import StreamsepError
from streamsep.models.htdemucs import HTDemucs

Precision = Literal["fp32", "bf16"]


def reduced(device: torch.device, precision: Precision) -> AbstractContextManager[object]:
    """Where `precision` is bf16: convolutions, matrix products and attention in bfloat16 while it lasts."""
    if precision != "bf16":
        return nullcontext()
    return torch.autocast(device.type, torch.bfloat16)


def quantise(model: nn.Module) -> nn.Module:
    """Linear layers of the transformer with 8-bit weights and activations, scaled anew for each input; in place.

    Raises:
        StreamsepError: the model is not on a CPU, or torch has no such layers on this one.
    """
    from torch.ao.quantization import quantize_dynamic

    device = next(model.parameters()).device
    if device.type != "cpu" or torch.backends.quantized.engine == "none":
        raise StreamsepError(f"int8 is for CPUs of PCs and does not run on {device}; choose --precision bf16")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch means to move these layers to another package
        quantised: nn.Module = quantize_dynamic(model, {nn.Linear}, torch.qint8, inplace=True)
    return quantised


def compile_networks(model: nn.Module, backend: str | Callable[..., Any] = "inductor") -> None:
    """Compile what lies between the transforms of `model`, or of each member of a bag, at its first segment.

    Args:
        backend: of `torch.compile`; inductor needs a C++ compiler, and Triton on CUDA.

    Raises:
        StreamsepError: there is no such network in the model.
    """
    parts = [part for part in model.modules() if isinstance(part, HTDemucs)]
    if not parts:
        raise StreamsepError(f"a model of the class {type(model).__name__} is not compiled; leave out --compile")
    for part in parts:
        part.network = compiled(part.network, "leave out --compile", backend=backend)  # type: ignore[method-assign]


def compiled(function: Callable[..., Any], cure: str, **options: Any) -> Callable[..., Any]:
    """`function`, compiled by torch at its first call.

    Args:
        cure: what to do where it cannot be, as without a C++ compiler: the end of the sentence that is raised then.
        options: of `torch.compile`.
    """
    quick = torch.compile(function, **options)

    def told(*args: Any, **named: Any) -> Any:
        try:
            return quick(*args, **named)
        except RuntimeError as error:
            from torch._dynamo.exc import TorchDynamoException

            if not isinstance(error, TorchDynamoException):
                raise
            reason = str(getattr(error, "inner_exception", error)).strip().splitlines()[0]
            raise StreamsepError(
                f"the model cannot be compiled ({reason}); {cure}, or install a C++ compiler"
            ) from None

    return told
