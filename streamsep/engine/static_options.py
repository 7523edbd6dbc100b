"""How the static executor computes, and the environment variables that overrule it."""

from __future__ import annotations

import os
from dataclasses import dataclass

import torch

from streamsep.errors import StreamsepError

PRECISION, COMPILE, SIDE_BY_SIDE = "STREAMSEP_PRECISION", "STREAMSEP_COMPILE", "STREAMSEP_SIDE_BY_SIDE"

# Greatest difference of a stem from a float32 step by absolute value, for sound within +-1: several times what a test
# measures of the shipped model on music. TF32 keeps ten bits of a float32, as float16 does.
TOLERANCES = {"float32": 1e-5, "tf32": 2e-3, "bfloat16": 1e-2, "float16": 2e-3}
TYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True)
class StaticOptions:
    """How a step is computed.

    Attributes:
        precision: of the networks: float32 (to the last bit), tf32 (products of a GPU in TF32), bfloat16 or float16.
            Transforms, level, masks and synthesis are float32 in any case.
        compiled: by torch.compile, which fuses what lies between products. It takes minutes at the first chunk of each
            length, and a C compiler.
        side_by_side: what the two branches do apart from each other overlaps in a CUDA graph.
    """

    precision: str = "float32"
    compiled: bool = False
    side_by_side: bool = False

    def __post_init__(self) -> None:
        if self.precision not in TOLERANCES:
            raise StreamsepError(f"unknown precision {self.precision!r}; choose one of {', '.join(TOLERANCES)}")

    @property
    def products(self) -> str:
        """Of float32 matrices on a GPU, as PyTorch calls it."""
        return "tf32" if self.precision == "tf32" else "ieee"


def overruled(options: StaticOptions) -> StaticOptions:
    """The options with what STREAMSEP_PRECISION, STREAMSEP_COMPILE and STREAMSEP_SIDE_BY_SIDE (0 or 1) say instead."""

    def switch(name: str, value: bool) -> bool:
        return os.environ.get(name, str(int(value))) == "1"

    return StaticOptions(
        os.environ.get(PRECISION) or options.precision,
        switch(COMPILE, options.compiled),
        switch(SIDE_BY_SIDE, options.side_by_side),
    )
