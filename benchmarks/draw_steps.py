"""Draw how long the steps of the small models took on ONNX Runtime, from results/steps.json.

python -m benchmarks.draw_steps [FILE.png]
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from benchmarks.step_tables import RESULTS
from streamsep.bench.histogram import draw

PICTURE = RESULTS.parent / "steps.png"


def main() -> None:
    """Draw."""
    rows = json.loads((RESULTS / "steps.json").read_text(encoding="utf-8"))["rows"]
    draw([row for row in rows if row["executor"] == "onnx"], Path(*sys.argv[1:]) if sys.argv[1:] else PICTURE)


if __name__ == "__main__":
    main()
