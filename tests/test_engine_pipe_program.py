"""The command line between other programs: two ffmpegs, a reader that closes, an interrupt."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from streamsep.engine.pcm import Pcm, wav_header
from tests.pipes import echoed, noise

ffmpeg = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="needs ffmpeg")


PROGRAM = """
import sys
from streamsep import cli
from streamsep.engine.backends.pipe import PipeDevice, PipeSource
from tests.pipes import play
import argparse
def run(args):
    print("ready", file=sys.stderr, flush=True)
    play(PipeDevice(2))
    return 0
def build():
    parser = argparse.ArgumentParser()
    parser.set_defaults(run=run)
    return parser
cli.build_parser = build
sys.exit(cli.main([]))
"""


def program(**streams: Any) -> subprocess.Popen[bytes]:
    """The command line around one device on stdin and stdout."""
    command = [sys.executable, "-W", "error", "-c", PROGRAM]
    process = subprocess.Popen(command, bufsize=0, stderr=subprocess.PIPE, **streams)
    assert process.stderr is not None and process.stderr.readline() == b"ready\n"
    return process


@ffmpeg
@pytest.mark.parametrize(
    ("flags", "channels"),
    [
        (["-c:a", "pcm_s16le"], 2),
        (["-c:a", "pcm_s24le"], 2),
        (["-c:a", "pcm_s32le"], 2),
        (["-c:a", "pcm_f32le"], 2),
        (["-c:a", "pcm_s24le"], 1),
        (["-c:a", "pcm_s16le", "-metadata", "title=a song"], 1),
        (["-c:a", "pcm_s16le", "-rf64", "always"], 2),
    ],
)
def test_between_two_ffmpegs(tmp_path: Path, flags: list[str], channels: int) -> None:
    samples = np.round(noise(20_000, channels) * 2**15) / np.float32(2**15)
    soundfile.write(tmp_path / "song.flac", samples.T, 32000, subtype="PCM_16")
    quiet = ["ffmpeg", "-v", "error", "-nostdin"]
    first = [*quiet, "-i", str(tmp_path / "song.flac"), *flags, "-f", "wav", "-"]
    last = [*quiet, "-f", "wav", "-i", "pipe:", "-c:a", "pcm_f32le", str(tmp_path / "out.wav")]
    with (
        subprocess.Popen(first, stdout=subprocess.PIPE) as before,
        program(stdin=before.stdout, stdout=subprocess.PIPE) as ours,
        subprocess.Popen(last, stdin=ours.stdout) as after,
    ):
        for stream in (before.stdout, ours.stdout):
            assert stream is not None
            stream.close()
        assert ours.stderr is not None
        assert ours.stderr.read() == b""
    assert (before.returncode, ours.returncode, after.returncode) == (0, 0, 0)
    played, rate = soundfile.read(tmp_path / "out.wav", dtype="float32")
    assert rate == 32000
    echoed(np.broadcast_to(samples, (2, 20_000)), played.T)


def test_a_reader_that_closes_ends_the_program_quietly() -> None:
    with program(stdin=subprocess.PIPE, stdout=subprocess.PIPE) as ours:
        assert ours.stdin is not None and ours.stdout is not None and ours.stderr is not None
        ours.stdin.write(wav_header(Pcm(), None) + bytes(8 * 1000))
        assert len(ours.stdout.read(100)) == 100
        ours.stdout.close()
        try:
            while ours.poll() is None:
                ours.stdin.write(bytes(65536))
        except BrokenPipeError:
            pass
        assert (ours.wait(20), ours.stderr.read()) == (1, b"")


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
@pytest.mark.parametrize("begun", [True, False])
def test_an_interrupt_ends_a_program_that_waits_for_sound(begun: bool) -> None:
    with program(stdin=subprocess.PIPE, stdout=subprocess.PIPE) as ours:
        assert ours.stdin is not None and ours.stdout is not None and ours.stderr is not None
        ours.stdin.write(wav_header(Pcm(), None) + bytes(8 * 256) if begun else b"RIFF")
        if begun:
            assert len(ours.stdout.read(100)) == 100
        ours.send_signal(signal.SIGINT)
        assert (ours.wait(20), ours.stderr.read()) == (130, b"streamsep: interrupted\n")
