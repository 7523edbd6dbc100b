"""Draw how long the steps of the small models took on ONNX Runtime, from results/steps.json.

python -m benchmarks.draw_steps [FILE.png]
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from benchmarks.step_tables import RESULTS
from streamsep.bench.histogram import draw
from streamsep.errors import telling

PICTURE = RESULTS.parent / "steps.png"


@telling("draw_steps")
def main() -> int:
    """Draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path, nargs="?", default=PICTURE, metavar="FILE.png", help="(default %(default)s)")
    args = parser.parse_args()
    rows = json.loads((RESULTS / "steps.json").read_text(encoding="utf-8"))["rows"]
    draw([row for row in rows if row["executor"] == "onnx"], args.file)
    return 0


if __name__ == "__main__":
    sys.exit(main())
