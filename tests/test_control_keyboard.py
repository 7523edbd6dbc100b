"""Keys as a mixing desk: what each does to the knobs, and the terminal before and after."""

from __future__ import annotations

import math
import os
import re
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

import pytest

from streamsep.control.actions import Actions, Recording
from streamsep.control.key_reader import KeyReader, can_read_keys, split_keys
from streamsep.control.keyboard import Keyboard, keys_of
from streamsep.engine.mixer import from_decibels
from streamsep.errors import StreamsepError
from streamsep.files import Codec
from tests.live_fakes import FakeKnobs

STEMS = ("drums", "bass", "other", "vocals")


class Rig:
    """Fake knobs with a keyboard in front of them."""

    def __init__(self, folder: Path) -> None:
        self.knobs = FakeKnobs()
        self.actions = Actions(self.knobs, STEMS, Recording(folder, Codec()))
        self._keyboard = Keyboard(self.actions)

    def type(self, keys: str) -> None:
        for key in split_keys(keys):
            self._keyboard.press(key)
            self._keyboard.finish(20)


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path)


UP, DOWN, RIGHT, LEFT = (f"\x1b[{letter}" for letter in "ABCD")


def test_digits_mute_and_select(rig: Rig) -> None:
    rig.type("24")
    assert rig.knobs.desk.mutes == {"bass", "vocals"}
    assert rig.actions.selected == 3
    rig.type("2")
    assert rig.knobs.desk.mutes == {"vocals"}
    assert rig.actions.selected == 1


def test_shifted_digits_solo_and_select(rig: Rig) -> None:
    rig.type("!$")
    assert rig.knobs.desk.solos == {"drums", "vocals"}
    assert rig.actions.selected == 3
    rig.type("$")
    assert rig.knobs.desk.solos == {"drums"}
    assert rig.knobs.desk.mutes == set()


def test_digits_beyond_the_stems_do_nothing(rig: Rig) -> None:
    rig.type("59%(x")
    assert (rig.knobs.desk.mutes, rig.knobs.desk.solos, rig.actions.selected) == (set(), set(), 0)


def test_the_selection_goes_round(rig: Rig) -> None:
    seen = []
    for key in (RIGHT, "\t", RIGHT, "\t", LEFT, LEFT):
        rig.type(key)
        seen.append(rig.actions.selected)
    assert seen == [1, 2, 3, 0, 3, 2]


def test_m_and_s_are_for_the_selected_stem(rig: Rig) -> None:
    rig.type(RIGHT + "ms")
    assert (rig.knobs.desk.mutes, rig.knobs.desk.solos) == ({"bass"}, {"bass"})
    rig.type("ms")
    assert (rig.knobs.desk.mutes, rig.knobs.desk.solos) == (set(), set())


@pytest.mark.parametrize(
    ("keys", "decibels"),
    [("+", 1), (UP, 1), ("=", 1), ("-", -1), (DOWN, -1), ("---+", -2), ("\x1bOA\x1bOA", 2), ("--0", 0), ("+" * 15, 12)],
)
def test_gain_moves_by_one_decibel(rig: Rig, keys: str, decibels: float) -> None:
    rig.type(LEFT + keys)
    assert rig.knobs.desk.gains == {"vocals": pytest.approx(from_decibels(decibels))}


def test_gain_ends_in_silence_and_comes_back(rig: Rig) -> None:
    rig.type("-" * 60)
    assert rig.knobs.desk.gain("drums") == pytest.approx(1e-3)
    rig.type("-")
    assert rig.knobs.desk.gain("drums") == 0.0
    rig.type("-")
    assert rig.knobs.desk.gain("drums") == 0.0
    rig.type("+")
    assert rig.knobs.desk.gain("drums") == pytest.approx(1e-3)


def test_a_gain_above_the_highest_is_not_pulled_down_by_more(rig: Rig) -> None:
    rig.knobs.set_gain("drums", from_decibels(20))
    rig.type("+")
    assert rig.knobs.desk.gain("drums") == pytest.approx(10.0)
    rig.type("-")
    assert rig.knobs.desk.gain("drums") == pytest.approx(from_decibels(19))


def test_bypass_panic_and_reset(rig: Rig) -> None:
    rig.type("b")
    assert (rig.knobs.bypass, rig.knobs.panic) == (True, False)
    rig.type("bp")
    assert (rig.knobs.bypass, rig.knobs.panic) == (False, True)
    rig.type(" r")
    assert (rig.knobs.panic, rig.knobs.resets) == (False, 1)
    assert "forgotten" in rig.actions.notes[-1]


