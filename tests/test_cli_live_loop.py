"""How a live stream ends: what is told and tidied up, whoever ends it and whether or not anyone still reads."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from streamsep.cli import Terminated
from streamsep.cli.live_display import JsonDisplay, LineDisplay, TerminalDisplay
from streamsep.cli.live_loop import play
from streamsep.cli.live_snapshot import Figures, Level, Snapshot
from streamsep.control.actions import Actions, Recording
from streamsep.errors import StreamsepError
from streamsep.files import Codec
from tests.live_fakes import FakeKnobs


class FakeStream:
    """Starts, and ends at once as it is told to."""

    def __init__(self, end: BaseException | None) -> None:
        self._end = end
        self.closed: list[str] = []
        self.error: str | None = None
        self.host = SimpleNamespace(close=lambda: self.closed.append("host"))

    def start(self, first: Any) -> None:
        first()

    def wait(self, timeout: float) -> bool:
        if self._end is not None:
            raise self._end
        return True

    def events(self) -> list[str]:
        return ["the worker is back"] if self.closed else []

    def report(self) -> str:
        return "the report"

    def close(self) -> None:
        self.closed.append("stream")


class FakeDisplay(contextlib.AbstractContextManager["FakeDisplay"]):
    """Keeps what it is told, or has nobody to tell it to."""

    period = 60.0

    def __init__(self, error: OSError | None = None) -> None:
        self.told: list[str] = []
        self.error: OSError | None = None
        self._at_the_end = error

    def tell(self, sentence: str) -> None:
        if self.error is not None:
            raise self.error
        self.told.append(sentence)

    def end(self, report: Any) -> None:
        self.tell(report)

    def __exit__(self, *error: object) -> None:
        self.error = self._at_the_end


def ended(end: BaseException | None, display: FakeDisplay, folder: Path) -> FakeStream:
    """Play until `end` comes, which is raised on; the stream, for what was done to it."""
    stream: Any = FakeStream(end)
    screen: Any = display
    actions = Actions(FakeKnobs(), ("drums", "vocals"), Recording(folder, Codec()))
    with pytest.raises(type(end)) if end is not None else contextlib.nullcontext():
        play(stream, actions, screen, record=True, keys=False)
    found: FakeStream = stream
    return found


PENDING = ["recording into takes", "the worker is back", "recorded drums.wav, mix.wav in takes"]


@pytest.mark.parametrize(
    ("end", "last"),
    [
        (None, ["the report"]),
        (KeyboardInterrupt(), ["the report"]),
        (Terminated(15), ["the report"]),
        (
            BrokenPipeError(),
            ["who listened has gone, so the music ends here; keep the program behind the pipe running"],
        ),
        (ValueError(), []),
    ],
    ids=repr,
)
def test_what_is_pending_is_told_however_it_ends(end: BaseException | None, last: list[str]) -> None:
    display = FakeDisplay()
    stream = ended(end, display, Path("takes"))
    assert display.told == PENDING + last
    assert stream.closed[:2] == ["stream", "host"]


@pytest.mark.parametrize("end", [KeyboardInterrupt(), Terminated(1), BrokenPipeError(), ValueError()], ids=repr)
def test_a_display_that_nobody_sees_keeps_nothing_from_being_tidied_up(end: BaseException) -> None:
    display = FakeDisplay(OSError(5, "Input/output error"))
    stream = ended(end, display, Path("takes"))
    assert stream.closed[:2] == ["stream", "host"]
    assert display.told == PENDING[:1]


def test_the_picture_ends_quietly_on_a_terminal_that_has_gone() -> None:
    if sys.platform == "win32":
        pytest.skip("there are no pseudo-terminals")
    person, program = os.openpty()
    with open(program, "w") as screen:
        with TerminalDisplay(screen, screen) as display:
            display.show(Snapshot((), Level(), Level(), Figures()))
            os.close(person)
        with pytest.raises(OSError, match="Input/output error"):
            screen.write("x\n")
        os.dup2(os.open(os.devnull, os.O_WRONLY), program)  # for what is left to be written


def test_a_signal_while_an_error_is_tidied_up_does_not_leave_it_half_done(tmp_path: Path) -> None:
    """A terminal that is closed is both: nobody to write to, and a signal a moment later."""
    stream: Any = FakeStream(OSError(5, "Input/output error"))
    close, signals = stream.close, [Terminated(1)]

    def disturbed() -> None:
        if signals:
            raise signals.pop()
        close()

    stream.close = disturbed
    actions = Actions(FakeKnobs(), ("drums", "vocals"), Recording(tmp_path, Codec()))
    with pytest.raises(Terminated):
        play(stream, actions, FakeDisplay(), record=True, keys=False)  # type: ignore[arg-type]
    assert stream.closed == ["stream", "host"]


@pytest.mark.parametrize("restart", [True, False])
def test_a_model_that_has_stopped_ends_it_unless_it_is_started_anew(restart: bool) -> None:
    """Where a worker is replaced, even one that fails again and again does not end the music."""
    stream: Any = FakeStream(None)
    stream.config, ends = SimpleNamespace(restart=restart), [False, False, True]

    def wait(timeout: float) -> bool:
        stream.error = "boom"
        return ends.pop(0)

    stream.wait = wait
    display: Any = FakeDisplay()
    actions = Actions(FakeKnobs(), ("drums", "vocals"), Recording(Path("takes"), Codec()))
    fails = pytest.raises(StreamsepError, match=r"the model has stopped \(boom\), so the separated sound ends here")
    with contextlib.nullcontext() if restart else fails:
        play(stream, actions, display, record=True, keys=False)
    assert len(ends) == (0 if restart else 2)
    assert display.told == PENDING + (["the report"] if restart else [])
    assert stream.closed == ["stream", "host"]


@pytest.mark.parametrize(
    ("end", "told"),
    [
        (None, "the disk is gone"),
        (ValueError("the first thing that went wrong"), "the first thing that went wrong"),
        (KeyboardInterrupt(), None),
    ],
    ids=repr,
)
def test_a_recording_that_cannot_end_keeps_neither_device_nor_model(
    end: BaseException | None, told: str | None
) -> None:
    def fail() -> None:
        raise StreamsepError("the disk is gone")

    stream, display, actions = scene(end)
    actions.stop_recording = fail  # type: ignore[method-assign]
    with pytest.raises(StreamsepError if end is None else type(end), match=told):
        play(stream, actions, display, record=True, keys=False)
    assert stream.closed == ["stream", "host"]
    if isinstance(end, KeyboardInterrupt):
        assert "the disk is gone" in display.told and display.told[-1] == "the report"


def scene(end: BaseException | None) -> tuple[Any, Any, Actions]:
    """A stream, what shows it, and what the keys would turn."""
    actions = Actions(FakeKnobs(), ("drums", "vocals"), Recording(Path("takes"), Codec()))
    return FakeStream(end), FakeDisplay(), actions


def test_ctrl_c_during_the_end_ends_it_all_the_same() -> None:
    """`q`, and then an impatient Ctrl-C."""
    stream, display, actions = scene(None)
    close, hurries = stream.close, [True]

    def hurried() -> None:
        if hurries:
            hurries.pop()
            signal.raise_signal(signal.SIGINT)
        close()

    stream.close = hurried
    with pytest.raises(KeyboardInterrupt):
        play(stream, actions, display, record=True, keys=False)
    assert stream.closed == ["stream", "host"]
    assert display.told[-1] == "the report"


def test_a_second_ctrl_c_as_the_first_is_tidied_up_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    stream, display, actions = scene(KeyboardInterrupt())
    start = threading.Timer.start

    def started(timer: threading.Timer) -> None:
        start(timer)
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(threading.Timer, "start", started)
    with pytest.raises(KeyboardInterrupt):
        play(stream, actions, display, record=True, keys=False)
    assert stream.closed == ["stream", "host"]
    assert display.told[-1] == "the report"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device that is always full is Linux's")
@pytest.mark.parametrize("kind", [LineDisplay, JsonDisplay])
def test_a_log_on_a_full_disk_does_not_end_the_music(kind: type[LineDisplay] | type[JsonDisplay]) -> None:
    full = open("/dev/full", "w")  # noqa: SIM115, its end is an error too
    display = kind(full, full)
    report: Any = SimpleNamespace(to_text=lambda: "the report", to_dict=dict)
    display.tell("the worker is back")
    display.tell("so it is")
    with pytest.raises(OSError, match="No space left"):  # the report is what the run was for
        display.end(report)
    with contextlib.suppress(OSError):
        full.close()


def test_the_host_is_closed_though_nothing_was_recorded_or_begun() -> None:
    """A device that does not open: the recording has not begun, and there is no report."""
    stream: Any = FakeStream(None)

    def start(first: Any) -> None:
        raise StreamsepError("no such device")

    stream.start = start
    display: Any = FakeDisplay()
    actions = Actions(FakeKnobs(), ("drums", "vocals"), Recording(Path("takes"), Codec()))
    with pytest.raises(StreamsepError, match="no such device"):
        play(stream, actions, display, record=True, keys=False)
    assert stream.closed == ["stream", "host"]
    assert display.told == ["the worker is back"]
