"""Make a run's averaged weights the ones that ship: `python tools/ship_weights.py runs/NAME/last.safetensors NAME`.

What is at the network's edge, as an expander, is the preset's, whatever the run had. Stores the weights in half
precision, or with `--bits 8` the larger kernels in bytes, as `streamsep/weights/NAME.safetensors` with their record
beside them, and in the record what they reach on the example clip (as a stream, if they stream), which a test holds
them to. Measure and
write the tables afterwards (`python -m benchmarks.write_tables`).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from streamsep.errors import StreamsepError, telling
from streamsep.evaluation.metrics import sdr
from streamsep.files import read_audio
from streamsep.models.apply import apply_levelled
from streamsep.models.checkpoint import load_checkpoint, read_record, save_checkpoint
from streamsep.models.lookahead import longest_hops
from streamsep.models.registry import build_preset, preset_names, weights_folder
from streamsep.models.sameness import differing
from streamsep.models.separator import Separator
from streamsep.models.stored import narrowed, widened
from streamsep.models.streaming import separate_stream

EXAMPLE = Path(__file__).parents[1] / "examples" / "lithium"


def of_preset(checkpoint: Path, name: str) -> nn.Module:
    """The preset with the checkpoint's weights.

    Raises:
        StreamsepError: they do not fit it, or did not learn to wait as long as it says.
    """
    model, trained = build_preset(name), load_checkpoint(checkpoint)
    if longest_hops(trained) < longest_hops(model):
        raise StreamsepError(
            f"{checkpoint} did not learn the look-aheads of {name}; train it with them, or take them out of the preset"
        )
    if setting := differing(model, trained):
        raise StreamsepError(
            f"the weights of {checkpoint} do not fit {name} ({setting} differs); name the preset they were trained as"
        )
    model.load_state_dict(trained.state_dict())
    return model.eval()


def separated(model: Any, mix: Tensor) -> Tensor:
    """The stems `[S, 2, T]` of `mix [2, T]`, by a stream or by an offline model, in time with it."""
    separate: Any = separate_stream if isinstance(model, Separator) else apply_levelled
    stems: Tensor = separate(model, mix[None])[0]
    return stems


def example_sdr(model: nn.Module) -> dict[str, float]:
    """SDR of each stem of the example clip, in dB."""
    names: Sequence[str] = model.sources  # type: ignore[assignment]
    mix, *true = (torch.from_numpy(read_audio(EXAMPLE / f"{name}.ogg")[0]) for name in ("mix", *names))
    stems = separated(model, mix)
    return {name: round(sdr(truth, stem), 2) for name, truth, stem in zip(names, true, stems, strict=True)}


@telling("ship_weights")
def main() -> int:
    """Convert one checkpoint."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path, help="a checkpoint of streamsep (.safetensors with its .json)")
    parser.add_argument("name", choices=preset_names(), help="the preset whose weights these become")
    parser.add_argument("--licence", help="of the weights, such as MIT (default: what the checkpoint states)")
    parser.add_argument("--bits", type=int, choices=(8, 16), default=16, help="of a stored weight (default 16)")
    args = parser.parse_args()
    record = {key: read_record(args.checkpoint)[key] for key in ("training", "licence")}
    record["licence"] = args.licence or record["licence"]
    if record["licence"] == "not stated":
        raise StreamsepError("the checkpoint states no licence; say by --licence under which its data lets it ship")
    target, model = weights_folder() / f"{args.name}.safetensors", of_preset(args.checkpoint, args.name)
    model.load_state_dict(widened(narrowed(model.state_dict(), args.bits)))  # what they reach as they will be stored
    save_checkpoint(model, target, record | {"example_sdr": example_sdr(model)}, bits=args.bits)
    print(f"{target}: {target.stat().st_size / 1e6:.1f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
