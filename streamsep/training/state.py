"""The resumable state of a run: replaced in one move, read without running code; one file, or parts of limited size."""

from __future__ import annotations

import hashlib
import io
import json
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from streamsep.errors import StreamsepError
from streamsep.files import staged
from streamsep.training.optimiser import Average, Optimiser

_CURE = "choose another --out"
# What reading a state raises where it is none, or of another model.
_DAMAGED = (OSError, EOFError, RuntimeError, ValueError, TypeError, LookupError, AttributeError, pickle.UnpicklingError)


@dataclass
class Progress:
    """Counters that outlive a resumption.

    Attributes:
        step: steps done.
        elapsed: seconds of training.
        best: best validation so far, dB.
        skipped: steps left out for want of a finite gradient.
        validated: `elapsed` at the last validation.
        score: what it found, for the checkpoint's record.
    """

    step: int = 0
    elapsed: float = 0.0
    best: float = float("-inf")
    skipped: int = 0
    validated: float = 0.0
    score: dict[str, Any] | None = None


def save_state(
    path: Path,
    model: nn.Module,
    average: Average,
    optimiser: Optimiser,
    progress: Progress,
    *,
    part_megabytes: float | None = None,
) -> None:
    """Write all that the next step depends on.

    Args:
        path: of the state. In parts, the file of this name is a list of those beside it, and is written last.
        part_megabytes: largest size of a file (10^6 bytes); one file if None.
    """
    state = {
        "model": model.state_dict(),
        "average": average.model.state_dict(),
        "updates": average.updates,
        "optimiser": optimiser.state_dict(),
        "progress": vars(progress),
    }
    if part_megabytes is None:
        with staged([path], _CURE) as (temporary,):
            torch.save(state, temporary)
        for part in _parts(path):  # of a save in parts, which this one replaces
            part.unlink()
    else:
        memory = io.BytesIO()
        torch.save(state, memory)
        _write_parts(path, memory.getvalue(), int(part_megabytes * 1e6), progress.step)


def load_state(path: Path, model: nn.Module, average: Average, optimiser: Optimiser) -> Progress:
    """Put a saved state back.

    Raises:
        StreamsepError: the file is damaged or belongs to another model.
    """
    try:
        state: dict[str, Any] = torch.load(io.BytesIO(_read(path)), map_location="cpu", weights_only=True)
        model.load_state_dict(state["model"])
        average.model.load_state_dict(state["average"])
        given = [{name: group[name] for name in group.keys() - {"params", "lr"}} for group in optimiser.param_groups]
        optimiser.load_state_dict(state["optimiser"])
        for group, options in zip(optimiser.param_groups, given, strict=True):
            group.update(options)  # what the configuration says now
        average.updates = state["updates"]
        return Progress(**state["progress"])
    except _DAMAGED as error:
        reason = " ".join(str(error).split())[:200]
        raise StreamsepError(f"cannot resume from {path} ({reason}); start anew with --restart") from None


def remove_state(path: Path) -> None:
    """Take a state and its parts away."""
    for file in [path, *_parts(path)]:
        file.unlink(missing_ok=True)


def _write_parts(path: Path, data: bytes, size: int, step: int) -> None:
    """New parts beside the old ones, then the list, then the old parts go: there is a whole state at any moment."""
    old = _parts(path)
    digest = hashlib.sha256(data).hexdigest()
    count = -(-len(data) // size)
    files = [path.with_name(f"{path.stem}-{step}-{digest[:8]}-{i}.part{path.suffix}") for i in range(count)]
    with staged(files, _CURE) as temporaries:
        for i, file in enumerate(temporaries):
            file.write_bytes(data[i * size : (i + 1) * size])
    contents = {"parts": [file.name for file in files], "sha256": digest}
    with staged([path], _CURE) as (temporary,):
        temporary.write_text(json.dumps(contents, indent=1) + "\n")
    for file in set(old) - set(files):
        file.unlink()


def _parts(path: Path) -> list[Path]:
    return sorted(path.parent.glob(f"{path.stem}-*-*.part{path.suffix}"))


def _read(path: Path) -> bytes:
    data = path.read_bytes()
    if not data.startswith(b"{"):
        return data
    contents = json.loads(data)
    data = b"".join((path.parent / Path(name).name).read_bytes() for name in contents["parts"])
    if hashlib.sha256(data).hexdigest() != contents["sha256"]:
        raise ValueError("its parts are not from the same save")
    return data
