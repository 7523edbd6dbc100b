"""`streamsep live` as a process of its own: keys, signals, and what it leaves behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from streamsep.files import read_audio

ROOT = Path(__file__).parent.parent


class Child:
    """`python -m tests.live_child FLAGS`; its output may be a terminal."""

    def __init__(self, *flags: str, terminal: int | None = None) -> None:
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.live_child", *flags],
            cwd=ROOT,
            stdin=subprocess.DEVNULL if terminal is None else terminal,
            stdout=pipe if terminal is None else terminal,
            stderr=pipe if terminal is None else terminal,
            start_new_session=True,
            preexec_fn=None if terminal is None else own_terminal,
        )

    def wait_for(self, kind: str) -> dict[str, Any]:
        """The next JSON object of that kind."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            found: dict[str, Any] = json.loads(line)
            if found["kind"] == kind:
                return found
        raise AssertionError(f"the child ended: {self.process.communicate()}")

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *error: object) -> None:
        self.process.kill()
        self.process.communicate()


def own_terminal() -> None:
    """Make stdin the terminal that Ctrl-C is typed on."""
    import fcntl
    import termios

    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


@pytest.mark.parametrize("worker", ["process", pytest.param("thread", marks=pytest.mark.slow)])
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signals_end_it_at_once_and_finish_the_recording(
    tmp_path: Path, worker: str, number: signal.Signals, code: int
) -> None:
    with Child("--worker", worker, "--json", "--record", str(tmp_path)) as child:
        child.wait_for("status")
        began = time.monotonic()
        child.process.send_signal(number)
        out, err = child.process.communicate(timeout=30)
        took = time.monotonic() - began
    assert child.process.returncode == code
    assert took < 10  # a person would say 1: the machine may stall
    assert json.loads(out.splitlines()[-1])["kind"] == "report"
    assert err.decode().splitlines() == ["streamsep: interrupted" if code == 130 else "streamsep: terminated"]
    files = list(tmp_path.glob("*/*.wav"))
    assert len(files) == 5
    lengths = {read_audio(path)[0].shape[1] for path in files}
    assert len(lengths) == 1 and lengths.pop() > 10000


def test_a_driver_that_hangs_does_not_keep_ctrl_c_from_ending_it(tmp_path: Path) -> None:
    with Child("--worker", "thread", "--json", "--hang-at-stop", "--record", str(tmp_path)) as child:
        child.wait_for("status")
        child.process.send_signal(signal.SIGINT)
        assert child.process.wait(20) == 130
    assert read_audio(next(tmp_path.glob("*/mix.wav")))[0].shape[1] > 10000


def test_seconds_end_it_with_zero_and_the_watching_process_needs_no_torch() -> None:
    with Child("--seconds", "1.2", "--json", "--no-torch") as child:
        report = child.wait_for("report")
        out, err = child.process.communicate(timeout=30)
        assert (child.process.returncode, out, err) == (0, b"", b"")
    assert 1.2 <= report["seconds"] < 1.3


class Terminal:
    """The end of a pseudo-terminal at which a person sits."""

    def __init__(self) -> None:
        self.person, self.program = os.openpty()
        self.seen = ""

    def type(self, keys: str) -> None:
        os.write(self.person, keys.encode())

    def wait_for(self, text: str, seconds: float = 60) -> None:
        """Read until `text` is there, then forget it."""
        import select

        deadline = time.monotonic() + seconds
        while text not in self.seen:
            assert time.monotonic() < deadline, f"no {text!r} in {self.seen[-2000:]!r}"
            if select.select([self.person], [], [], 0.1)[0]:
                self.seen += os.read(self.person, 65536).decode(errors="replace")
        self.seen = self.seen.split(text, 1)[1]

    def modes(self) -> list[Any]:
        import termios

        return termios.tcgetattr(self.program)


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    if sys.platform == "win32":
        pytest.skip("there are no pseudo-terminals")
    terminal = Terminal()
    yield terminal
    os.close(terminal.person)
    os.close(terminal.program)


def test_keys_act_and_the_terminal_is_restored(terminal: Terminal, tmp_path: Path) -> None:
    before = terminal.modes()
    with Child("--record", str(tmp_path), terminal=terminal.program) as child:
        terminal.wait_for("recording into")
        terminal.wait_for("q to quit")
        assert terminal.modes() != before
        for keys, shown in [
            ("4", " M"),
            ("b", "BYPASS"),
            ("\x1b[A", "+1.0 dB"),
            ("?", "Shift + 1 to 4"),
            ("R", "recorded"),
        ]:
            terminal.wait_for("\x1b[")  # a picture
            assert shown not in terminal.seen
            terminal.type(keys)
            terminal.wait_for(shown)
        terminal.type("q")
        terminal.wait_for("RTF")
        assert child.process.wait(30) == 0
    assert terminal.modes() == before
    assert len(list(tmp_path.glob("*/*.wav"))) == 5


@pytest.mark.parametrize("worker", ["process", pytest.param("thread", marks=pytest.mark.slow)])
def test_ctrl_c_typed_on_a_terminal_restores_it(terminal: Terminal, worker: str) -> None:
    before = terminal.modes()
    with Child("--worker", worker, terminal=terminal.program) as child:
        terminal.wait_for("q to quit")
        assert terminal.modes() != before
        terminal.type("\x03")
        terminal.wait_for("streamsep: interrupted")
        assert child.process.wait(30) == 130
    assert terminal.modes() == before


def test_closing_the_terminal_finishes_the_recording_and_frees_the_memory(tmp_path: Path) -> None:
    if sys.platform != "linux":
        pytest.skip("looks for shared memory where Linux has it")
    terminal = Terminal()
    with Child("--record", str(tmp_path), terminal=terminal.program) as child:
        os.close(terminal.program)
        terminal.wait_for("q to quit")
        maps = psutil.Process(child.process.pid).memory_maps()
        shared = [Path(item.path) for item in maps if item.path.startswith("/dev/shm/psm_")]
        assert shared and all(path.exists() for path in shared)
        os.close(terminal.person)
        assert child.process.wait(120) == 129
    assert not any(path.exists() for path in shared)
    lengths = [read_audio(path)[0].shape[1] for path in tmp_path.glob("*/*.wav")]
    assert len(lengths) == 5 and len(set(lengths)) == 1
