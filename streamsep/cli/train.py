"""`streamsep train`: train a model from a configuration file; resumable; on one process or, by torchrun, on many."""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from streamsep.cli.options import pick_device, positive_float, positive_int
from streamsep.errors import StreamsepError

if TYPE_CHECKING:
    from torch import nn

    from streamsep.training.config import TrainConfig
    from streamsep.training.data import Library, Root
    from streamsep.training.loop import Export
    from streamsep.training.parallel import World


def add_parser(subparsers: Any) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser("train", help="train a model", description=__doc__)
    parser.add_argument("config", type=Path, nargs="?", help="configuration of the run (configs/train/*.yaml)")
    parser.add_argument("-c", "--config", type=Path, dest="flag_config", metavar="CONFIG", help="the same")
    parser.add_argument(
        "--data",
        action="append",
        metavar="FOLDER[=SHARE]",
        help="folder of songs, or a MUSDB18-HQ or MoisesDB tree; may be given often, each with how often its songs are "
        "drawn (default: the configuration's `data: roots`)",
    )
    parser.add_argument("--voice", type=Path, help="folder whose folders hold solo voice recordings")
    parser.add_argument("--instruments", type=Path, help="folder of sampled instruments that practice is played on")
    parser.add_argument("--out", type=Path, help="folder of the run (default: runs/ and the configuration's name)")
    parser.add_argument("--cache", type=Path, default=Path("runs/cache"), help="decoded audio (default %(default)s)")
    parser.add_argument("--threads", type=positive_int, help="CPU threads of the model (default: PyTorch's choice)")
    parser.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1, ... (default %(default)s)")
    parser.add_argument("--steps", type=positive_int, help="end of the schedule in steps, whatever the file says")
    parser.add_argument("--max-minutes", type=positive_float, help="stop, resumably, after so many minutes")
    parser.add_argument("--teacher", help="model whose answers the loss term `teacher` asks for (name or path)")
    start = parser.add_mutually_exclusive_group()
    start.add_argument("--init", help="start from the weights of this model (name or path)")
    start.add_argument("--init-matching", help="take from this model, of any class, whatever fits (name or path)")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--resume", action="store_true", help="go on from the state in --out")
    which.add_argument("--restart", action="store_true", help="forget the run in --out")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Open the data, build the model, train."""
    import torch

    from streamsep.config import load_yaml
    from streamsep.training.config import TrainConfig
    from streamsep.training.parallel import open_world

    path = _config_path(args)
    config = load_yaml(TrainConfig, path)
    if args.steps:
        config = replace(config, loop=replace(config.loop, hours=None, steps=args.steps))
    if args.threads:
        torch.set_num_threads(args.threads)
    with open_world(pick_device(args.device)) as world:
        _train(args, config, args.out or Path("runs") / path.stem, world)
    return 0


def _train(args: argparse.Namespace, config: TrainConfig, out: Path, world: World) -> None:
    import torch

    from streamsep.models.lookahead import learning
    from streamsep.models.registry import build_preset
    from streamsep.training.data import check_learnable, song_folders
    from streamsep.training.loop import train
    from streamsep.training.origin import check_start, origin_of, together
    from streamsep.training.stopping import check_fresh, forget
    from streamsep.training.teacher import Teacher

    roots = _roots(args.data, config)
    cure = "correct --data" if args.data else "the configuration names it, seen from where this is run; give --data"
    for root in roots:  # a wrong --data is told before anything is taken away or built
        song_folders(Path(root.path), config.data.subset, cure)
    check_fresh(out, args.resume, args.restart)
    before = origin_of(out) if args.resume else {}
    check_start(out, before, _given(args))
    torch.manual_seed(config.batch.seed)
    model = learning(build_preset(config.model), config.lookaheads)
    check_learnable(model.sources)  # type: ignore[arg-type]
    _start(model, args, config, world)
    teacher = Teacher.load(args.teacher, model.sources, world.device) if args.teacher else None  # type: ignore[arg-type]
    with world.one_by_one():
        library = _library(args, roots, config, world)
        if world.first and not args.resume:
            forget(out)
    progress = train(
        model,
        library,
        config,
        out,
        world=world,
        resume=args.resume,
        max_minutes=args.max_minutes,
        export=_saving(together(before, _origin(args, library))),
        teacher=teacher,
    )
    skipped = f", {progress.skipped} without a finite gradient left out" if progress.skipped else ""
    _say(world, f"{progress.step} steps{skipped} in {progress.elapsed / 60:.1f} min; the state is in {out}")


def _origin(args: argparse.Namespace, library: Library) -> dict[str, str]:
    """Where the weights come from: the folders of songs, and what else was given."""
    return {"data": ", ".join(sorted({Path(song.root).name for song in library.songs})), **_given(args)}


def _given(args: argparse.Namespace) -> dict[str, str]:
    """Weights by their folder too, for those of most runs are called last.safetensors."""
    depths = {"init": 2, "init_matching": 2, "teacher": 2, "voice": 1, "instruments": 1}
    given = {name: (getattr(args, name), depth) for name, depth in depths.items()}
    return {name: "/".join(Path(value).parts[-depth:]) for name, (value, depth) in given.items() if value}


def _saving(origin: dict[str, str]) -> Export:
    """How weights are written, with their origin in the record of their training."""
    from streamsep.models.checkpoint import save_checkpoint

    def export(model: nn.Module, path: Path, record: dict[str, Any]) -> None:
        save_checkpoint(model, path, record | {"training": record["training"] | origin})

    return export


def _config_path(args: argparse.Namespace) -> Path:
    paths = [path for path in (args.config, args.flag_config) if path]
    if len(paths) != 1:
        raise StreamsepError("give one configuration, such as -c configs/train/live-23-small.yaml")
    return Path(paths[0])


def _roots(data: list[str] | None, config: TrainConfig) -> list[Root]:
    from streamsep.training.data import Root

    roots = [_root(text) for text in data] if data else list(config.data.roots)
    if not roots:
        raise StreamsepError("there is nothing to train on; give folders of songs with --data")
    return [Root(str(Path(root.path)), root.share) for root in roots]


def _root(text: str) -> Root:
    from streamsep.training.data import Root

    path, equals, share = text.rpartition("=")
    if not equals or Path(text).exists():
        return Root(text)
    try:
        return Root(path, float(share))
    except ValueError:
        raise StreamsepError(f"the share of --data {text} is no number above 0; give it as FOLDER=SHARE") from None


def _start(model: nn.Module, args: argparse.Namespace, config: TrainConfig, world: World) -> None:
    """Initial weights: rescaled, from a checkpoint, or from what fits of another."""
    from streamsep.training.start import freeze, rescale, start_from, take_matching

    if config.optimiser.rescale:
        rescale(model, config.optimiser.rescale)
    if args.init:
        start_from(model, args.init)
    if args.init_matching:
        _say(world, take_matching(model, args.init_matching))
    freeze(model, config.frozen)


def _library(args: argparse.Namespace, roots: list[Root], config: TrainConfig, world: World) -> Library:
    from streamsep.training.data import open_library

    options = {"voice": args.voice, "instruments": args.instruments, "cache": args.cache}
    library = open_library(roots, config.data, quiet=not world.first, **options)
    if library.absent:
        _say(world, f"streamsep: note: songs of the configuration that are not there: {', '.join(library.absent)}")
    if config.data.practice and not args.instruments:
        _say(world, "streamsep: note: without sampled instruments (--instruments) there is no practice")
    extra = "".join(f", {len(clips)} extra {stem}" for stem, clips in library.extra.items())
    processes = f", {world.size} processes" if world.size > 1 else ""
    _say(world, f"{config.model}: {len(library.songs)} songs{extra}{processes}")
    return library


def _say(world: World, text: str) -> None:
    if world.first:
        print(text, file=sys.stderr)
