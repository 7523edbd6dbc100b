"""What waiting buys: the weights that ship at every latency that they can be had at, as a table and a picture.

    python -m benchmarks.waiting --real DIR/lithium DIR/mdn_funk --rendered DIR/test -j 2

Each set of weights runs as a live stream and, if it learnt to wait, with more and more of the future in view. Writes
benchmarks/results/waiting.json and docs/waiting.png; what is done is kept in --out, together with what
`benchmarks.quality` has done.
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
from benchmarks.kept_figures import weights_of
from benchmarks.latency_picture import Line, draw
from streamsep.errors import telling

Facts = dict[str, Any]
ROOT = Path(__file__).parents[1]
AHEAD = (0.1,)  # seconds; beside none at all and the longest


def lines(result: Facts, group: str) -> list[Line]:
    """A line for each set of weights, in the order of its latencies; a level for those that hear the whole song."""
    points: dict[str, list[tuple[float, float]]] = {}
    levels = []
    for name, table in result["groups"][group]["scores"].items():
        system, mean = result["systems"][name], table["mean"]["usdr"]
        if system["latency_ms"] is not None:
            points.setdefault(weights_of(name), []).append((system["latency_ms"], mean))
        elif system["way"] == "offline":
            levels.append(Line(name, [(0.0, mean)], "--", "black", True))
    return [*(Line(name, sorted(pairs)) for name, pairs in points.items()), *levels]


@telling("waiting")
def main(argv: Sequence[str] | None = None) -> int:
    """Measure, write and draw, or tell in one sentence what the user can mend."""
    parser = argparse.ArgumentParser(
        prog="waiting", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    quality.add_song_flags(parser)
    parser.add_argument("-o", "--out", type=Path, default=Path("runs/quality"), help="work (default %(default)s)")
    parser.add_argument("--json", type=Path, default=ROOT / "benchmarks" / "results" / "waiting.json")
    parser.add_argument("--picture", type=Path, default=ROOT / "docs" / "waiting.png")
    args = parser.parse_args(argv)
    measuring = quality.Measuring(args.out, args.seconds, args.jobs, leakage=False)
    result = quality.measured(quality.shipped(AHEAD), args, measuring)
    quality.write(result, args.json)
    result = json.loads(args.json.read_text(encoding="utf-8"))
    draw(result, partial(lines, result), args.picture)
    return 0


if __name__ == "__main__":
    sys.exit(main())
