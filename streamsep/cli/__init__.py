"""The command line: one module a subcommand, thin over the library.

A subcommand's module is imported to describe its flags; what it needs to run, torch above all, it imports when it runs.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence

from streamsep import __version__
from streamsep.errors import StreamsepError

SUBCOMMANDS = ("separate", "stream", "models", "train", "evaluate")


def build_parser() -> argparse.ArgumentParser:
    """The parser of `streamsep`; each parsed subcommand carries its function as `run(args) -> exit code`."""
    parser = argparse.ArgumentParser(prog="streamsep", description="Music into drums, bass, other and vocals.")
    parser.add_argument("--version", action="version", version=f"streamsep {__version__}")
    subparsers = parser.add_subparsers(dest="subcommand", metavar="COMMAND", required=True)
    for name in SUBCOMMANDS:
        importlib.import_module(f"streamsep.cli.{name}").add_parser(subparsers)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code (0 done, 1 an error that was told, 2 wrong usage, 130 interrupted)."""
    try:
        args = build_parser().parse_args(argv)
        code = int(args.run(args))
        sys.stdout.flush()
    except StreamsepError as error:
        print(f"streamsep: error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("streamsep: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # Who read our output has gone; without this, Python would complain once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return code
