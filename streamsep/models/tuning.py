"""What a step of a sliding model takes on this machine, and which window and hop follow from it.

A step separates one window, so its time depends on the window alone. It must be done within a hop: the slowest steps
that were measured, with a margin on top, give the shortest hop that a window allows. Of the windows whose delay is
small enough, the longest is chosen: the model then knows most of what came before.
"""

from __future__ import annotations

import hashlib
import math
import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import yaml

from streamsep.config import load_yaml, to_dict
from streamsep.errors import StreamsepError
from streamsep.files import staged
from streamsep.models.checkpoint import find_model_file
from streamsep.models.registry import cache_folder, find_weights
from streamsep.models.sliding import Windowing, windowing

# Hops are whole multiples of this many samples, a common device block.
GRAIN = 256
LEAST_DELAY = 1.0  # seconds of delay that are not worth a shorter window


@dataclass(frozen=True)
class Place:
    """What times were measured on.

    Attributes:
        machine: processor, and how many of it; of a GPU its name.
        device: as torch names it.
        threads: CPU threads of an operator.
    """

    machine: str
    device: str = "cpu"
    threads: int = 1


@dataclass(frozen=True)
class StepTimes:
    """How long steps over one window took.

    Attributes:
        window: samples.
        steps: how many were measured.
        p50, p99, p999: percentiles, in seconds; of fewer than a thousand steps, p999 is close to the slowest.
    """

    window: int
    steps: int
    p50: float
    p99: float
    p999: float

    def hop(self, margin: float, sample_rate: int) -> int:
        """The shortest hop, in samples, that all but a thousandth of the steps leave a part `margin` of unused."""
        return GRAIN * max(1, math.ceil(self.p999 / (1 - margin) * sample_rate / GRAIN))


@dataclass(frozen=True)
class Tuning:
    """The measured steps of one model at one place.

    Attributes:
        model: its name, or its path.
        margin: part of each hop that is to stay free.
        measured: one entry a window.
        delay: greatest algorithmic latency, look-ahead and hop, in seconds; twice the look-ahead, and at least one
            second, if None.
        size: bytes of the model's files, where they were found; of another size, it is another model by that name.
    """

    model: str
    place: Place
    sample_rate: int
    margin: float
    measured: tuple[StepTimes, ...]
    delay: float | None = None
    size: int | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.margin < 1:
            raise ValueError(f"margin must be at least 0 and below 1, not {self.margin}")


def times_of(window: int, seconds: Sequence[float]) -> StepTimes:
    """Percentiles of measured steps, rounded to the microsecond."""
    p50, p99, p999 = (round(float(value), 6) for value in np.percentile(seconds, (50, 99, 99.9)))
    return StepTimes(window, len(seconds), p50, p99, p999)


def plan(tuning: Tuning, lookahead: float) -> Windowing | None:
    """The longest window whose steps keep up within the delay; where none does, that of the least delay.

    Args:
        lookahead: in seconds.

    Returns:
        None where no window that was measured keeps up with this look-ahead.
    """
    rate = tuning.sample_rate
    ahead, most = round(lookahead * rate), rate * (tuning.delay or max(LEAST_DELAY, 2 * lookahead))
    hops = {row.window: row.hop(tuning.margin, rate) for row in tuning.measured}
    fitting = {window: hop for window, hop in hops.items() if window >= ahead + hop}
    if not fitting:
        return None
    quick = [window for window, hop in fitting.items() if ahead + hop <= most]
    window = max(quick) if quick else min(fitting, key=lambda each: fitting[each])
    return windowing(window, fitting[window], ahead)


def this_place(device: str = "cpu", threads: int = 1) -> Place:
    """Where this process runs."""
    if device.startswith("cuda"):
        import torch

        return Place(torch.cuda.get_device_name(device), "cuda", threads)
    return Place(f"{os.cpu_count()} x {_processor()}", device, threads)


def _processor() -> str:
    """The processor's name, where the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.split(": ", 1)[1] for line in lines if line.startswith("model name") and ": " in line]
    return names[0] if names else platform.processor() or platform.machine()


def tuning_file(model: str, place: Place) -> Path:
    """Where the tuning of `model` at `place` is kept, in the user's cache."""
    key = "\n".join((model, place.machine, place.device, str(place.threads)))
    return cache_folder() / "tuning" / f"{Path(model).stem}-{hashlib.sha256(key.encode()).hexdigest()[:12]}.yaml"


def save_tuning(tuning: Tuning) -> Path:
    """Keep `tuning` for later runs; returns the file.

    Raises:
        StreamsepError: the cache cannot be written.
    """
    path, tuning = tuning_file(tuning.model, tuning.place), replace(tuning, size=_size(tuning.model))
    with staged([path], "choose another folder with STREAMSEP_CACHE") as (temporary,):
        temporary.write_text(yaml.safe_dump(to_dict(tuning), sort_keys=False), encoding="utf-8")
    return path


def _size(model: str) -> int | None:
    """Bytes of all that a model is read from, of a bag with everything beside it; None where it is no file."""
    try:
        path = find_model_file(find_weights(model) or Path(model))
        bag = path.suffix in (".yaml", ".yml")
        files = [path, *(file for file in path.parent.iterdir() if file.suffix in (".th", ".safetensors"))]
        return sum(file.stat().st_size for file in (files if bag else files[:1]))
    except (StreamsepError, OSError):
        return None


def find_tuning(model: str, place: Place) -> Tuning | None:
    """What was measured of `model` at `place`; None where nothing was, or the model's files have another size now.

    Raises:
        StreamsepError: a file that was tampered with or is damaged.
    """
    path = tuning_file(model, place)
    if not path.is_file():
        return None
    try:
        tuning = load_yaml(Tuning, path)
    except StreamsepError as error:
        raise StreamsepError(f"{error}; run streamsep tune again, or delete the file") from None
    if (tuning.model, tuning.place) != (model, place) or (tuning.size is not None and tuning.size != _size(model)):
        return None
    return tuning
