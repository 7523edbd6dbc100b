"""`streamsep live` as a process of its own: keys, signals, pipes, and what it leaves behind."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch

from streamsep.engine.pcm import Pcm
from streamsep.files import read_audio
from streamsep.models.checkpoint import save_checkpoint
from streamsep.models.streaming import separate_stream
from tests.audio_servers import AlsaFiles
from tests.engine_toys import Audio, noise
from tests.models import tiny

ROOT = Path(__file__).parent.parent


def same(found: Audio, expected: Audio) -> None:
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)


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


def test_a_listener_that_goes_is_told_of_and_so_is_the_take(tmp_path: Path) -> None:
    save_checkpoint(tiny(), tmp_path / "tiny.safetensors", {})
    command = [sys.executable, "-m", "streamsep", "live", "-i", "-", "-o", "-", "-d", "cpu", "--executor", "eager"]
    command += ["-n", str(tmp_path / "tiny.safetensors"), "--pipe-format", "f32le", "--record", str(tmp_path / "takes")]
    pipe = subprocess.PIPE
    with subprocess.Popen([*command, "--worker", "thread"], stdin=pipe, stdout=pipe, stderr=pipe, cwd=ROOT) as process:
        assert process.stdin and process.stdout and process.stderr
        process.stdin.write(Pcm().encode(noise(8192)))
        process.stdin.flush()
        process.stdout.read(4096)
        process.stdout.close()
        with contextlib.suppress(BrokenPipeError):  # it may have noticed
            process.stdin.write(Pcm().encode(noise(8192)))
            process.stdin.close()
        told = process.stderr.read().decode().splitlines()
        assert process.wait(60) == 1
    assert told[-2].startswith("streamsep: recorded mix.wav, drums.wav") and "takes" in told[-2]
    assert told[-1].startswith("streamsep: who listened has gone, so the music ends here; keep the program")


def through_pipes(data: bytes, *flags: str) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "streamsep", "live", "-i", "-", "-o", "-", "-d", "cpu", "--executor", "eager"]
    return subprocess.run([*command, *flags], input=data, capture_output=True, cwd=ROOT, timeout=120, check=False)


@pytest.mark.parametrize("worker", ["process", "thread"])
def test_a_song_through_pipes_is_the_model_s_at_the_declared_lag(tmp_path: Path, worker: str) -> None:
    model, samples = tiny(), noise(3000)
    save_checkpoint(model, tmp_path / "tiny.safetensors", {})
    expected = separate_stream(model, torch.from_numpy(samples)[None], chunk_hops=1)[0].numpy()
    result = through_pipes(
        Pcm().encode(samples),
        *("-n", str(tmp_path / "tiny.safetensors"), "--pipe-format", "f32le", "--blocksize", "24", "--json"),
        *("--route", "vocals=1,2", "--route", "bass=3,4", "--route", "drums=6", "--worker", worker),
    )
    assert result.returncode == 0, result.stderr
    report = json.loads(result.stderr.splitlines()[-1])
    lag = round(report["budget"]["total_frames"] - report["budget"]["device_frames"])
    played = np.frombuffer(result.stdout, np.float32).reshape(-1, 6).T
    drums = np.stack([0 * expected[0][0], expected[0].mean(axis=0)])
    same(played[:, lag : lag + 3000], np.concatenate([expected[3], expected[1], drums]))
    assert not played[:, :lag].any()


def test_sound_on_stdout_is_nothing_but_sound(tmp_path: Path) -> None:
    import soundfile

    save_checkpoint(tiny(), tmp_path / "tiny.safetensors", {})
    soundfile.write(tmp_path / "song.wav", noise(3000).T, 48000, subtype="PCM_16")
    result = through_pipes((tmp_path / "song.wav").read_bytes(), "-n", str(tmp_path / "tiny.safetensors"))
    assert result.returncode == 0, result.stderr
    (tmp_path / "out.wav").write_bytes(result.stdout)
    samples, rate = read_audio(tmp_path / "out.wav")
    assert rate == 48000 and len(samples) == 2 and samples.shape[1] >= 3000
    assert b"misses" in result.stderr


def test_a_dead_model_ends_a_song_through_pipes(tmp_path: Path) -> None:
    save_checkpoint(tiny(), tmp_path / "tiny.safetensors", {})
    command = [sys.executable, "-m", "streamsep", "live", "-i", "-", "-o", "-", "-d", "cpu", "--executor", "eager"]
    command += ["-n", str(tmp_path / "tiny.safetensors"), "--pipe-format", "f32le"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, cwd=ROOT) as process:
        assert process.stdin and process.stdout and process.stderr
        process.stdin.write(Pcm().encode(noise(8192)))
        process.stdin.flush()
        process.stdout.read(4096)
        for child in psutil.Process(process.pid).children(recursive=True):
            if "spawn_main" in " ".join(child.cmdline()):  # not what looks after the shared memory
                child.kill()
        with contextlib.suppress(BrokenPipeError):  # it may have noticed
            process.stdin.write(Pcm().encode(noise(8192)))
            process.stdin.close()
        error = process.stderr.read().decode()
        assert process.wait(60) == 1
    assert "streamsep: error: the model has stopped (its process ended with code -9)" in error.splitlines()[-1]


def test_a_model_that_is_not_there_is_one_sentence() -> None:
    result = through_pipes(b"", "-n", "nothing", "--pipe-format", "s16le")
    assert result.returncode == 1
    assert result.stderr.decode().splitlines()[-1].startswith("streamsep: error: there is no model or file 'nothing'")


@pytest.mark.audio
@pytest.mark.parametrize("callback", ["python", pytest.param("compiled", marks=pytest.mark.slow)])
def test_stems_leave_a_sound_device_on_their_channels_at_the_declared_latency(tmp_path: Path, callback: str) -> None:
    alsa, model, samples = AlsaFiles(tmp_path), tiny(), noise(6000)
    # Behind its end the device repeats what it has; the last hop's look-ahead shall be silence.
    alsa.write(np.pad(samples, ((0, 0), (0, 8192))))
    save_checkpoint(model, tmp_path / "tiny.safetensors", {})
    expected = separate_stream(model, torch.from_numpy(samples)[None], chunk_hops=1)[0].numpy()
    command = [sys.executable, "-m", "streamsep", "live", "-d", "cpu", "--executor", "eager", "--json", "--lock-step"]
    command += ["-n", str(tmp_path / "tiny.safetensors"), "-i", "loop8", "-o", "loop8", "--preset", "monitor"]
    command += ["--seconds", "0.25", "--samplerate", "44100", "--blocksize", "128", "--callback", callback]
    environment = {**os.environ, **alsa.environment}
    result = subprocess.run(command, capture_output=True, cwd=ROOT, env=environment, timeout=300, check=False)
    assert result.returncode == 0, result.stderr
    total = round(json.loads(result.stdout.splitlines()[-1])["budget"]["total_frames"])
    played = alsa.read(8)
    same(played[:, total : total + 6000], expected.reshape(8, 6000))
    assert not played[:, :total].any()
