"""Flags that several subcommands share, and the device they choose."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from streamsep.errors import StreamsepError
from streamsep.models.defaults import MODEL_ENDINGS, STREAM_DEFAULT

if TYPE_CHECKING:
    import torch

T = TypeVar("T")
_MOST = 1e9  # of what flags count: 30 years of seconds, and their frames still fit into 64 bits


def add_model_flags(parser: argparse.ArgumentParser, default: str = STREAM_DEFAULT) -> None:
    """`-n/--model`, whose help tells the `default`, and `-d/--device`."""
    parser.add_argument(
        "-n",
        "--model",
        metavar="NAME|PATH",
        help=f"a preset (`streamsep models list`) or a checkpoint file (default {default})",
    )
    parser.add_argument(
        "-d", "--device", help="what computes: cpu, cuda, cuda:1 or mps (default: cuda where there is one, else cpu)"
    )


def add_executor_flag(group: Any, default: str | None = "auto") -> None:
    """`--executor`; the `default` is None where a preset may set it."""
    group.add_argument(
        "--executor", default=default, metavar="NAME", help="auto, eager, onnx or cuda-graph (default auto)"
    )


def add_bits_flags(group: Any) -> None:
    """`--int24` and `--float32`; see `bits_of`."""
    bits = group.add_mutually_exclusive_group()
    bits.add_argument("--int24", action="store_true", help="24-bit samples in place of 16-bit ones")
    bits.add_argument("--float32", action="store_true", help="32-bit float samples (wav)")


def bits_of(args: argparse.Namespace) -> Literal[16, 24, 32]:
    """Bits of a sample that the flags of `add_bits_flags` ask for."""
    return 24 if args.int24 else 32 if args.float32 else 16


def add_waiting_flags(group: Any) -> None:
    """`--lookahead`, and `--window` and `--hop` for offline models that stream; see `waiting_options`."""
    group.add_argument(
        "--lookahead",
        type=waiting_time,
        metavar="TIME",
        help="future that the model is given before it answers, such as 500ms or 0.5s, and that much later; "
        "for offline models, and causal ones whose weights learnt to wait (`streamsep models info`)",
    )
    group.add_argument(
        "--window",
        type=duration,
        metavar="TIME",
        help="what an offline model hears at a time (default: see `streamsep tune`)",
    )
    group.add_argument(
        "--hop",
        type=duration,
        metavar="TIME",
        help="how often an offline model answers (default: see `streamsep tune`)",
    )


def waiting_options(args: argparse.Namespace) -> dict[str, Any]:
    """The flags of `add_waiting_flags` as `load_separator` takes them."""
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


def argument(parse: Callable[[str], T]) -> Callable[[str], T]:
    """A parsing function as an argparse type that shows what the function says of a mistake."""

    def convert(text: str) -> T:
        try:
            return parse(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return convert


def file_name(text: str) -> Path:
    """An argparse type: a file to write; `-`, which is stdout elsewhere, would be one of that name."""
    if text == "-":
        raise argparse.ArgumentTypeError("- is no file; choose a name")
    return Path(text)


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
    if value > _MOST:
        raise argparse.ArgumentTypeError(f"{text!r} is above {_MOST:g}")
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


def waiting_time(text: str) -> float:
    """An argparse type: as `duration`, or 0."""
    return 0.0 if text.strip().lower() in ("0", "0s", "0ms") else duration(text)


def refuse_bits_of_mp3(args: argparse.Namespace, flag: str) -> None:
    """StreamsepError for --int24 or --float32 beside the `flag` that chooses mp3."""
    for name in ("int24", "float32"):
        if getattr(args, name):
            raise StreamsepError(f"an mp3 has no bits a sample; leave out --{name}, or {flag}")


def track_name(song: Path) -> str:
    """The folder of a song's stems: its name without the ending, but of one such as ...wav, which leaves no name."""
    return song.stem if song.stem.strip(".") else song.name


def output_name(model: str) -> str:
    """The folder below --out for a model given by name or path; last and best come with the name of their run."""
    path = Path(model) if Path(model).name not in ("", "..") else Path(model).resolve()
    if path.suffix not in MODEL_ENDINGS or path.is_dir():
        return path.name
    run = path.parent.resolve().name if path.stem in ("last", "best") else ""
    return f"{run}-{path.stem}" if run else path.stem
