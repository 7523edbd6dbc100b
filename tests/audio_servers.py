"""Sound devices without hardware: ALSA files, and JACK servers of the test's own.

Whoever uses PortAudio runs in a process of its own (`Child`): the library is initialised once, with the environment of
that moment, and what it does when a server dies must not happen to the tests.

Tests that need a part that is not installed are skipped, or fail if STREAMSEP_REQUIRE_AUDIO=1.
"""

from __future__ import annotations

import ctypes.util
import importlib.util
import itertools
import json
import os
import queue
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from streamsep.engine.ring import Audio

ROOT = Path(__file__).parent.parent
ALSA = Path("/usr/share/alsa/alsa.conf")
_numbers = itertools.count()


def require_portaudio() -> None:
    """Skip (or fail) the test where PortAudio or its package is missing."""
    if ctypes.util.find_library("portaudio") is None or importlib.util.find_spec("sounddevice") is None:
        _missing("no PortAudio; apt-get install libportaudio2, pip install 'streamsep[live]'")


def require_jack() -> None:
    """Skip (or fail) the test where jackd, its tools or its Python package are missing."""
    require_portaudio()
    if shutil.which("jackd") is None or importlib.util.find_spec("jack") is None:
        _missing("no JACK server; apt-get install jackd2, pip install JACK-Client")


def _missing(reason: str) -> None:
    if os.environ.get("STREAMSEP_REQUIRE_AUDIO") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


class AlsaFiles:
    """ALSA devices that read in.raw and write outN.raw in `folder`, without a clock.

    "loopN" has both directions and "playN" and "recordN" one each; N is the number of output channels. They take any
    number of channels; the input file has two.
    """

    def __init__(self, folder: Path, outputs: Sequence[int] = (2, 4, 8)) -> None:
        require_portaudio()
        if not ALSA.exists():
            _missing(f"no ALSA ({ALSA}); apt-get install libasound2-data")
        self.folder = folder
        text = "".join(self._pcms(number) for number in outputs)
        (folder / "asoundrc").write_text(text, encoding="utf-8")
        self.environment = {
            "ALSA_CONFIG_PATH": f"{ALSA}:{folder / 'asoundrc'}",
            "JACK_NO_START_SERVER": "1",
            "JACK_DEFAULT_SERVER": "none",
        }

    def _pcms(self, number: int) -> str:
        null = "type file slave.pcm null format raw"
        hint = 'hint { show on description "file over null" }'
        play = f'file "{self.folder}/out{number}.raw"'
        record = f'file /dev/null infile "{self.folder}/in.raw"'
        return (
            f"pcm.play{number} {{ {null} {play} {hint} }}\n"
            f"pcm.record{number} {{ {null} {record} {hint} }}\n"
            f'pcm.loop{number} {{ type asym playback.pcm "play{number}" capture.pcm "record{number}" {hint} }}\n'
        )

    def write(self, samples: Audio) -> None:
        """What the microphones hear: `samples [2, T]`; at the end it is silent."""
        np.ascontiguousarray(samples.T, dtype="<f4").tofile(self.folder / "in.raw")

    def read(self, channels: int) -> Audio:
        """What the loudspeakers of "loopN" or "playN" have played, `[N, T]`."""
        return np.fromfile(self.folder / f"out{channels}.raw", dtype="<f4").reshape(-1, channels).T


class JackServer:
    """A server of its own name on JACK's dummy driver; ended with the `with` block, whatever happens.

    A killed server leaves its place in JACK's registry of eight taken, until one of the same name has ended in order.
    """

    def __init__(
        self, rate: int = 44100, period: int = 256, inputs: int = 2, outputs: int = 8, realtime: bool = False
    ) -> None:
        require_jack()
        self.name = f"streamsep-test-{os.getpid()}-{next(_numbers)}"
        self.environment = {"JACK_DEFAULT_SERVER": self.name, "JACK_NO_START_SERVER": "1"}
        driver = ("-d", "dummy", "-r", str(rate), "-p", str(period), "-C", str(inputs), "-P", str(outputs))
        self._command = ("jackd", "-n", self.name, *(("-R", "-P", "70") if realtime else ("-r",)), *driver)
        self._process: subprocess.Popen[bytes] | None = None
        self._untidy = False

    def start(self) -> None:
        """Start the server and wait until it answers."""
        assert self._process is None, "the server runs already"
        self._untidy = False
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 20
        while not self.ports():
            if time.monotonic() > deadline or self._process.poll() is not None:
                self.kill(signal.SIGTERM)
                raise RuntimeError(f"{' '.join(self._command)} does not answer")
            time.sleep(0.02)

    def ports(self) -> list[str]:
        """Names of all ports; none where the server does not answer."""
        import jack

        jack.set_error_function(lambda message: None)
        try:
            client = jack.Client("test", servername=self.name, no_start_server=True)
        except jack.JackOpenError:
            return []
        try:
            return [port.name for port in client.get_ports()]
        finally:
            client.close()

    def kill(self, how: signal.Signals = signal.SIGKILL) -> None:
        """End the server, if it runs, at once or (SIGTERM) in order."""
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(10)
            self._process = None
            self._untidy = how == signal.SIGKILL

    def send(self, what: signal.Signals) -> None:
        """Send a signal such as SIGSTOP."""
        assert self._process is not None
        self._process.send_signal(what)

    def __enter__(self) -> JackServer:
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self._untidy:
            self.start()
        self.kill(signal.SIGTERM)
        for left in Path("/dev/shm").glob(f"jack_sem.*_{self.name}_*"):
            left.unlink(missing_ok=True)


