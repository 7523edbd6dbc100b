"""A song through `streamsep live` as a process: what comes out of its pipes and of a sound device, and how it ends."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path

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
