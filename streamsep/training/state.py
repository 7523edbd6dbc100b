"""The resumable state of a run: one file, replaced in one move, read without running code."""

from __future__ import annotations

import os
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from streamsep.errors import StreamsepError
from streamsep.training.optimiser import Average


@dataclass
class Progress:
    """Counters that outlive a resumption: steps done, seconds of training, best validation in dB so far."""

    step: int = 0
    elapsed: float = 0.0
    best: float = float("-inf")
    skipped: int = 0


def save_state(
    path: Path, model: nn.Module, average: Average, optimiser: torch.optim.Optimizer, progress: Progress
) -> None:
    """Write all that the next step depends on."""
    state = {
        "model": model.state_dict(),
        "average": average.model.state_dict(),
        "updates": average.updates,
        "optimiser": optimiser.state_dict(),
        "progress": vars(progress),
    }
    partial = path.with_name(path.name + ".part")
    torch.save(state, partial)
    os.replace(partial, path)


def load_state(path: Path, model: nn.Module, average: Average, optimiser: torch.optim.Optimizer) -> Progress:
    """Put a saved state back.

    Raises:
        StreamsepError: the file is damaged or belongs to another model.
    """
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        model.load_state_dict(state["model"])
        average.model.load_state_dict(state["average"])
        optimiser.load_state_dict(state["optimiser"])
    except (OSError, RuntimeError, KeyError, ValueError, EOFError, pickle.UnpicklingError) as error:
        reason = " ".join(str(error).split())[:200]
        raise StreamsepError(f"cannot resume from {path} ({reason}); start anew with --restart") from None
    average.updates = state["updates"]
    return Progress(**state["progress"])
