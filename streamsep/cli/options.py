"""Flags that several subcommands share, and the device they choose."""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from streamsep.errors import StreamsepError

if TYPE_CHECKING:
    import torch


def add_model_flags(parser: argparse.ArgumentParser) -> None:
    """`-n/--model` and `-d/--device`."""
    parser.add_argument(
        "-n", "--model", metavar="NAME|PATH", help="a preset (`streamsep models list`) or a checkpoint file"
    )
    parser.add_argument(
        "-d", "--device", help="what computes: cpu, cuda, cuda:1 or mps (default: cuda where there is one, else cpu)"
    )


def add_sliding_flags(group: Any) -> None:
    """`--lookahead`, `--window` and `--hop`, for offline models that stream; see `sliding_options`."""
    group.add_argument(
        "--lookahead",
        type=duration,
        metavar="TIME",
        help="future that an offline model is given before it answers, such as 500ms or 0.5s: its latency",
    )
    group.add_argument(
        "--window", type=duration, metavar="TIME", help="what it hears at a time (default: see `streamsep tune`)"
    )
    group.add_argument(
        "--hop", type=duration, metavar="TIME", help="how often it answers (default: see `streamsep tune`)"
    )


def sliding_options(args: argparse.Namespace) -> dict[str, Any]:
    """The flags of `add_sliding_flags` as `load_separator` takes them."""
    return {"lookahead": args.lookahead, "window": args.window, "hop": args.hop}


def pick_device(name: str | None) -> torch.device:
    """The torch device called `name`; without a name, CUDA where there is one, else the CPU.

    Raises:
        StreamsepError: torch does not know the name, or this machine has no such device.
    """
    import torch

    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.ones(1, device=device).item()
    except (RuntimeError, AssertionError, NotImplementedError):
        here = "cpu or cuda" if torch.cuda.is_available() else "cpu"
        raise StreamsepError(f"the device {name!r} is not usable on this machine; choose --device {here}") from None
    return device


def positive_int(text: str) -> int:
    """An argparse type: a whole number from 1."""
    try:
        value = int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number") from None
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value} is below 1")
    return value


def positive_float(text: str) -> float:
    """An argparse type: a finite number above 0."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive number")
    return value


def duration(text: str) -> float:
    """An argparse type: a time above 0 such as 500ms, 0.5s or 0.5, in seconds."""
    number, scale = text.strip().lower(), 1.0
    if number.endswith("ms"):
        number, scale = number[:-2], 1e-3
    elif number.endswith("s"):
        number = number[:-1]
    try:
        return scale * positive_float(number)
    except argparse.ArgumentTypeError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a time such as 500ms or 0.5s") from None


def output_name(model: str) -> str:
    """The folder below --out for a model given by name or path."""
    return Path(model).stem if Path(model).stem not in ("", "..") else Path(model).resolve().stem
