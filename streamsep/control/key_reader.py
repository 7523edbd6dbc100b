"""Single keys from the terminal, as they are pressed; the terminal is as it was before, however the reader ends."""

from __future__ import annotations

import codecs
import contextlib
import os
import re
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType, TracebackType
from typing import Any, TextIO

_ARROWS = {"A": "up", "B": "down", "C": "right", "D": "left"}
# An arrow as a terminal sends it (either cursor mode), any other escape sequence, or one character.
_KEY = re.compile(r"\x1b[\[O](?P<arrow>[ABCD])|\x1b(?:[\[O][0-?]*[ -/]*[@-~]|.)?|(?P<plain>.)", re.DOTALL)
# The second character that the Windows console gives for an arrow, as the sequence of a terminal.
_WINDOWS_ARROWS = {"H": "\x1b[A", "P": "\x1b[B", "M": "\x1b[C", "K": "\x1b[D"}
# The beginning of a sequence whose end has yet to come, or Escape alone.
_UNFINISHED = re.compile(r"\x1b(?:[\[O][0-?]*[ -/]*)?\Z")
_LEAVE = 0.3  # seconds that a key in hand may take; what hangs in a disk is left behind
_GO_ON = 0.1  # seconds after which what is unfinished stays so
_POLL = 0.05  # seconds between looks at the keyboard, on Windows


def split_keys(text: str) -> Iterator[str]:
    r"""The keys in what a terminal sent; sequences without a meaning here are swallowed whole.

    >>> list(split_keys("a\x1b[A1\x1b[1;5C\x1bOD"))
    ['a', 'up', '1', 'left']
    """
    for match in _KEY.finditer(text):
        if match["arrow"]:
            yield _ARROWS[match["arrow"]]
        elif match["plain"]:
            yield match["plain"]


def split_unfinished(text: str) -> tuple[str, str]:
    r"""What a terminal sent up to a sequence that goes on, and its beginning.

    >>> split_unfinished("1\x1b[1;")
    ('1', '\x1b[1;')
    """
    match = _UNFINISHED.search(text)
    return (text[: match.start()], match.group()) if match else (text, "")


def can_read_keys(stream: TextIO | None) -> bool:
    """Whether `stream` is a terminal that is ours: not a pipe, not one in whose background we run."""
    try:
        if stream is None or not stream.isatty():
            return False
        return sys.platform == "win32" or _in_foreground(stream.fileno())
    except (OSError, ValueError):
        return False


def _in_foreground(terminal: int) -> bool:
    return sys.platform != "win32" and os.tcgetpgrp(terminal) == os.getpgrp()


class KeyReader:
    """Calls `press` with every key, from a thread of its own, between `with` and its end.

    Ctrl-C stays an interrupt. After Ctrl-Z and `fg` the keys go on, if the main thread uses this. Ctrl-S is a key like
    others: it does not hold the output up. What was typed and not read is forgotten at the end, so that it does not
    reach the shell.
    """

    def __init__(self, press: Callable[[str], None], stream: TextIO | None = None) -> None:
        self._press = press
        self._terminal = _Terminal((stream or sys.stdin).fileno())
        self._thread = threading.Thread(target=self._run, name="streamsep-keys", daemon=True)

    def __enter__(self) -> KeyReader:
        try:
            self._terminal.open()
            self._thread.start()
        except BaseException:  # Ctrl-C on the way
            self._leave()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._leave()

    def _leave(self) -> None:
        try:
            self._terminal.stop()
            if self._thread.is_alive():
                self._thread.join(_LEAVE)
        finally:
            self._terminal.close()

    def _run(self) -> None:
        self._terminal.leave_signals_to_main()
        rest = ""
        while (text := self._terminal.read(_GO_ON if rest else None)) is not None:
            whole, rest = split_unfinished(rest + text) if text else ("", "")
            for key in split_keys(whole):
                self._press(key)


