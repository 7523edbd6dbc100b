"""Runs of `streamsep separate` on tones, with a toy for a model, and what must lie on the disk afterwards."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from streamsep.cli import main
from streamsep.files import Samples, read_audio
from streamsep.models import registry
from tests.sounds import tones
from tests.toys import ToySeparator

GAINS = {"drums": 0.5, "bass": 0.25, "other": 0.125, "vocals": 0.125}


@pytest.fixture(name="toy")
def toy_fixture(monkeypatch: pytest.MonkeyPatch) -> ToySeparator:
    """Every streaming model is the toy."""
    model = ToySeparator()

    def load_model(name: str, *, device: torch.device | str | None = None) -> ToySeparator:
        return model

    monkeypatch.setattr(registry, "load_model", load_model)
    return model


def song(path: Path, rate: int = 44100, seconds: float = 0.5, channels: int = 2, subtype: str = "PCM_16") -> Samples:
    """Write tones to `path` and return them."""
    samples = tones(rate, seconds, *(range(300, 300 + 100 * channels, 100)))
    soundfile.write(path, samples.T, rate, subtype=subtype)
    return samples


def separate(*arguments: str | Path) -> int:
    return main(["separate", *map(str, arguments)])


def stems(folder: Path, ext: str = "wav") -> dict[str, tuple[Samples, int]]:
    """Every stem file in a folder, hidden files included."""
    return {path.stem: read_audio(path) for path in folder.iterdir() if path.suffix == f".{ext}"}


def check_stems(folder: Path, samples: Samples, rate: int, tolerance: float, ext: str = "wav") -> None:
    """The toy's stems of `samples` lie in `folder`, at `rate`, of the same length, in their place."""
    found = stems(folder, ext)
    assert found.keys() == GAINS.keys() and len(list(folder.iterdir())) == len(GAINS)
    edge = samples.shape[1] // 10
    for name, gain in GAINS.items():
        stem, stem_rate = found[name]
        assert stem_rate == rate and stem.shape == samples.shape
        np.testing.assert_allclose(stem[:, edge:-edge], gain * samples[:, edge:-edge], rtol=0, atol=tolerance)
