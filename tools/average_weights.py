"""Average checkpoints of one training: `python tools/average_weights.py A B ... -o OUT [--shares 0.3 0.7]`

Weights that come of one another, or of one beginning, may be better in the mean than any of them (M. Wortsman et al.
2022, arXiv:2203.05482). The model and the record are the last one's; the record says what was averaged. One from before
the model was widened (`streamsep train --init`) is widened in the same way first.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from copy import deepcopy
from pathlib import Path

from torch import Tensor, nn

from streamsep.errors import StreamsepError, telling
from streamsep.models.checkpoint import joined_licence, load_checkpoint, read_record, save_checkpoint
from streamsep.training.start import take_over


def average(paths: Sequence[Path], shares: Sequence[float], out: Path) -> None:
    """Write the sum of each checkpoint's weights times its share.

    Raises:
        StreamsepError: they are of different architectures, or a file cannot be read or written.
    """
    models, records = [load_checkpoint(path) for path in paths], [read_record(path) for path in paths]
    model, record = models[-1], records[-1]
    given = [_as_in(model, other, path) for other, path in zip(models, paths, strict=True)]
    mean = {name: sum(s * values[name] for s, values in zip(shares, given, strict=True)) for name in given[-1]}
    model.load_state_dict(mean)
    averaged = [{"steps": each["training"].get("steps"), "share": s} for each, s in zip(records, shares, strict=True)]
    training = {**record["training"], "averaged": averaged}
    save_checkpoint(model, out, {"training": training, "licence": joined_licence(records)})


def _as_in(model: nn.Module, other: nn.Module, path: Path) -> dict[str, Tensor]:
    """The weights of `other`, read from `path`, in the shapes of `model`."""
    same = deepcopy(model)
    try:
        take_over(same, other)
    except ValueError:
        raise StreamsepError(f"{path} is another model than the last; choose checkpoints of one training") from None
    return dict(same.state_dict())


@telling("average_weights")
def main() -> int:
    """Average the files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoints", type=Path, nargs="+", help="checkpoints of streamsep (.safetensors with .json)")
    parser.add_argument("-o", "--out", type=Path, required=True, help="the checkpoint to write")
    parser.add_argument("--shares", type=float, nargs="+", help="of each; they sum to 1 (default: equal ones)")
    args = parser.parse_args()
    shares = args.shares or [1 / len(args.checkpoints)] * len(args.checkpoints)
    if len(shares) != len(args.checkpoints) or abs(sum(shares) - 1) > 1e-6:
        raise StreamsepError(f"--shares must be {len(args.checkpoints)} numbers that sum to 1, one for each checkpoint")
    average(args.checkpoints, shares, args.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