if sys.platform == "win32":

    class _Terminal:
        """The Windows console."""

        def __init__(self, descriptor: int) -> None:
            self._stopping = threading.Event()

        def open(self) -> None:
            """Nothing to prepare."""

        def leave_signals_to_main(self) -> None:
            """There is no Ctrl-Z here."""

        def read(self, timeout: float | None = None) -> str | None:
            """What was typed since the last call, after waiting for it, at most for `timeout`; None at the end."""
            import msvcrt

            waited = 0.0
            while not msvcrt.kbhit():
                if self._stopping.wait(_POLL):
                    return None
                waited += _POLL
                if timeout is not None and waited >= timeout:
                    return ""
            key = msvcrt.getwch()
            return _WINDOWS_ARROWS.get(msvcrt.getwch(), "") if key in "\x00\xe0" else key

        def stop(self) -> None:
            """Let `read` return."""
            self._stopping.set()

        def close(self) -> None:
            """Nothing to restore."""

else:

    class _Terminal:
        """A POSIX terminal, without line editing, echo and Ctrl-S while it is open."""

        def __init__(self, descriptor: int) -> None:
            self._descriptor = descriptor
            self._before: list[Any] = []
            self._restore_handler: Callable[[], object] = lambda: None
            self._wake_read, self._wake_write = -1, -1
            # A character may be cut by a read as well; bytes that are none are left out.
            self._decode = codecs.getincrementaldecoder("utf-8")("ignore").decode

        def open(self) -> None:
            """Keep the settings, then turn line editing, echo and Ctrl-S off, now and after every stop."""
            import termios

            self._before = termios.tcgetattr(self._descriptor)
            self._wake_read, self._wake_write = os.pipe()
            self._set()
            if threading.current_thread() is threading.main_thread():  # no other may handle signals
                self._handle_continue()

        def _set(self) -> None:
            import termios
            import tty

            tty.setcbreak(self._descriptor, termios.TCSANOW)
            modes = termios.tcgetattr(self._descriptor)
            modes[0] &= ~termios.IXON  # the output, stopped by Ctrl-S, would hold up all who write
            termios.tcsetattr(self._descriptor, termios.TCSANOW, modes)

        def _handle_continue(self) -> None:
            """The shell takes its own settings back when Ctrl-Z stops us, and gives us those at `fg`."""
            import termios

            former = signal.getsignal(signal.SIGCONT)

            def handle(number: int, frame: FrameType | None) -> None:
                with contextlib.suppress(OSError, termios.error):  # a terminal that has gone
                    if _in_foreground(self._descriptor):  # after `bg` it is the shell's
                        self._set()
                if callable(former):
                    former(number, frame)

            signal.signal(signal.SIGCONT, handle)
            self._restore_handler = lambda: signal.signal(signal.SIGCONT, former or signal.SIG_DFL)

        def leave_signals_to_main(self) -> None:
            """In the reading thread: what wakes us after a stop goes to the main thread, which alone can handle it."""
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCONT})

        def read(self, timeout: float | None = None) -> str | None:
            """What was typed since the last call, after waiting for it, at most for `timeout`; None at the end."""
            import select

            try:
                ready, _, _ = select.select([self._descriptor, self._wake_read], [], [], timeout)
                if not ready:
                    return ""
                data = b"" if self._wake_read in ready else os.read(self._descriptor, 1024)
            except (OSError, ValueError):  # also closed meanwhile
                return None
            return self._decode(data) if data else None

        def stop(self) -> None:
            """Let `read` return."""
            if self._wake_write >= 0:
                os.write(self._wake_write, b"x")

        def close(self) -> None:
            """Restore the settings; a terminal that has gone needs no restoring."""
            import termios

            self._restore_handler()
            ends, self._wake_read, self._wake_write = (self._wake_read, self._wake_write), -1, -1
            for end in ends:
                if end >= 0:
                    os.close(end)
            if not self._before:
                return
            try:
                # Now, not after the output: a terminal that has stopped would let us wait for ever.
                termios.tcsetattr(self._descriptor, termios.TCSANOW, self._before)
                termios.tcflush(self._descriptor, termios.TCIFLUSH)
            except termios.error:
                pass