def test_quit_and_help(rig: Rig) -> None:
    rig.type("?")
    assert (rig.actions.help, rig.actions.ended.is_set()) == (True, False)
    rig.type("?q")
    assert (rig.actions.help, rig.actions.ended.is_set()) == (False, True)


def test_capital_r_records_and_ends_the_take(rig: Rig, tmp_path: Path) -> None:
    times = [rig.knobs.recording]
    rig.type("R")
    times.append(rig.knobs.recording)
    assert rig.knobs.takes == [tmp_path]
    rig.type("R")
    times.append(rig.knobs.recording)
    assert times == [None, 0.0, None]
    assert list(rig.actions.notes) == [
        f"recording into {tmp_path}",
        f"recorded drums.wav, mix.wav in {tmp_path}",
    ]


def test_what_hinders_a_take_is_told_and_the_keys_go_on(rig: Rig) -> None:
    rig.knobs.fault = StreamsepError("the disk is full; make room")
    rig.type("R1")
    assert rig.knobs.recording is None
    assert list(rig.actions.notes) == ["the disk is full; make room"]
    assert rig.knobs.desk.mutes == {"drums"}


def test_a_disk_that_does_not_answer_holds_up_no_other_key(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = threading.Event()
    monkeypatch.setattr(rig.knobs, "record", lambda folder, codec: answer.wait(60))
    keyboard = Keyboard(rig.actions)
    for key in ("R", " ", "R"):
        keyboard.press(key)
    keyboard.finish(0.01)
    assert rig.knobs.panic and not answer.is_set()
    assert list(rig.actions.notes) == ["the disk has yet to answer; wait a moment"]
    answer.set()
    keyboard.finish(20)


def test_help_tells_of_keys_that_work(rig: Rig) -> None:
    words = {"left": LEFT, "right": RIGHT, "up": UP, "down": DOWN, "Tab": "\t", "Space": " ", "Shift + 1": "!"}
    for keys, _ in keys_of(len(STEMS)):
        for key in re.split(", | to | or ", keys):
            (pressed,) = split_keys(words.get(key, key))
            assert pressed in rig._keyboard._meanings


@pytest.mark.parametrize(("stems", "digits"), [(1, "1"), (2, "1 to 2"), (4, "1 to 4"), (6, "1 to 6"), (12, "1 to 9")])
def test_help_tells_of_as_many_keys_as_there_are_stems(stems: int, digits: str) -> None:
    assert [keys for keys, _ in keys_of(stems)][:2] == [digits, f"Shift + {digits}"]


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        ("", []),
        ("1q", ["1", "q"]),
        ("\x1b[A\x1b[B\x1b[C\x1b[D", ["up", "down", "right", "left"]),
        ("\x1bOA1", ["up", "1"]),
        ("\x1b[1;5Aq", ["q"]),  # Ctrl and an arrow
        ("\x1b[3~q", ["q"]),  # Delete
        ("\x1bOPq", ["q"]),  # F1
        ("\x1bqp", ["p"]),  # Alt and q
        ("\x1b", []),
        ("\n", ["\n"]),
    ],
)
def test_what_terminals_send(text: str, keys: list[str]) -> None:
    assert list(split_keys(text)) == keys


@pytest.fixture
def terminal() -> Iterator[tuple[int, TextIO]]:
    """A terminal's two ends: where a person types, and what a program reads."""
    if sys.platform == "win32":
        pytest.skip("there are no pseudo-terminals")
    person, program = os.openpty()
    with os.fdopen(program, "r+b", buffering=0, closefd=True) as file:
        import io

        with io.TextIOWrapper(file) as stream:
            yield person, stream
    os.close(person)


def modes(stream: TextIO) -> list[object]:
    import termios

    return termios.tcgetattr(stream.fileno())


def local_modes(stream: TextIO) -> int:
    flags = modes(stream)[3]
    assert isinstance(flags, int)
    return flags


def test_keys_come_singly_and_the_terminal_is_restored(terminal: tuple[int, TextIO]) -> None:
    import termios

    person, stream = terminal
    before = modes(stream)
    pressed: list[str] = []
    enough = threading.Event()

    def press(key: str) -> None:
        pressed.append(key)
        if len(pressed) == 3:
            enough.set()

    with KeyReader(press, stream):
        assert not local_modes(stream) & (termios.ICANON | termios.ECHO)
        assert local_modes(stream) & termios.ISIG  # Ctrl-C stays an interrupt
        os.write(person, b"1\x1b[Aq")
        assert enough.wait(10)
    assert pressed == ["1", "up", "q"]
    assert modes(stream) == before
    assert threading.active_count() == 1 or not [t for t in threading.enumerate() if t.name == "streamsep-keys"]


