"""Ctrl-C and SIGTERM at awkward moments: never lost, never taken for damage, never a traceback."""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from streamsep import cli
from streamsep.errors import StreamsepError, telling
from streamsep.evaluation import apart
from streamsep.interrupts import interrupts_held
from streamsep.models import tensor_files

ROOT = Path(__file__).parent.parent


def test_an_interrupt_waits_for_the_end() -> None:
    reached = []
    with pytest.raises(KeyboardInterrupt):
        with interrupts_held():
            signal.raise_signal(signal.SIGINT)
            reached.append("the end")
        reached.append("what follows")
    assert reached == ["the end"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_an_interrupt_wins_over_what_was_made_of_it() -> None:
    with pytest.raises(KeyboardInterrupt), interrupts_held():
        signal.raise_signal(signal.SIGINT)
        raise StreamsepError("damaged")


@pytest.mark.parametrize(("came", "code"), [(KeyboardInterrupt(), 130), (cli.Terminated(15), 143), (OSError(), None)])
def test_an_interrupt_in_python_s_own_condition_is_no_error_of_ours(
    came: BaseException, code: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As it takes its lock back: what lets it go again then finds it free."""

    class Busy(threading.Condition):
        def _acquire_restore(self, state: object) -> None:
            raise came

    def run(args: argparse.Namespace) -> int:
        condition = Busy(threading.Lock())
        with condition:
            condition.wait(0)
        return 0

    parser = argparse.ArgumentParser()
    parser.set_defaults(run=run)
    monkeypatch.setattr(cli, "build_parser", lambda: parser)
    if code is None:
        with pytest.raises(RuntimeError, match="release unlocked lock"):
            cli.main([])
    else:
        assert cli.main([]) == code


def test_what_is_ignored_stays_ignored_and_other_threads_hold_nothing() -> None:
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        with interrupts_held():
            assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
            signal.raise_signal(signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, before)
    ran: list[bool] = []

    def elsewhere() -> None:
        with interrupts_held():
            ran.append(True)

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert ran == [True]


def test_a_file_that_is_read_when_ctrl_c_comes_is_not_damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_file({"a": torch.ones(3)}, tmp_path / "a.safetensors")
    opened = tensor_files.safetensors.safe_open

    def interrupted(*args: Any, **kwargs: Any) -> Any:
        """What torch makes of a signal whose handler raises inside it."""
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt:
            raise ValueError("could not determine the shape of object type") from None
        return opened(*args, **kwargs)

    monkeypatch.setattr(tensor_files.safetensors, "safe_open", interrupted)
    with pytest.raises(KeyboardInterrupt):
        tensor_files.read_tensors(tmp_path / "a.safetensors")


def test_a_script_tells_of_ctrl_c_in_a_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    @telling("draw")
    def main() -> int:
        raise KeyboardInterrupt

    assert main() == 130
    assert capsys.readouterr().err == "draw: interrupted\n"


def test_a_server_process_that_has_gone_is_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    class Gone:
        def __init__(self, *_: Any, **__: Any) -> None: ...

        def __enter__(self) -> Gone:
            return self

        def __exit__(self, *_: Any) -> None: ...

        def submit(self, *_: Any) -> Any:
            raise EOFError("unexpected EOF")

    monkeypatch.setattr(apart, "ProcessPoolExecutor", Gone)
    with pytest.raises(StreamsepError, match="the song was ended before it began; the same command goes on"):
        apart.run_apart(int, "3", name="the song")


@pytest.mark.skipif(apart._context().get_start_method() != "forkserver", reason="there is no server process")
def test_ctrl_c_while_the_libraries_load_leaves_no_traceback(tmp_path: Path) -> None:
    """The server process, which imports them, is interrupted as its parent is: both are of one process group."""
    (tmp_path / "slow_library.py").write_text(
        "import pathlib, time\npathlib.Path(__file__).with_name('loading').touch()\ntime.sleep(60)\n"
    )
    (tmp_path / "parent.py").write_text(
        "from streamsep.evaluation import apart\n"
        "apart._PRELOADED = [apart._PRELOADED[0], 'slow_library']\n"
        "try:\n"
        "    apart.run_apart(int, '3')\n"
        "except KeyboardInterrupt:\n"
        "    print('interrupted')\n"
    )
    begin = [sys.executable, "-c", "import signal, runpy; signal.signal(2, signal.default_int_handler)\n"]
    begin[-1] += f"runpy.run_path({str(tmp_path / 'parent.py')!r}, run_name='__main__')"
    environment = os.environ | {"PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}
    parent = subprocess.Popen(
        begin, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    until = time.monotonic() + 60
    while not (tmp_path / "loading").exists() and time.monotonic() < until and parent.poll() is None:
        time.sleep(0.05)
    os.killpg(parent.pid, signal.SIGINT)
    out, err = parent.communicate(timeout=60)
    assert out == "interrupted\n" and "Traceback" not in err