class JackFiles:
    """Two JACK clients that PortAudio takes for devices: "song" plays an array, "recorder" keeps what it is sent.

    Both tell JACK that they have no delay, and there is no loop between them, so that all delay is that of the client
    between the two. While it is frozen (`freewheel`), the server runs as fast as its clients do.
    """

    def __init__(self, server: JackServer, samples: Audio, outputs: int, frames: int) -> None:
        import jack

        self._samples, self._outputs, self.recording = samples, outputs, np.zeros((outputs, frames), dtype=np.float32)
        self._playing = False
        self._begin: int | None = None
        self._full, self._frozen, self._clocked = threading.Event(), threading.Event(), threading.Event()
        self._song = jack.Client("song", servername=server.name, no_start_server=True)
        self._recorder = jack.Client("recorder", servername=server.name, no_start_server=True)
        for number in range(len(samples)):
            self._song.outports.register(f"capture_{number + 1}")
        for number in range(outputs):
            self._recorder.inports.register(f"playback_{number + 1}")
        self._song.set_freewheel_callback(lambda starting: (self._frozen if starting else self._clocked).set())
        self._song.set_process_callback(self._play)
        self._recorder.set_process_callback(self._record)
        self._song.activate()
        self._recorder.activate()

    def run(self, timeout: float = 30.0) -> Audio:
        """Play the array, from its beginning, at full speed; returns `[outputs, frames]` from that moment on."""
        self._song.set_freewheel(True)
        assert self._frozen.wait(5), "JACK goes on by its clock"
        self._playing = True  # not before: a client that is late by the clock would miss some of it
        try:
            assert self._full.wait(timeout), "JACK stands still"
        finally:
            self._clocked.clear()
            self._song.set_freewheel(False)
            self._clocked.wait(5)  # a client that leaves before that takes the server along
        return self.recording

    def close(self) -> None:
        """Leave the server."""
        for client in (self._song, self._recorder):
            client.deactivate()
            client.close()

    def _play(self, frames: int) -> None:
        now = self._song.last_frame_time
        if self._begin is None and self._playing:
            self._begin = now
        start = now - self._begin if self._begin is not None else len(self._samples[0])
        for port, channel in zip(self._song.outports, self._samples, strict=True):
            piece, block = channel[start : start + frames], port.get_array()
            block[:] = 0.0
            block[: len(piece)] = piece

    def _record(self, frames: int) -> None:
        if self._begin is None:
            return
        start = self._recorder.last_frame_time - self._begin
        length = self.recording.shape[1]
        if start >= length:
            self._full.set()
        elif start >= 0:
            for port, channel in zip(self._recorder.inports, self.recording, strict=True):
                channel[start : start + frames] = port.get_array()[: length - start]


class Child:
    """A function of `tests/audio_children.py` in a process of its own, which it talks to by lines of JSON."""

    def __init__(self, function: str, environment: dict[str, str], **arguments: Any) -> None:
        command = [sys.executable, "-X", "faulthandler", "-m", "tests.audio_children", function, json.dumps(arguments)]
        self._process = subprocess.Popen(
            command,
            env={**os.environ, **environment},
            cwd=ROOT,
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self._lines: queue.Queue[str] = queue.Queue()
        self._errors: list[str] = []
        for target in (self._read, self._read_errors):
            threading.Thread(target=target, daemon=True).start()

    def next(self, timeout: float = 60.0) -> Any:
        """The next thing it says."""
        try:
            line = self._lines.get(timeout=timeout)
        except queue.Empty:
            raise AssertionError(f"the child says nothing\n{''.join(self._errors)}") from None
        assert line, f"the child has ended with {self._process.wait(10)}\n{''.join(self._errors)}"
        return json.loads(line)

    def end(self, timeout: float = 60.0) -> str:
        """Close its input and wait until it has ended without a fault; returns what it wrote to stderr."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        code = self._process.wait(timeout)
        assert code == 0, f"the child has ended with {code}\n{''.join(self._errors)}"
        return "".join(self._errors)

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *error: object) -> None:
        self._process.kill()
        self._process.wait(10)
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            if pipe is not None:
                pipe.close()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line)
        self._lines.put("")

    def _read_errors(self) -> None:
        assert self._process.stderr is not None
        self._errors += self._process.stderr
