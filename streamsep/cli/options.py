"""Flags that several subcommands share, and the device they choose."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from streamsep.errors import StreamsepError

if TYPE_CHECKING:
    import torch


def add_model_flags(parser: argparse.ArgumentParser) -> None:
    """`-n/--model` and `-d/--device`."""
    parser.add_argument(
        "-n", "--model", metavar="NAME|PATH", help="a preset (`streamsep models list`) or a checkpoint file"
    )
    parser.add_argument("-d", "--device", help="cpu, cuda, cuda:1 or mps (default: cuda where there is one, else cpu)")


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
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value} is below 1")
    return value
