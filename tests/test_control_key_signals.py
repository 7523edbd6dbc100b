"""Keys after the program was stopped: who hears that it goes on, and when the terminal is set again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from typing import TextIO

import pytest

from streamsep.control.key_reader import KeyReader
from tests.live_fakes import modes, terminal_fixture  # noqa: F401  (a fixture)

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
