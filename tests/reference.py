"""The reference package's models, and the signals that ours are compared with them on.

The reference is `demucs==4.1.0`, a test-only dependency (see requirements-reference.txt). Tests that need
it are skipped where it is not installed, or fail there if STREAMSEP_REQUIRE_REFERENCE=1.
"""

from __future__ import annotations

import importlib
import os
import warnings
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
import soundfile
import torch
from torch import Tensor, nn

from streamsep.models.htdemucs import HTDemucs
from streamsep.models.official import config_from_official

FOUR = ("drums", "bass", "other", "vocals")
SIX = (*FOUR, "guitar", "piano")
EXAMPLE = Path(__file__).parent.parent / "examples" / "lithium" / "mix.ogg"

# Arguments of the reference's constructor that differ from its defaults, by preset.
OFFICIAL: dict[str, dict[str, Any]] = {
    "htdemucs": {
        "sources": FOUR,
        "dconv_mode": 3,
        "bottom_channels": 512,
        "t_dropout": 0.02,
        "multi_freqs": [],
        "segment": Fraction(39, 5),
    },
    "htdemucs_6s": {"sources": SIX, "dconv_mode": 3, "multi_freqs": [], "segment": Fraction(39, 5)},
    "htdemucs-small": {
        "sources": FOUR,
        "channels": 16,
        "dconv_mode": 3,
        "t_layers": 3,
        "t_heads": 4,
        "segment": Fraction(39, 5),
    },
}
TINY: dict[str, Any] = {
    "sources": FOUR,
    "channels": 8,
    "nfft": 2048,
    "dconv_mode": 3,
    "bottom_channels": 32,
    "t_layers": 3,
    "t_heads": 4,
    "segment": 0.5,
}


def reference_module(name: str) -> Any:
    """Import a module of the reference package, or skip (or fail) the test that asks for it."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return importlib.import_module(f"demucs.{name}")
    except ImportError as error:
        reason = f"no reference package ({error}); pip install --no-deps -r requirements-reference.txt"
        if os.environ.get("STREAMSEP_REQUIRE_REFERENCE") == "1":
            pytest.fail(reason)
        pytest.skip(reason)


def reference_model(seed: int = 0, **kwargs: Any) -> nn.Module:
    """A reference HTDemucs, randomly initialised; no vector of its parameters is left at zero, one or near.

    As they start, the layer scales would hide whatever is wrong behind them, and so would neutral norms.
    """
    build = reference_module("htdemucs").HTDemucs
    with torch.random.fork_rng(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.manual_seed(seed)
        model: nn.Module = build(**kwargs)
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if name.endswith("scale"):
                    parameter.uniform_(0.3, 1.0)
                elif parameter.dim() == 1:
                    parameter.add_(0.2 * torch.randn_like(parameter))
    return model


def twins(seed: int = 0, **kwargs: Any) -> tuple[nn.Module, HTDemucs]:
    """A reference model and ours with the same weights, both in evaluation mode."""
    reference = reference_model(seed, **kwargs).eval()
    ours = HTDemucs(config_from_official(**kwargs)).eval()
    ours.load_state_dict(reference.state_dict(), strict=True)
    return reference, ours


def call_reference(function: Any, *args: Any, **kwargs: Any) -> Tensor:
    """Call into the reference without gradients, with its warnings ignored."""
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        result: Tensor = function(*args, **kwargs)
    return result


def relative_error(ours: Tensor, reference: Tensor) -> float:
    """Norm of the difference over the norm of the reference; the shapes must agree."""
    assert ours.shape == reference.shape
    return float((ours - reference).norm() / reference.norm())


def noise(shape: Sequence[int], seed: int = 0) -> Tensor:
    """White noise of deviation 0.1."""
    return 0.1 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def music(samples: int, start: float = 4.0) -> Tensor:
    """`samples` of the example song from `start` seconds on: [1, 2, samples] at 44.1 kHz."""
    rate = soundfile.info(EXAMPLE).samplerate
    audio, _ = soundfile.read(EXAMPLE, frames=samples, start=int(start * rate), dtype="float32", always_2d=True)
    return torch.from_numpy(audio.T.copy())[None]