def unread(stream: TextIO) -> int:
    import array
    import fcntl
    import termios

    count = array.array("i", [0])
    fcntl.ioctl(stream.fileno(), termios.FIONREAD, count)
    return count[0]


@pytest.mark.parametrize(
    ("reads", "keys"),
    [
        ([b"1", b"\xe4", b" p"], ["1", " ", "p"]),  # a letter of Latin-1
        ([b"\xc3", b"\xa4", b"1"], ["\u00e4", "1"]),  # one of UTF-8, cut
        ([b"\x1b[1;", b"5C", b"1"], ["1"]),  # Ctrl and an arrow
        ([b"\x1b", b"[A", b"1"], ["up", "1"]),
    ],
)
def test_what_is_cut_by_a_read_is_put_together(
    terminal: tuple[int, TextIO], monkeypatch: pytest.MonkeyPatch, reads: list[bytes], keys: list[str]
) -> None:
    monkeypatch.setattr("streamsep.control.key_reader._GO_ON", 60.0)  # whatever else the machine does
    person, stream = terminal
    pressed: list[str] = []
    enough = threading.Event()

    def press(key: str) -> None:
        pressed.append(key)
        if key == keys[-1]:
            enough.set()

    with KeyReader(press, stream):
        for data in reads:
            os.write(person, data)
            while unread(stream):
                enough.wait(0.001)
        assert enough.wait(10)
    assert pressed == keys


def test_escape_alone_does_not_take_the_next_key(terminal: tuple[int, TextIO]) -> None:
    person, stream = terminal
    pressed: list[str] = []
    enough = threading.Event()

    def press(key: str) -> None:
        pressed.append(key)
        enough.set()

    with KeyReader(press, stream):
        os.write(person, b"\x1b")
        enough.wait(1.0)
        os.write(person, b"1")
        assert enough.wait(10)
    assert pressed == ["1"]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_the_terminal_is_restored_after_an_exception(terminal: tuple[int, TextIO], error: type[BaseException]) -> None:
    _, stream = terminal
    before = modes(stream)
    with pytest.raises(error), KeyReader(lambda key: None, stream):
        assert modes(stream) != before
        raise error
    assert modes(stream) == before


def ends(reader: KeyReader) -> bool:
    """Whether the reader's thread comes to its end."""
    reader._thread.join(20)
    return not reader._thread.is_alive()


