"""Where the status of a live stream goes: a terminal, a log of lines, or JSON."""

from __future__ import annotations

import contextlib
import errno
import sys
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, TextIO

from streamsep.cli.live_snapshot import Snapshot
from streamsep.cli.live_status import json_line, plain_line, render
from streamsep.errors import missing

if TYPE_CHECKING:
    from streamsep.engine.stats import StreamReport


class Display(Protocol):
    """Shows snapshots every `period` seconds, sentences as they come, and the report at the end."""

    period: float

    def show(self, snapshot: Snapshot) -> None:
        """Show the stream as it is now."""
        ...

    def tell(self, sentence: str) -> None:
        """Show a sentence."""
        ...

    def end(self, report: StreamReport) -> None:
        """Show what came of it."""
        ...

    def __enter__(self) -> Display:
        """Begin."""
        ...

    def __exit__(self, *error: Any) -> None:
        """Give the screen back."""
        ...


class LineDisplay:
    """A line every few seconds, for a log: to `stream`, the report too."""

    period = 5.0

    def __init__(self, stream: TextIO, report: TextIO) -> None:
        self._stream, self._report = stream, report

    def show(self, snapshot: Snapshot) -> None:
        """See `Display`."""
        self._print(plain_line(snapshot))

    def tell(self, sentence: str) -> None:
        """See `Display`."""
        self._print(sentence)

    def end(self, report: StreamReport) -> None:
        """See `Display`."""
        print(report.to_text(), file=self._report, flush=True)

    def _print(self, text: str) -> None:
        _say(f"streamsep: {text}", self._stream)

    def __enter__(self) -> LineDisplay:
        """See `Display`."""
        return self

    def __exit__(self, *error: Any) -> None:
        """See `Display`."""


class JsonDisplay(LineDisplay):
    """An object a second (`kind` status), one a sentence (event), and one at the end (report)."""

    period = 1.0

    def show(self, snapshot: Snapshot) -> None:
        """See `Display`."""
        self._put("status", snapshot.to_dict())

    def tell(self, sentence: str) -> None:
        """See `Display`."""
        self._put("event", {"text": sentence})

    def end(self, report: StreamReport) -> None:
        """See `Display`."""
        print(json_line("report", report.to_dict()), file=self._report, flush=True)

    def _put(self, kind: str, values: dict[str, Any]) -> None:
        _say(json_line(kind, values), self._stream)


def _say(line: str, stream: TextIO) -> None:
    """A line of a log; a disk without room loses it, for the music is worth more."""
    try:
        print(line, file=stream, flush=True)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise


class TerminalDisplay(LineDisplay):
    """A picture that is drawn anew ten times a second, with sentences scrolling away above it.

    Raises:
        StreamsepError: rich is not installed.
    """

    period = 0.1

    def __init__(self, stream: TextIO, report: TextIO) -> None:
        super().__init__(stream, report)
        try:
            from rich.console import Console
            from rich.live import Live
        except ModuleNotFoundError:
            raise missing("rich", "live") from None
        self._console = Console(file=stream, highlight=False)
        self._plain = not self._console.encoding.lower().startswith("utf")
        # Drawn by us, when there is something new: a thread of rich's would compete with the audio.
        self._live = Live(console=self._console, auto_refresh=False)

    def show(self, snapshot: Snapshot) -> None:
        """See `Display`."""
        self._live.update(render(snapshot, self._console.width, self._plain), refresh=True)

    def tell(self, sentence: str) -> None:
        """See `Display`."""
        self._console.print(sentence, style="bold", markup=False, soft_wrap=True)

    def __enter__(self) -> TerminalDisplay:
        """See `Display`."""
        self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """See `Display`."""
        with contextlib.suppress(OSError):  # a terminal that has gone has nothing to be given back
            self._live.stop()


def make_display(as_json: bool, sound_on_stdout: bool) -> Display:
    """The display that fits what stdout and stderr are, and what of them is free."""
    errors = _kept(sys.stderr)
    free = errors if sound_on_stdout else sys.stdout
    if as_json:
        return JsonDisplay(free, free)
    screen = free if _is_screen(free) else errors
    return TerminalDisplay(screen, free) if _is_screen(screen) else LineDisplay(errors, free)


def _kept(stream: TextIO) -> TextIO:
    """The same place by a descriptor of its own, for as long as the process lives: ours is silent at times, so that C
    libraries are (`quiet_stderr`)."""
    import io
    import os

    try:
        descriptor = os.dup(stream.fileno())
    except (io.UnsupportedOperation, OSError):
        return stream
    return open(descriptor, "w", encoding=stream.encoding, errors="backslashreplace", closefd=False)


def _is_screen(stream: TextIO) -> bool:
    import os

    return stream.isatty() and os.environ.get("TERM") != "dumb"
