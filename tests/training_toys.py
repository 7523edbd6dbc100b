"""A toy that trains in no time: its configuration, its library of three songs, and a run of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from streamsep.training.batches import BatchConfig
from streamsep.training.clips import BLOCK, Clip
from streamsep.training.config import LoopConfig, OptimiserConfig, TrainConfig
from streamsep.training.data import STEMS, Library, Song
from streamsep.training.loop import train
from streamsep.training.losses import LossConfig
from streamsep.training.report import Report

CONFIG = TrainConfig(
    model="toy",
    batch=BatchConfig(size=2, seconds=0.2),
    loss=LossConfig(warm=0.01, ffts=(256,)),
    optimiser=OptimiserConfig(lr=1e-2, warm_up=2),
    loop=LoopConfig(hours=None, steps=8, excerpts=2, excerpt_seconds=0.2),
)


class Toy(nn.Module):
    """A gain for each stem behind a causal filter, late by one hop."""

    hop, latency, sample_rate, sources = 64, 64, 44100, STEMS

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0
        torch.manual_seed(0)
        self.filter = nn.Conv1d(2, 8, 16)
        self.noise = nn.Dropout(0.1)

    def forward(self, mix: Tensor) -> Tensor:
        out: Tensor = self.noise(self.filter(nn.functional.pad(mix, (15 + self.latency, -self.latency))))
        return out.unflatten(1, (4, 2))


@pytest.fixture(scope="module", name="library")
def library_fixture() -> Library:
    def clip(seed: int) -> Clip:
        samples = np.random.default_rng(seed).normal(0, 3000, (30000, 2)).astype(np.int16)
        return Clip(samples, 1 / 32767, np.full(-(-30000 // BLOCK), 0.09, np.float32), 0.09)

    songs = tuple(Song(f"song{i}", {stem: clip(10 * i + j) for j, stem in enumerate(STEMS)}) for i in range(3))
    return Library(songs=songs[:2], extra={}, validation=songs[2:])


def run(library: Library, out: Path, config: TrainConfig = CONFIG, **options: Any) -> dict[str, Any]:
    model = Toy()
    out.mkdir(parents=True, exist_ok=True)
    train(model, library, config, out, report=Report(out, seconds=0.0, quiet=True), **options)
    state: dict[str, Any] = torch.load(out / "state.pt", weights_only=True)
    return state


class Listener(Toy):
    """Keeps what it hears."""

    heard: ClassVar[list[Tensor]] = []  # of the average's copy too

    def forward(self, mix: Tensor) -> Tensor:
        self.heard.append(mix.detach().clone())
        return super().forward(mix)
