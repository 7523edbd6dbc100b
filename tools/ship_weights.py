"""Make a run's averaged weights the ones that ship: `python tools/ship_weights.py runs/NAME/last.safetensors NAME`.

Stores them in half precision as `streamsep/weights/NAME.safetensors` with their record beside them. Measure and
write the tables afterwards (`python -m benchmarks.write_tables`).
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from streamsep.errors import StreamsepError
from streamsep.models.checkpoint import load_checkpoint, read_record, save_checkpoint
from streamsep.models.registry import preset_names, weights_folder


def main() -> int:
    """Convert one checkpoint."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path, help="a checkpoint of streamsep (.safetensors with its .json)")
    parser.add_argument("name", choices=preset_names(), help="the preset whose weights these become")
    args = parser.parse_args()
    try:
        record = {key: read_record(args.checkpoint)[key] for key in ("training", "licence")}
        target = weights_folder() / f"{args.name}.safetensors"
        save_checkpoint(load_checkpoint(args.checkpoint), target, record, half=True)
    except StreamsepError as error:
        print(f"ship_weights: error: {error}", file=sys.stderr)
        return 1
    print(f"{target}: {target.stat().st_size / 1e6:.1f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
