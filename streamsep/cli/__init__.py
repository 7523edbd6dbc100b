"""The command line: one module a subcommand, thin over the library.

A subcommand's module is imported to describe its flags; what it needs to run, torch above all, it imports when it runs.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import io
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from types import FrameType
from typing import NoReturn

from streamsep import __version__
from streamsep.errors import StreamsepError

SUBCOMMANDS = (
    "separate",
    "stream",
    "live",
    "latency",
    "devices",
    "tune",
    "bench",
    "models",
    "export",
    "train",
    "evaluate",
)


def build_parser() -> argparse.ArgumentParser:
    """The parser of `streamsep`; each parsed subcommand carries its function as `run(args) -> exit code`."""
    parser = argparse.ArgumentParser(prog="streamsep", description="Music into drums, bass, other and vocals.")
    parser.add_argument("--version", action="version", version=f"streamsep {__version__}")
    subparsers = parser.add_subparsers(dest="subcommand", metavar="COMMAND", required=True)
    for name in SUBCOMMANDS:
        importlib.import_module(f"streamsep.cli.{name}").add_parser(subparsers)
    return parser


def program() -> NoReturn:
    """`main` as a program of its own.

    Once interrupted it ends at once: all has been tidied up, and the exit handlers of sound libraries take their time.
    """
    code = main()
    if code in (130, 143) and not multiprocessing.active_children():
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


class Terminated(KeyboardInterrupt):
    """SIGTERM has come: all is taken down as for Ctrl-C."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code.

    0 done, 1 an error that was told, 2 wrong usage, 130 interrupted, 143 terminated.
    """
    try:
        args = build_parser().parse_args(argv)
        with _raising_on_sigterm(), _any_name_printable():
            code = int(args.run(args))
            sys.stdout.flush()
    except StreamsepError as error:
        print(f"streamsep: error: {error}", file=sys.stderr)
        return 1
    except Terminated:
        print("streamsep: terminated", file=sys.stderr)
        return 143
    except KeyboardInterrupt:
        print("streamsep: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # Who read our output has gone; without this, Python would complain once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return code


@contextlib.contextmanager
def _raising_on_sigterm() -> Iterator[None]:
    """SIGTERM raises `Terminated`, so that temporary files go; outside the main thread it is left alone."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: FrameType | None) -> None:
        raise Terminated

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def _any_name_printable() -> Iterator[None]:
    """Print file names that are not text in the terminal's encoding with escapes, as stderr does anyway."""
    if not isinstance(sys.stdout, io.TextIOWrapper):
        yield
        return
    stdout, before = sys.stdout, sys.stdout.errors
    stdout.reconfigure(errors="backslashreplace")
    try:
        yield
    finally:
        stdout.reconfigure(errors=before)
