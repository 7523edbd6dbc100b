"""Bounds of what a model's configuration may ask for: a checkpoint's JSON comes from anywhere."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

SAMPLE_RATES = (1000, 768_000)
MAX_WIDTH = 8192

_NAME = re.compile(r"[A-Za-z0-9_ -]+")


def check_sources(sources: Sequence[str]) -> None:
    """Raise ValueError where stems could not be told apart or could not be file names."""
    if not sources:
        raise ValueError("sources must name at least one stem")
    for name in sources:
        if not _NAME.fullmatch(name):
            raise ValueError(f"the source {name!r} must be of letters, digits, spaces, _ and -")
    if len({name.lower() for name in sources}) < len(sources):
        raise ValueError(f"two sources have one name in {', '.join(sources)}")


def check_range(name: str, value: float, low: float, high: float) -> None:
    """Raise ValueError where `value` is not a number from `low` to `high`."""
    if not low <= value <= high:
        raise ValueError(f"{name} must be from {low} to {high}, not {value}")


def check_stereo(channels: int) -> None:
    """Raise ValueError where a stream's model is not of two channels, as all that plays it is."""
    if channels != 2:
        raise ValueError(f"audio_channels must be 2 for a model that streams, not {channels}")


def check_order(name: str, pair: tuple[float, float]) -> None:
    """Raise ValueError where `pair` are not two finite numbers, the smaller first."""
    if not (math.isfinite(pair[0]) and math.isfinite(pair[1]) and pair[0] <= pair[1]):
        raise ValueError(f"{name} must be two numbers, the smaller first, not {list(pair)}")


def check_choice(name: str, value: str, choices: Sequence[str]) -> None:
    """Raise ValueError where `value` is none of `choices`."""
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(choices)}, not {value!r}")
