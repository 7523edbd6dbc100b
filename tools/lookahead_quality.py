"""What look-ahead buys: the same weights trained on for one look-ahead each, and for all of them at once.

    python -m tools.lookahead_quality configs/train/look-ahead.yaml --steps 400 --hops 0 8 43 \\
        --init streamsep/weights/live-23-small.safetensors --data DIR --real DIR/lithium DIR/mdn_funk --rendered DIR

Trains `fixed-N` for each look-ahead of N hops, and `random`, in which every step draws one of them; then measures each
of them as a stream, `random` at all look-aheads, and writes benchmarks/results/lookahead.json. The same command goes on
where it was stopped. Other flags are handed on to `streamsep train`, as --voice DIR.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from benchmarks import quality
from streamsep.config import load_yaml
from streamsep.errors import telling
from streamsep.models.checkpoint import load_checkpoint, read_record, save_checkpoint
from streamsep.models.lookahead import with_lookahead
from streamsep.training.config import TrainConfig
from tools.train_side_by_side import add_flags, train_one

ROOT = Path(__file__).parents[1]


def looking(path: Path, hops: int) -> Path:
    """The checkpoint with another look-ahead, beside it."""
    model = with_lookahead(load_checkpoint(path), hops)
    target = path.with_name(f"lookahead-{hops}.safetensors")
    record = read_record(path)
    save_checkpoint(model, target, {key: record[key] for key in ("training", "licence")})
    return target


def train_all(args: argparse.Namespace, rest: Sequence[str]) -> dict[str, Path]:
    """Train what has not come to its end; the weights by the names of their systems."""
    config = load_yaml(TrainConfig, args.config)
    rest = [*rest, "--init", str(args.init)]
    found = {}
    for hops in args.hops:
        fixed = replace(config, lookaheads=(hops,))
        found[f"fixed {hops} hops"] = train_one(fixed, f"fixed-{hops}", args, rest)
    path = train_one(replace(config, lookaheads=tuple(args.hops)), "random", args, rest)
    return found | {f"random {hops} hops": looking(path, hops) for hops in args.hops}


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="lookahead_quality", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )  # fmt: skip
    add_flags(parser, "runs/lookahead")
    quality.add_song_flags(parser)
    parser.add_argument("--init", type=Path, required=True, help="causal weights that all start from")
    parser.add_argument("--hops", type=int, nargs="+", default=[0, 8, 43], help="look-aheads (default: %(default)s)")
    parser.add_argument("--json", type=Path, default=ROOT / "benchmarks" / "results" / "lookahead.json")
    return parser


def run(args: argparse.Namespace, rest: Sequence[str]) -> None:
    """Train, measure and write."""
    songs = quality.find_songs(args)
    systems = [f"{name}=stream:{path}" for name, path in train_all(args, rest).items()]
    measuring = quality.Measuring(args.out / "measured", args.seconds, args.jobs, leakage=False, brief=True)
    result = quality.run(systems, songs, measuring)
    result["budget"] = {"steps": args.steps, "minutes": args.minutes}
    quality.write(result, args.json)


@telling("lookahead_quality")
def main(argv: Sequence[str] | None = None) -> int:
    """Run, or tell in one sentence what the user can mend."""
    run(*build_parser().parse_known_args(argv))
    return 0


if __name__ == "__main__":
    sys.exit(main())
