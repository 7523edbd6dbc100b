"""A song of noise, and checkpoints of every kind, for a comparison of systems."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from streamsep.files import write_audio
from streamsep.models.checkpoint import save_checkpoint
from streamsep.models.htdemucs import HTDemucs, HTDemucsConfig
from tests.models import tiny

STEMS = ("drums", "bass", "other", "vocals")
FRAMES = 5003  # no multiple of a hop


@pytest.fixture(scope="module", name="models")
def models_fixture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with causal, offline and six-stem checkpoints."""
    folder = tmp_path_factory.mktemp("models")
    save_checkpoint(tiny(), folder / "causal.safetensors", {})
    for name, sources in {"offline": STEMS, "six": (*STEMS, "guitar", "piano"), "two": ("speech", "rest")}.items():
        sizes: dict[str, Any] = {"channels": 8, "bottom_channels": 0, "layers": 1, "heads": 2, "nfft": 512, "depth": 2}
        torch.manual_seed(0)
        model = HTDemucs(HTDemucsConfig(sources=sources, segment=0.08, **sizes))
        save_checkpoint(model, folder / f"{name}.safetensors", {})
    # A sliding window holds look-ahead and hop, a quarter of a second by itself.
    config = HTDemucsConfig(
        sources=STEMS, segment=0.6, channels=8, bottom_channels=0, layers=1, heads=2, nfft=512, depth=2
    )
    save_checkpoint(HTDemucs(config), folder / "long.safetensors", {})
    return folder


@pytest.fixture(name="song")
def song_fixture(tmp_path: Path) -> Path:
    """A mix of noise with its four stems beside it, the bass silent."""
    stems = 0.1 * np.random.default_rng(0).standard_normal((4, 2, FRAMES)).astype(np.float32)
    stems[1] = 0
    for name, samples in {**dict(zip(STEMS, stems, strict=True)), "mix": stems.sum(0)}.items():
        write_audio(tmp_path / "song" / f"{name}.wav", samples, 44100)
    return tmp_path / "song" / "mix.wav"
