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
from streamsep.interrupts import SIGNALS, signals_handled

if TYPE_CHECKING:
    from streamsep.engine.stream import Stream

_PATIENCE = 0.8  # seconds from Ctrl-C to the end, whatever hangs
_LAST_KEY = 0.6  # seconds for what a key has begun: a little longer than a recording takes at most to end
_UNHEARD = "who listened has gone, so the music ends here; keep the program behind the pipe running"
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
        KeyboardInterrupt: Ctrl-C, or a signal as `Terminated`; all is finished before, within a second.
        BrokenPipeError: who listened to a pipe has gone; the display has told of it, if it can.
    """
    try:
        try:
            stream.start(actions.start_recording if record else None)
            with display, _keyboard(actions) if keys else contextlib.nullcontext():
                _watch(stream, actions, display)
        except Exception as error:
            with contextlib.suppress(StreamsepError):
                _close(stream, actions)
            with contextlib.suppress(OSError):
                _tell(stream, actions, display)
                if isinstance(error, BrokenPipeError):
                    display.tell(_UNHEARD)
            raise
        _close(stream, actions)
    except KeyboardInterrupt as stop:  # also one that comes while an end or an error is tidied up
        with _ending_soon(stop.code if isinstance(stop, Terminated) else 130):
            try:
                _close(stream, actions)
            except Exception as error:  # told, and no reason to forget who ended it
                actions.notes.append(str(error))
            with contextlib.suppress(OSError):  # a terminal that has gone
                _report(stream, actions, display)
        raise
    _report(stream, actions, display)


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


def _report(stream: Stream, actions: Actions, display: Display) -> None:
    _tell(stream, actions, display)
    display.end(stream.report())


def _close(stream: Stream, actions: Actions) -> None:
    try:
        actions.stop_recording()
    finally:
        stream.close()
        stream.host.close()


@contextlib.contextmanager
def _keyboard(actions: Actions) -> Iterator[None]:
    if not can_read_keys(sys.stdin):
        yield
        return
    keyboard = Keyboard(actions)
    try:
        with KeyReader(keyboard.press):
            yield
    finally:
        keyboard.finish(_LAST_KEY)


@contextlib.contextmanager
def _ending_soon(code: int) -> Iterator[None]:
    """End the process with `code` if the block takes longer than a person waits; more signals do not disturb it."""
    clock = threading.Timer(_PATIENCE, os._exit, (code,))
    clock.daemon = True
    with signals_handled(SIGNALS, signal.SIG_IGN):
        clock.start()
        try:
            yield
        finally:
            clock.cancel()
