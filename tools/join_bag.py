"""Put checkpoints together into a bag: `python tools/join_bag.py live-23-bag SMALL FULL-BAND -o OUT`.

The bag is a preset's; each checkpoint becomes the member at its place, as it is. One that is such a bag itself gives
its own member of that place: so a bag gets a new first member and keeps the others. Likewise the two directions of an
offline model: `python tools/join_bag.py bidirectional-small FORWARDS BACKWARDS -o OUT`. What comes out can be used as
any checkpoint, or trained further (`streamsep train --init`).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from torch import nn

from streamsep.errors import StreamsepError, telling
from streamsep.models.bidirectional import Bidirectional
from streamsep.models.causal_bag import CausalBag
from streamsep.models.causal_htdemucs import CausalHTDemucs
from streamsep.models.checkpoint import joined_licence, load_checkpoint, read_record, save_checkpoint
from streamsep.models.lookahead import declare
from streamsep.models.registry import build_preset, preset_names
from streamsep.models.sameness import differing

Joined = CausalBag | Bidirectional


def join(preset: str, paths: Sequence[Path], out: Path) -> None:
    """Write the bag of the checkpoints.

    Raises:
        StreamsepError: the preset is no bag, or of other members; a file cannot be read or written.
    """
    bag = build_preset(preset)
    if not isinstance(bag, Joined):
        raise StreamsepError(f"{preset} is no bag; choose live-23-bag or bidirectional-small")
    if len(paths) != len(bag.causal):
        raise StreamsepError(f"{preset} has {len(bag.causal)} members; give as many checkpoints, in their order")
    given = [_member(load_checkpoint(path), place, path) for place, path in enumerate(paths)]
    declare(bag, set.intersection(*(set(member.config.lookaheads) for member in given)))
    for member, weights, path in zip(bag.causal, given, paths, strict=True):
        if setting := differing(member, weights):
            raise StreamsepError(
                f"{path} does not fit its place in {preset} ({setting} differs); give the members in their order"
            )
        member.load_state_dict(weights.state_dict())
    records = [read_record(path) for path in paths]
    training = {"members": [record["training"] for record in records]}
    save_checkpoint(bag, out, {"training": training, "licence": joined_licence(records)})


def _member(model: nn.Module, place: int, path: Path) -> CausalHTDemucs:
    """The model, or of a bag its member at the place."""
    member = model.causal[place] if isinstance(model, Joined) and place < len(model.causal) else model
    if not isinstance(member, CausalHTDemucs):
        raise StreamsepError(f"{path} is no causal model; a bag is made of such")
    return member


@telling("join_bag")
def main() -> int:
    """Join the files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("preset", choices=preset_names(), metavar="PRESET", help="a bag, such as live-23-bag")
    parser.add_argument("checkpoints", type=Path, nargs="+", help="of the members (.safetensors with .json)")
    parser.add_argument("-o", "--out", type=Path, required=True, help="the checkpoint to write")
    args = parser.parse_args()
    join(args.preset, args.checkpoints, args.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
