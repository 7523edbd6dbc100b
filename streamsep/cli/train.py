"""`streamsep train`: train a causal model from a configuration file, resumable."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from streamsep.cli.options import pick_device, positive_float, positive_int
from streamsep.errors import StreamsepError

if TYPE_CHECKING:
    from torch import nn


def add_parser(subparsers: Any) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser("train", help="train a causal model", description=__doc__)
    parser.add_argument("config", type=Path, help="configuration of the run (configs/train/*.yaml)")
    parser.add_argument("--data", type=Path, required=True, help="folder of songs, or a MUSDB18-HQ tree")
    parser.add_argument("--voice", type=Path, help="folder whose folders hold solo voice recordings")
    parser.add_argument("--instruments", type=Path, help="folder of sampled instruments that practice is played on")
    parser.add_argument("--out", type=Path, required=True, help="folder of the run, for instance runs/first")
    parser.add_argument("--cache", type=Path, default=Path("runs/cache"), help="decoded audio (default %(default)s)")
    parser.add_argument("--threads", type=positive_int, help="CPU threads of the model (default: PyTorch's choice)")
    parser.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1, ... (default %(default)s)")
    parser.add_argument("--max-minutes", type=positive_float, help="stop, resumably, after so many minutes")
    parser.add_argument("--init", type=Path, help="start from the weights of this checkpoint")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--resume", action="store_true", help="go on from the state in --out")
    which.add_argument("--restart", action="store_true", help="forget the run in --out")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Open the data, build the model, train."""
    import torch

    from streamsep.config import load_yaml
    from streamsep.models.checkpoint import save_checkpoint
    from streamsep.models.registry import build_preset
    from streamsep.training.config import TrainConfig
    from streamsep.training.data import open_library, song_folders
    from streamsep.training.loop import check_fresh, train

    config, device = load_yaml(TrainConfig, args.config), pick_device(args.device)
    song_folders(args.data, config.data.subset)  # a wrong --data is told before anything is taken away or built
    check_fresh(args.out, args.resume, args.restart)
    if args.threads:
        torch.set_num_threads(args.threads)
    torch.manual_seed(config.batch.seed)
    model = build_preset(config.model)
    if args.init:
        _start_from(model, args.init)
    library = open_library(args.data, config.data, voice=args.voice, instruments=args.instruments, cache=args.cache)
    if library.absent:
        names = ", ".join(library.absent)
        print(f"streamsep: note: songs of the configuration that are not in {args.data}: {names}", file=sys.stderr)
    size = sum(parameter.numel() for parameter in model.parameters()) / 1e6
    extra = "".join(f", {len(clips)} extra {stem}" for stem, clips in library.extra.items())
    print(f"{config.model}: {size:.2f} M parameters, {len(library.songs)} songs{extra}", file=sys.stderr)
    progress = train(
        model,
        library,
        config,
        args.out,
        device=device,
        resume=args.resume,
        max_minutes=args.max_minutes,
        export=save_checkpoint,
    )
    print(f"{progress.step} steps in {progress.elapsed / 60:.1f} min; the state is in {args.out}", file=sys.stderr)
    return 0


def _start_from(model: nn.Module, path: Path) -> None:
    """Take over the weights of a checkpoint of the same architecture."""
    from streamsep.models.checkpoint import load_checkpoint

    try:
        model.load_state_dict(load_checkpoint(path).state_dict())
    except RuntimeError:
        raise StreamsepError(f"{path} is another model than the configuration's; choose another --init") from None
