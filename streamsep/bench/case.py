"""What is to be measured: a model by name, and how it is run."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from torch import nn

from streamsep import __version__
from streamsep.engine.executor import Executor, make_executor
from streamsep.errors import StreamsepError
from streamsep.models.checkpoint import find_model_file, read_record
from streamsep.models.load import as_separator
from streamsep.models.registry import build_preset, find_weights, load_model, preset_names
from streamsep.models.tuning import this_place


@dataclass(frozen=True)
class Case:
    """One way to run one model.

    Attributes:
        model: a preset or a checkpoint; a preset without weights gets random ones, of which times do not depend.
        executor: as `make_executor` knows it; device: as torch does.
        batch: streams that are stepped together; threads: of the CPU, for one operator.
        precision: of the networks, where the executor has a choice; None: its own.
        lookahead, window, hop: in seconds: see `load_separator`.
    """

    model: str
    executor: str = "auto"
    device: str = "cpu"
    batch: int = 1
    threads: int = 1
    precision: str | None = None
    lookahead: float | None = None
    window: float | None = None
    hop: float | None = None

    def open(self) -> Executor:
        """The executor, ready to step.

        Raises:
            StreamsepError: as `load_model`, `as_separator` and `make_executor`; several threads for one that has one.
        """
        sliding = {"lookahead": self.lookahead, "window": self.window, "hop": self.hop}
        separator = as_separator(load_or_build(self.model, self.device), self.model, **sliding, threads=self.threads)
        options = {"batch": self.batch, "device": self.device, "precision": self.precision}
        executor = make_executor(self.executor, separator, **options)  # type: ignore[arg-type]
        if executor.name == "onnx" and self.threads > 1:
            raise StreamsepError("the executor onnx runs on one thread; leave --threads out or use --executor eager")
        return executor


def load_or_build(name: str, device: str = "cpu") -> nn.Module:
    """The model called `name`; a preset without weights with random ones, always the same."""
    if is_trained(name):
        return load_model(name, device=device)
    torch.manual_seed(0)
    return build_preset(name).eval().to(device)


def is_trained(name: str) -> bool:
    """Whether there are weights (or nothing of the name that could be built without)."""
    return name not in preset_names() or find_weights(name) is not None


def recorded_sdr(name: str) -> float | None:
    """Mean SDR of the stems in dB on the validation excerpts, by the record of the weights; None where it has none."""
    path = find_model_file(find_weights(name) or Path(name)) if is_trained(name) else None
    if path is None or path.suffix != ".safetensors":
        return None
    scores = read_record(path).get("training", {}).get("validation", {}).get("sdr", {})
    return sum(scores.values()) / len(scores) if scores else None


def machine(device: str = "cpu") -> dict[str, Any]:
    """Where it is measured, and with which versions."""
    return {
        "machine": this_place(device).machine,
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "streamsep": __version__,
        "torch": torch.__version__,
        "onnxruntime": _version("onnxruntime"),
        "load": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
    }


def pin(core: int) -> None:
    """Keep this thread, and threads that it starts, on one core.

    Raises:
        StreamsepError: a system that cannot, or no such core.
    """
    if not hasattr(os, "sched_setaffinity"):
        raise StreamsepError("this system pins no process to a core; leave --core out")
    allowed = sorted(os.sched_getaffinity(0))
    if core not in allowed:
        raise StreamsepError(f"there is no core {core} here; choose one of {', '.join(map(str, allowed))}")
    os.sched_setaffinity(0, {core})


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
