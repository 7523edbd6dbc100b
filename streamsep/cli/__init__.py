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
from collections.abc import Iterator, Sequence
from types import FrameType
from typing import NoReturn, TextIO

from streamsep import __version__
from streamsep.errors import StreamsepError
from streamsep.interrupts import interrupts_kept, signals_handled

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
    if code in (129, 130, 143) and not multiprocessing.active_children():
        os._exit(code)
    sys.exit(code)


class Terminated(KeyboardInterrupt):
    """SIGTERM has come, or SIGHUP because the terminal was closed: all is taken down as for Ctrl-C.

    Attributes:
        code: exit code that tells of the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__()
        self.code = 128 + number


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code.

    0 done, 1 an error that was told, 2 wrong usage, 129 the terminal was closed, 130 interrupted, 143 terminated.
    """
    _open_closed_streams()
    try:
        return _run(argv)
    except StreamsepError as error:
        return _end(1, f"error: {error}")
    except Terminated as stop:
        return _end(stop.code, "terminated" if stop.code == 143 else "the terminal was closed")
    except KeyboardInterrupt:
        return _end(130, "interrupted")
    except BrokenPipeError:  # who read our output has gone
        return _end(1)
    except OSError as error:
        if not _refuses(sys.stdout):
            raise
        return _end(1, f"error: cannot write the output ({error.strerror}); make room, or send it to another place")


def _run(argv: Sequence[str] | None) -> int:
    """The exit code of one command, whose output is out by then."""
    try:
        args = build_parser().parse_args(argv)
    except SystemExit:  # --help has been printed, or what is wrong with the usage
        sys.stdout.flush()
        raise
    with _raising_on_signals(), _any_name_printable(), interrupts_kept():
        code = int(args.run(args))
        sys.stdout.flush()
    return code


def _open_closed_streams() -> None:
    """Where stdout or stderr is closed, let it lead nowhere: Python has None for it, which nobody can write to."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115


def _refuses(stream: TextIO) -> bool:
    """Whether nothing more can be written to `stream`."""
    try:
        print(file=stream, flush=True)
    except OSError:
        return True
    return False


def _end(code: int, sentence: str = "") -> int:
    """Say why it ends, if stderr is still there, and return `code`."""
    with contextlib.suppress(OSError):
        if sentence:
            print(f"streamsep: {sentence}", file=sys.stderr)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:  # without this, Python would complain once more at exit
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    return code


@contextlib.contextmanager
def _raising_on_signals() -> Iterator[None]:
    """SIGTERM and SIGHUP raise `Terminated`, so that temporary files go; outside the main thread they are left alone.

    A SIGHUP that is ignored stays so: `nohup` asks for that.
    """

    def stop(number: int, frame: FrameType | None) -> None:
        if number != signal.SIGTERM:  # system and shell each send one, and the second would disturb the tidying up
            signal.signal(number, signal.SIG_IGN)
        raise Terminated(number)

    numbers = [signal.SIGTERM]
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        numbers.append(signal.SIGHUP)
    with signals_handled(numbers, stop):
        yield


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
