"""What quality costs in latency: models of every latency trained alike, measured on the same songs, as a picture.

    python -m tools.latency_quality configs/train/side-by-side.yaml --data DIR --steps 400 \\
        --real DIR/lithium DIR/mdn_funk --rendered DIR

Trains the causal presets of 5.8 to 93 ms, the peers and the small offline model as `tools.train_side_by_side` does,
then measures the causal ones as streams, the offline one behind windows of several look-aheads and over whole songs,
and writes benchmarks/results/latency.json and docs/latency.png. The same command goes on where it was stopped.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import quality
from benchmarks.latency_picture import Line, draw
from streamsep.errors import telling
from tools.train_side_by_side import add_flags, train_all

Facts = dict[str, Any]
ROOT = Path(__file__).parents[1]
OFFLINE = "offline-small"
PEER = "peer-"
# The quickest to learn first.
MODELS = ("live-23-small", OFFLINE, "peer-unet", "live-93-small", "live-12-small", "live-6-small", "peer-hs-tasnet")
# Look-ahead and hop: a stream is late by their sum. Shorter hops than these would only cost time.
LOOKAHEADS = "50ms/50ms,100ms/100ms,250ms/250ms,500ms/250ms,1s/500ms"
COLOURS = {"stream": "tab:blue", "peer": "tab:red", "sliding": "tab:orange", "offline": "tab:green"}
STYLES = {"peer": "x", "offline": "--"}
WORDS = {
    "stream": "causal", "peer": "causal peers", "sliding": "offline model, sliding window",
    "offline": "offline model, whole song",
}  # fmt: skip


def systems(weights: dict[str, Path]) -> list[str]:
    """The trained models as systems of a comparison."""
    texts = [f"{name}=stream:{path}" for name, path in weights.items() if name != OFFLINE]
    if OFFLINE in weights:
        path = weights[OFFLINE]
        texts += [f"window=sliding:{path}@{LOOKAHEADS}", f"offline=offline:{path}"]
    return texts


def lines(result: Facts, group: str) -> list[Line]:
    """A line for each way; the offline model over whole songs at every latency."""
    means = {name: table["mean"]["usdr"] for name, table in result["groups"][group]["scores"].items()}
    return [
        Line(WORDS[way], points, STYLES.get(way, "o-"), COLOURS[way], way == "offline")
        for way, points in by_way(result, means).items()
    ]


def by_way(result: Facts, means: dict[str, float]) -> dict[str, list[tuple[float, float]]]:
    """(latency, dB) of the systems of each way, in the order of their latencies; peers are a way of their own."""
    points: dict[str, list[tuple[float, float]]] = {}
    for name, value in means.items():
        facts = result["systems"][name]
        way = "peer" if name.startswith(PEER) else facts["way"]
        if way in COLOURS:
            points.setdefault(way, []).append((facts["latency_ms"] or 0.0, value))
    return {way: sorted(pairs) for way, pairs in points.items()}


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="latency_quality", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )  # fmt: skip
    add_flags(parser, "runs/latency", MODELS)
    quality.add_song_flags(parser)
    parser.add_argument("--json", type=Path, default=ROOT / "benchmarks" / "results" / "latency.json")
    parser.add_argument("--picture", type=Path, default=ROOT / "docs" / "latency.png")
    return parser


def run(args: argparse.Namespace, rest: Sequence[str]) -> None:
    """Train, measure, write and draw."""
    weights = train_all(args, rest)
    measuring = quality.Measuring(args.out / "measured", args.seconds, args.jobs, leakage=False, brief=True)
    result = quality.run(systems(weights), quality.find_songs(args), measuring)
    result["budget"] = {"steps": args.steps, "minutes": args.minutes}
    quality.write(result, args.json)
    result = json.loads(args.json.read_text(encoding="utf-8"))
    draw(result, partial(lines, result), args.picture)


@telling("latency_quality")
def main(argv: Sequence[str] | None = None) -> int:
    """Run, or tell in one sentence what the user can mend."""
    run(*build_parser().parse_known_args(argv))
    return 0


if __name__ == "__main__":
    sys.exit(main())