def test_an_interrupt_as_the_reader_starts_restores_the_terminal(
    terminal: tuple[int, TextIO], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, stream = terminal
    before, start = modes(stream), threading.Thread.start

    def interrupted(thread: threading.Thread) -> None:
        start(thread)
        raise KeyboardInterrupt

    reader = KeyReader(lambda key: None, stream)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", interrupted)
        with pytest.raises(KeyboardInterrupt), reader:
            pass
    assert modes(stream) == before
    assert ends(reader)


def test_a_key_that_hangs_does_not_hold_up_the_end(terminal: tuple[int, TextIO]) -> None:
    person, stream = terminal
    before, pressed, answer = modes(stream), threading.Event(), threading.Event()

    def press(key: str) -> None:
        pressed.set()
        answer.wait(60)

    with KeyReader(press, stream) as reader:
        os.write(person, b"1")
        assert pressed.wait(20)
    assert reader._thread.is_alive() and modes(stream) == before
    answer.set()
    assert ends(reader)


def test_what_was_typed_and_not_read_does_not_reach_the_shell(terminal: tuple[int, TextIO]) -> None:
    person, stream = terminal
    busy, go = threading.Event(), threading.Event()

    def press(key: str) -> None:
        busy.set()
        go.wait(10)

    with KeyReader(press, stream) as reader:
        os.write(person, b"a")
        assert busy.wait(10)
        os.write(person, b"rm -rf\n")
        reader._terminal.stop()
        go.set()
    os.set_blocking(stream.fileno(), False)
    with pytest.raises(BlockingIOError):
        os.read(stream.fileno(), 100)


def test_ctrl_s_is_a_key_and_holds_no_output_up(terminal: tuple[int, TextIO]) -> None:
    person, stream = terminal
    pressed: list[str] = []
    enough = threading.Event()

    def press(key: str) -> None:
        pressed.append(key)
        if key == "q":
            enough.set()

    with KeyReader(press, stream):
        os.write(person, b"\x13q")
        assert enough.wait(10)
        assert select.select([], [stream], [], 0)[1]
    assert pressed == ["\x13", "q"]


IN_THE_FOREGROUND = """
import fcntl, sys, termios, threading
from streamsep.control.key_reader import KeyReader
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
ended = threading.Event()
with KeyReader(lambda key: ended.set() if key == "q" else None):
    print("listening", flush=True)
    ended.wait()
"""


def test_the_keys_go_on_after_a_stop(terminal: tuple[int, TextIO]) -> None:
    import termios

    person, stream = terminal
    before = modes(stream)
    command = [sys.executable, "-c", IN_THE_FOREGROUND]
    with subprocess.Popen(command, stdin=stream, stdout=subprocess.PIPE, start_new_session=True) as program:
        try:
            assert program.stdout is not None and program.stdout.readline() == b"listening\n"
            program.send_signal(signal.SIGSTOP)
            os.waitpid(program.pid, os.WUNTRACED)
            termios.tcsetattr(stream.fileno(), termios.TCSANOW, before)  # type: ignore[arg-type]  # as a shell does
            program.send_signal(signal.SIGCONT)
            os.write(person, b"q")
            assert program.wait(30) == 0
        finally:
            program.kill()


@pytest.mark.parametrize("ours", [True, False])
def test_the_terminal_is_set_again_only_in_the_foreground(
    terminal: tuple[int, TextIO], monkeypatch: pytest.MonkeyPatch, ours: bool
) -> None:
    import termios

    _, stream = terminal
    before, heard = modes(stream), list[int]()

    def handler(number: int, frame: object) -> None:
        heard.append(number)

    monkeypatch.setattr("os.tcgetpgrp", lambda descriptor: os.getpgrp() if ours else os.getpgrp() + 1)
    former = signal.signal(signal.SIGCONT, handler)
    try:
        with KeyReader(lambda key: None, stream):
            listening = modes(stream)
            termios.tcsetattr(stream.fileno(), termios.TCSANOW, before)  # type: ignore[arg-type]
            signal.raise_signal(signal.SIGCONT)
            assert modes(stream) == (listening if ours else before)
        assert heard == [signal.SIGCONT]
        assert signal.getsignal(signal.SIGCONT) is handler
    finally:
        signal.signal(signal.SIGCONT, former)


def test_the_reading_thread_leaves_the_end_of_a_stop_to_the_main_thread(terminal: tuple[int, TextIO]) -> None:
    """The kernel gives a signal to any thread that takes it; Python handles it in the main one, which may sleep."""
    blocked, pressed = set[int](), threading.Event()

    def press(key: str) -> None:
        blocked.update(signal.pthread_sigmask(signal.SIG_BLOCK, []))
        pressed.set()

    with KeyReader(press, terminal[1]):
        os.write(terminal[0], b"x")
        assert pressed.wait(20)
    assert signal.SIGCONT in blocked
    assert signal.SIGCONT not in signal.pthread_sigmask(signal.SIG_BLOCK, [])


def test_a_reader_in_another_thread_handles_no_signals(terminal: tuple[int, TextIO]) -> None:
    handlers = [signal.getsignal(signal.SIGCONT)]

    def read() -> None:
        with KeyReader(lambda key: None, terminal[1]):
            handlers.append(signal.getsignal(signal.SIGCONT))

    thread = threading.Thread(target=read)
    thread.start()
    thread.join()
    assert handlers == [signal.SIG_DFL] * 2


def test_a_terminal_that_goes_away_ends_the_reader(terminal: tuple[int, TextIO]) -> None:
    person, stream = terminal
    spare = os.dup(person)
    with KeyReader(lambda key: None, stream) as reader:
        os.close(person)
        os.close(spare)
        reader._thread.join(10)
        assert not reader._thread.is_alive()
    os.dup2(os.open(os.devnull, os.O_RDONLY), person)  # for the fixture to close


def test_only_a_terminal_in_the_foreground_gives_keys(terminal: tuple[int, TextIO], tmp_path: Path) -> None:
    assert not can_read_keys(None)
    with (tmp_path / "x").open("w+") as file:
        assert not can_read_keys(file)
    closed = (tmp_path / "x").open()
    closed.close()
    assert not can_read_keys(closed)
    # Not the terminal that this process was started from, so there is no foreground to be in.
    assert not can_read_keys(terminal[1])


def test_levels_are_finite_to_the_ear() -> None:
    from streamsep.control.actions import to_decibels

    assert to_decibels(0.0) == -math.inf
    assert to_decibels(10.0) == pytest.approx(20.0)
