"""Runs of `streamsep stream` on a short song, with a toy for a model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from streamsep.cli import main
from streamsep.files import Samples, read_audio
from tests.engine_toys import NAMES, DelaySplit, noise


@pytest.fixture(name="toy")
def toy_fixture(monkeypatch: pytest.MonkeyPatch) -> DelaySplit:
    """A separator that stands in for every model."""
    separator = DelaySplit(hop=64, latency=96)
    monkeypatch.setattr("streamsep.models.registry.load_model", lambda name, device=None: separator)
    return separator


def song(path: Path, samples: Samples | None = None, rate: int = 44100) -> Samples:
    """Write a short song; returns what reading gives back."""
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, (noise(5000) if samples is None else samples).T, rate, subtype="FLOAT")
    return read_audio(path)[0]


def stream(*arguments: str | Path) -> int:
    return main(["stream", *map(str, arguments), "--device", "cpu"])


def stems(folder: Path, suffix: str = "wav") -> Samples:
    """All stems `[S, C, T]`."""
    return np.stack([read_audio(folder / f"{name}.{suffix}")[0] for name in NAMES])
