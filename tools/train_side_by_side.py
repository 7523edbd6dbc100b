"""Train several models alike: the same data, batches, loss and schedule, one model after another.

    python -m tools.train_side_by_side configs/train/side-by-side.yaml --data DIR --minutes 30 \\
        --models live-23-small peer-unet peer-hs-tasnet [--out runs/side-by-side]

The budget is `--minutes` of training or `--steps`, the same for each. Every model is trained by `streamsep train` in
OUT/MODEL from the configuration in OUT/MODEL.yaml; the same command goes on where it was stopped, and leaves what
has come to its end alone. Other flags are handed on to `streamsep train`, as --voice DIR.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import yaml
from tqdm import tqdm

from streamsep.cli.options import positive_float, positive_int
from streamsep.config import load_yaml, to_dict
from streamsep.errors import StreamsepError, telling
from streamsep.files import staged
from streamsep.models.checkpoint import read_record
from streamsep.models.registry import preset_info
from streamsep.training.config import TrainConfig

MODELS = ("live-23-small", "peer-unet", "peer-hs-tasnet", "offline-small")


def add_flags(parser: argparse.ArgumentParser, out: str, models: Sequence[str] = ()) -> None:
    """Flags of training side by side, that of the models where there are some to choose from."""
    parser.add_argument("config", type=Path, help="training configuration; its model and length do not count")
    parser.add_argument(
        "--data", action="append", required=True, metavar="FOLDER[=SHARE]", help="as for streamsep train"
    )
    if models:
        parser.add_argument("--models", nargs="+", default=models, help="presets (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=Path(out), help="folder of the runs (default %(default)s)")
    budget = parser.add_mutually_exclusive_group(required=True)
    budget.add_argument("--minutes", type=positive_float, help="training time of each model")
    budget.add_argument("--steps", type=positive_int, help="steps of each model")


def train_all(args: argparse.Namespace, rest: Sequence[str]) -> dict[str, Path]:
    """Train what has not come to its end; the last averaged weights of each model.

    Args:
        args: of `add_flags`.
        rest: further flags of `streamsep train`.

    Raises:
        StreamsepError: no such preset, or a training that failed.
    """
    config = load_yaml(TrainConfig, args.config)
    for name in args.models:
        preset_info(name)
    names = tqdm(args.models, desc="models", unit="model")
    return {name: train_one(replace(config, model=name), name, args, rest) for name in names}


def train_one(config: TrainConfig, name: str, args: argparse.Namespace, rest: Sequence[str]) -> Path:
    """Train by one configuration in `args.out / name`, unless that is done; its last averaged weights.

    Raises:
        StreamsepError: what is there is of another configuration, or the training failed.
    """
    hours = None if args.minutes is None else args.minutes / 60
    config = replace(config, loop=replace(config.loop, hours=hours, steps=args.steps))
    path = args.out / f"{name}.yaml"
    text = yaml.safe_dump(to_dict(config), sort_keys=False)
    if path.is_file() and path.read_text(encoding="utf-8") != text:
        raise StreamsepError(f"{path} is of another configuration or budget; choose another --out")
    with staged([path], "choose another --out") as (temporary,):
        temporary.write_text(text, encoding="utf-8")
    folder = args.out / name
    command = [sys.executable, "-m", "streamsep", "train", str(path), "--out", str(folder), "--resume"]
    command += ["--cache", str(args.out / "cache"), *(f"--data={root}" for root in args.data), *rest]
    if subprocess.run(command, check=False).returncode:
        raise StreamsepError(f"the training of {name} failed; the same command goes on where it stopped")
    weights = folder / "last.safetensors"
    done = read_record(weights)["training"]
    if config.loop.part(done["steps"], done["hours"] + 0.001) < 1:  # its hours are rounded
        raise StreamsepError(f"the training of {name} was stopped before its end; the same command goes on")
    return weights


@telling("train_side_by_side")
def main(argv: Sequence[str] | None = None) -> int:
    """Train; then name the weights as systems of a comparison."""
    parser = argparse.ArgumentParser(
        prog="train_side_by_side", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )  # fmt: skip
    add_flags(parser, "runs/side-by-side", MODELS)
    weights = train_all(*parser.parse_known_args(argv))
    print(" ".join(f"-s {name}={path}" for name, path in weights.items()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
