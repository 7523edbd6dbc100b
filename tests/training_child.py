"""A small run in a process of its own: `python -m tests.training_child OUT [--size N] [--steps N] [--die WHERE]`.

Under torchrun it is one of several. `--die step` and `--die save` end it with SIGKILL in the middle of its sixth step
or of the saving after it.
"""

from __future__ import annotations

import argparse
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from streamsep.models.causal_htdemucs import CausalHTDemucs
from streamsep.training.batches import BatchConfig
from streamsep.training.clips import BLOCK, Clip
from streamsep.training.config import LoopConfig, OptimiserConfig, TrainConfig
from streamsep.training.data import STEMS, Library, Song
from streamsep.training.loop import train
from streamsep.training.losses import LossConfig
from streamsep.training.parallel import open_world
from tests.models import tiny

DEADLY = 6


def make_library() -> Library:
    def clip(seed: int) -> Clip:
        samples = np.random.default_rng(seed).normal(0, 3000, (30000, 2)).astype(np.int16)
        return Clip(samples, 1 / 32767, np.full(-(-30000 // BLOCK), 0.09, np.float32), 0.09)

    names = ("drums", "other"), STEMS, STEMS
    songs = tuple(
        Song(f"{i}", {stem: clip(10 * i + j) for j, stem in enumerate(stems)}) for i, stems in enumerate(names)
    )
    joined = Song("joined", dict(songs[0].clips), ("bass", "other"))
    return Library(songs=(joined, songs[1]), extra={}, validation=songs[2:])


def make_config(size: int, steps: int) -> TrainConfig:
    return TrainConfig(
        model="toy",
        batch=BatchConfig(size=size, seconds=0.1),
        loss=LossConfig(warm=0.01, ffts=(256,), si_sdr=0.1, rests=0.1),
        optimiser=OptimiserConfig(lr=3e-3, warm_up=2),
        loop=LoopConfig(hours=None, steps=steps, save_minutes=0.0, excerpts=1, excerpt_seconds=0.2, log_seconds=0.0),
    )


def die_in_step(model: CausalHTDemucs) -> None:
    """Kill the process in the backward pass of its sixth step."""
    left = [DEADLY]

    def count(gradient: Tensor) -> None:
        left[0] -= 1
        if not left[0]:
            os.kill(os.getpid(), signal.SIGKILL)

    next(model.parameters()).register_hook(count)


def die_in_save() -> None:
    """Kill the process after half of the file that it saves after its sixth step."""
    save = torch.save

    def half(state: Any, path: Path) -> None:
        save(state, path)
        if state["progress"]["step"] == DEADLY:
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
            os.kill(os.getpid(), signal.SIGKILL)

    torch.save = half  # type: ignore[assignment]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("out", type=Path)
    parser.add_argument("--size", type=int, default=2)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--die", choices=("step", "save"))
    parser.add_argument("--resume", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(1)
    model = tiny().train()
    if args.die == "step":
        die_in_step(model)
    elif args.die == "save":
        die_in_save()
    with open_world(torch.device("cpu")) as world:
        train(model, make_library(), make_config(args.size, args.steps), args.out, world=world, resume=args.resume)


if __name__ == "__main__":
    main()
