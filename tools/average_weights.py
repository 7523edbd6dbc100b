"""Average two checkpoints of one architecture: `python tools/average_weights.py FIRST SECOND -o OUT [--share 0.5]`

Weights that come of one another by training may be better in the mean than either (M. Wortsman et al. 2022,
arXiv:2203.05482). The record is the second's, and says what was averaged.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch

from streamsep.errors import StreamsepError, telling
from streamsep.models.checkpoint import load_checkpoint, read_record, save_checkpoint


def average(first: Path, second: Path, out: Path, share: float) -> None:
    """Write `(1 - share)` of the first's weights and `share` of the second's.

    Raises:
        StreamsepError: they are of different architectures, or a file cannot be read or written.
    """
    model, other = load_checkpoint(first), load_checkpoint(second)
    before, after = model.state_dict(), other.state_dict()
    if {name: value.shape for name, value in before.items()} != {name: value.shape for name, value in after.items()}:
        raise StreamsepError(f"{first} and {second} are different models; choose two of one training")
    model.load_state_dict({name: torch.lerp(value, after[name], share) for name, value in before.items()})
    record = {key: read_record(second)[key] for key in ("training", "licence")}
    steps = read_record(first)["training"]["steps"]
    record["training"]["averaged"] = {"share": share, "with_steps": steps}
    save_checkpoint(model, out, record)


@telling("average_weights")
def main() -> int:
    """Average two files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("first", type=Path, help="a checkpoint of streamsep (.safetensors with its .json)")
    parser.add_argument("second", type=Path, help="another, trained on from the first")
    parser.add_argument("-o", "--out", type=Path, required=True, help="the checkpoint to write")
    parser.add_argument("--share", type=float, default=0.5, help="of the second, 0 to 1 (default %(default)s)")
    args = parser.parse_args()
    average(args.first, args.second, args.out, args.share)
    return 0


if __name__ == "__main__":
    sys.exit(main())
