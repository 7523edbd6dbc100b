"""A live stream from its start to its end, whoever ends it, and what is tidied up then."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from streamsep.cli import Terminated
from streamsep.cli.live_display import Display
from streamsep.cli.live_snapshot import Observer
from streamsep.control.actions import Actions
from streamsep.control.key_reader import KeyReader, can_read_keys
from streamsep.control.keyboard import Keyboard
from streamsep.errors import StreamsepError

if TYPE_CHECKING:
    from streamsep.engine.stream import Stream

_PATIENCE = 0.8  # seconds from Ctrl-C to the end, whatever hangs
_TICK = 0.1


def play(stream: Stream, actions: Actions, display: Display, *, record: bool, keys: bool) -> None:
    """Run `stream` until it ends, the performer ends it, or a signal does; then finish the recording and report.

    Args:
        stream: not yet started; it is closed here, and its host too.
        actions: what the keys turn.
        display: what is shown where.
        record: begin with a recording.
        keys: take keys from stdin, if it is a terminal.

    Raises:
        StreamsepError: the device or the model does not start, or the recording.
        KeyboardInterrupt: Ctrl-C, or SIGTERM as `Terminated`; all is finished before, within a second.
    """
    try:
        stream.start(actions.start_recording if record else None)
        with display, _keyboard(actions) if keys else contextlib.nullcontext():
            _watch(stream, actions, display)
    except KeyboardInterrupt as stop:
        with _ending_soon(143 if isinstance(stop, Terminated) else 130):
            _finish(stream, actions, display)
        raise
    except BaseException:
        with contextlib.suppress(StreamsepError):
            actions.stop_recording()
        stream.close()
        raise
    _finish(stream, actions, display)


def _watch(stream: Stream, actions: Actions, display: Display) -> None:
    observer, due = Observer(stream, actions), time.monotonic() + display.period
    ended = False
    while not ended and not actions.ended.is_set():
        _tell(stream, actions, display)
        if (now := time.monotonic()) >= due:
            display.show(observer.look())
            due = now + display.period
        # A little early, so that pictures come at their period and not a tick later.
        ended = stream.wait(min(_TICK, max(0.0, due - time.monotonic())))
        if stream.error is not None and not stream.config.restart:
            raise StreamsepError(f"the model has stopped ({stream.error}), so the separated sound ends here")


def _tell(stream: Stream, actions: Actions, display: Display) -> None:
    sentences = stream.events()
    while actions.notes:
        sentences.append(actions.notes.popleft())
    for sentence in sentences:
        display.tell(sentence)


def _finish(stream: Stream, actions: Actions, display: Display) -> None:
    try:
        actions.stop_recording()
    finally:
        stream.close()
        stream.host.close()
    _tell(stream, actions, display)
    display.end(stream.report())


@contextlib.contextmanager
def _keyboard(actions: Actions) -> Iterator[None]:
    if not can_read_keys(sys.stdin):
        yield
        return
    with KeyReader(Keyboard(actions).press):
        yield


@contextlib.contextmanager
def _ending_soon(code: int) -> Iterator[None]:
    """End the process with `code` if the block takes longer than a person waits; more Ctrl-C's do not disturb it."""
    clock = threading.Timer(_PATIENCE, os._exit, (code,))
    clock.daemon = True
    clock.start()
    main = threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGINT, signal.SIG_IGN) if main else None
    try:
        yield
    finally:
        clock.cancel()
        if main:
            signal.signal(signal.SIGINT, before)
