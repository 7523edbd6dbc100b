"""Flags that several subcommands share, and the device they choose."""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import TYPE_CHECKING

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


def output_name(model: str) -> str:
    """The folder below --out for a model given by name or path."""
    return Path(model).stem if Path(model).stem not in ("", "..") else Path(model).resolve().stem
