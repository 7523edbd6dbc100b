"""Keys from a terminal: what is read as which key, and the terminal before and after."""

from __future__ import annotations

import os
import select
import threading
from pathlib import Path
from typing import TextIO

import pytest

from streamsep.control.key_reader import KeyReader, can_read_keys, split_keys
from tests.live_fakes import modes, terminal_fixture  # noqa: F401  (a fixture)


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
