"""How a run ends early and is kept from being overwritten."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from streamsep.errors import StreamsepError
from streamsep.interrupts import signals_handled
from streamsep.training.state import remove_state

_FILES = ("log.csv", "validation.csv", "last.safetensors", "last.json", "best.safetensors", "best.json")


@contextmanager
def stop_signals() -> Iterator[threading.Event]:
    """SIGINT and SIGTERM ask for an end after the current step; outside the main thread they are left alone."""
    stop = threading.Event()
    with signals_handled((signal.SIGINT, signal.SIGTERM), lambda *_: stop.set()):
        yield stop


def check_fresh(out: Path, resume: bool, restart: bool) -> None:
    """Refuse to overwrite a run by accident.

    Raises:
        StreamsepError: `out` holds a run and neither was asked for, or weights without a state, or is no folder.
    """
    if out.exists() and not out.is_dir():
        raise StreamsepError(f"{out} is no folder; choose another --out")
    if restart:
        return
    if (out / "state.pt").exists():
        if not resume:
            raise StreamsepError(f"{out} already holds a run; go on with --resume or start anew with --restart")
    elif held := [name for name in _FILES if name.endswith(".safetensors") and (out / name).exists()]:
        raise StreamsepError(
            f"{out} holds {held[0]} but no state to go on from; choose another --out, or let it go with --restart"
        )


def forget(out: Path) -> None:
    """Take a run away, as far as it had come: its state, its weights and what it told."""
    remove_state(out / "state.pt")
    for name in _FILES:
        (out / name).unlink(missing_ok=True)
