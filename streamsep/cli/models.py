"""`streamsep models`: list what can be named as --model, fetch official weights, tell what a model is."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn

HEADER = ("name", "class", "hop", "latency ms", "parameters", "weights")


def add_parser(subparsers: Any) -> None:
    """Add the subcommand with its three actions."""
    parser = subparsers.add_parser("models", help="list, fetch and describe models", description=__doc__)
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)

    listing = actions.add_parser("list", help="the models that --model can name")
    listing.set_defaults(run=run_list)

    pull = actions.add_parser("pull", help="fetch official weights into the cache (STREAMSEP_CACHE, XDG_CACHE_HOME)")
    pull.add_argument("names", nargs="+", metavar="NAME", help="htdemucs, htdemucs_6s or htdemucs_ft")
    pull.add_argument("--endpoint", metavar="URL", help="the hub (default: HF_ENDPOINT, or huggingface.co)")
    pull.set_defaults(run=run_pull)

    info = actions.add_parser("info", help="what a model is, how it was trained, under what licence")
    info.add_argument("model", metavar="NAME|PATH", help="a name from the list, or a model file or folder")
    info.set_defaults(run=run_info)


def run_list(args: argparse.Namespace) -> int:
    """Print a table of all models."""
    from streamsep.models.registry import OFFICIAL_REPOSITORIES, find_weights, model_names, preset_info, preset_names

    rows = [HEADER]
    presets = preset_names()
    for name in model_names():
        weights = _where(find_weights(name), pullable=name in OFFICIAL_REPOSITORIES)
        if name in presets:
            preset = preset_info(name)
            latency = "-" if preset.latency is None else f"{1000 * preset.latency / preset.sample_rate:.1f}"
            size = f"{preset.parameters / 1e6:.2f} M"
            rows.append((name, preset.class_name, str(preset.hop or "-"), latency, size, weights))
        else:
            kind = "HTDemucs" if name in OFFICIAL_REPOSITORIES else "-"
            rows.append((name, kind, "-", "-", "-", weights))
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADER))]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    return 0


def run_pull(args: argparse.Namespace) -> int:
    """Fetch each named release."""
    from streamsep.models.pull import pull_model

    for name in args.names:
        print(f"{name}: verified and placed in {pull_model(name, endpoint=args.endpoint)}")
    return 0


def run_info(args: argparse.Namespace) -> int:
    """Print what is known of one model; its weights, if any, are loaded and so verified."""
    from streamsep.models.checkpoint import find_model_file
    from streamsep.models.registry import build_preset, find_weights, load_model, preset_names

    weights = find_weights(args.model)
    if weights is None and args.model in preset_names():
        print(f"{args.model}: a preset without weights on this machine")
        _print_facts(build_preset(args.model))
        return 0
    model = load_model(args.model)
    path = find_model_file(weights or Path(args.model))
    print(f"{args.model}: {path}")
    _print_facts(model)
    _print_record(path)
    return 0


def _where(weights: Path | None, pullable: bool) -> str:
    if weights is None:
        return "can be pulled" if pullable else "none"
    return "pulled" if weights.is_dir() else "shipped"


def _print_facts(model: nn.Module) -> None:
    from streamsep.config import to_dict
    from streamsep.models.lookahead import longest_lookahead

    print(f"class: {type(model).__name__}")
    print(f"sources: {', '.join(model.sources)}")  # type: ignore[arg-type]
    print(f"sample rate: {model.sample_rate} Hz")
    if hasattr(model, "step"):
        total = int(model.hop) + int(model.latency)  # type: ignore[arg-type]
        milliseconds = 1000 * total / int(model.sample_rate)  # type: ignore[arg-type]
        print(f"hop: {model.hop} samples")
        print(f"algorithmic latency: {total} samples, {milliseconds:.1f} ms")
        if longest := longest_lookahead(model):
            print(f"longest look-ahead: {1000 * longest:.0f} ms (--lookahead)")
    print(f"parameters: {sum(value.numel() for value in model.parameters()):,}")
    if hasattr(model, "config"):
        print(f"config: {json.dumps(to_dict(model.config))}")


def _print_record(path: Path) -> None:
    """The training record, the licence, and the card, where the checkpoint has them."""
    from streamsep.models.checkpoint import FORMAT, RESERVED, read_record
    from streamsep.models.tensor_files import read_header

    if path.suffix == ".safetensors" and read_header(path).get("format") == FORMAT:
        record = read_record(path)
        for key in (key for key in record if key not in RESERVED):
            value = record[key]
            print(f"{key}: {value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}")
    card = path.with_suffix(".md")
    if card.is_file():
        print(f"\n{card.read_text(encoding='utf-8', errors='replace').strip()}")
