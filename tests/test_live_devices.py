"""`streamsep live` from end to end on sound devices without hardware: every sample, on every channel, where it belongs.

The devices have no clock, or one that waits, and the callback waits for the worker: the process, the compiled callback
and the shared memory are those of a stage.
"""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from streamsep.engine.edge_plan import EdgePlan
from streamsep.engine.resampler import Resampler
from streamsep.engine.routing import routing_matrix
from streamsep.files import read_audio, resample
from streamsep.models.causal_htdemucs import CausalHTDemucs
from streamsep.models.checkpoint import save_checkpoint
from streamsep.models.registry import load_model
from streamsep.models.streaming import separate_stream
from tests.audio_servers import AlsaFiles, JackFiles, JackServer
from tests.engine_toys import Audio
from tests.models import tiny_config, wake

pytestmark = pytest.mark.audio
ROOT = Path(__file__).parent.parent
SONG = ROOT / "examples" / "lithium" / "mix.ogg"
STEMS = ("drums", "bass", "other", "vocals")
APART = [f"--route={name}={2 * i + 1},{2 * i + 2}" for i, name in enumerate(STEMS)]
SHIPPED = "live-23-small"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A small model on disk."""
    path = tmp_path_factory.mktemp("model") / "tiny.safetensors"
    small = tiny_config()
    waveform = dataclasses.replace(small.waveform, strides=(8, 16))
    transformer = dataclasses.replace(small.transformer, context=5 * 128 / 44100)
    config = dataclasses.replace(
        small, hop=128, window=512, waveform=waveform, transformer=transformer, level_seconds=0.05
    )
    torch.manual_seed(0)
    save_checkpoint(wake(CausalHTDemucs(config)), path, {})
    return str(path)


class Live:
    """`streamsep live` in a process of its own; reads its lines of JSON."""

    def __init__(self, environment: dict[str, str], *flags: str) -> None:
        command = [sys.executable, "-m", "streamsep", "live", "--json", "--lock-step", "--device", "cpu", *flags]
        self.process = subprocess.Popen(
            command, cwd=ROOT, env={**os.environ, **environment}, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def wait_for(self, kind: str) -> dict[str, Any]:
        """The next object of that kind."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            found: dict[str, Any] = json.loads(line)
            if found["kind"] == kind:
                return found
        raise AssertionError(f"it has ended with {self.process.wait()}: {self.process.communicate()[1]}")

    def end(self, code: int = 0) -> dict[str, Any]:
        """The report, after an end with that exit code."""
        report = self.wait_for("report")
        assert self.process.wait(60) == code
        for pipe in (self.process.stdout, self.process.stderr):
            assert pipe is not None
            pipe.close()
        return report


def song(seconds: float, rate: int = 44100) -> Audio:
    samples, found = read_audio(SONG)
    return resample(samples[:, : round(seconds * found)], found, rate)


def separated(name: str, mix: Audio) -> Audio:
    """What the model makes of the whole, stem below stem `[8, T]`, aligned with it."""
    stems = separate_stream(load_model(name), torch.from_numpy(mix)[None], chunk_hops=1)  # type: ignore[arg-type]
    return stems[0].reshape(8, -1).numpy()


def delayed(samples: Audio, delay: int, frames: int) -> Audio:
    return np.pad(samples, ((0, 0), (delay, 0)))[:, :frames]


def play_files(folder: Path, mix: Audio, outputs: int, rate: int, flags: list[str]) -> tuple[Audio, dict[str, Any]]:
    """Run the ALSA device over `mix`; returns what it played and the report, of a run without a miss."""
    devices = AlsaFiles(folder)
    devices.write(mix)
    seconds = str(mix.shape[1] / rate)
    device = f"loop{outputs}"
    live = Live(
        devices.environment, "-i", device, "-o", device, "--samplerate", str(rate), "--seconds", seconds, *flags
    )
    report = live.end()
    assert (report["late_hops"], report["dry_blocks"], report["lost_frames"], report["error"]) == (0, 0, 0, None)
    return devices.read(outputs), report


def check(played: Audio, expected: Audio, report: dict[str, Any]) -> None:
    """The stems aligned by the declared latency to the sample."""
    delay = report["budget"]["total_frames"]
    assert delay == round(delay)
    assert played.shape[1] >= expected.shape[1]
    assert np.abs(expected).max() > 0.01
    found = played[:, : expected.shape[1]]
    np.testing.assert_allclose(found, delayed(expected, round(delay), expected.shape[1]), rtol=0, atol=1e-6)


@pytest.mark.parametrize("flags", [[], ["--callback", "python"], ["--worker", "thread"]], ids=" ".join)
@pytest.mark.parametrize("block", ["256", "100"])
def test_stems_apart_on_eight_outputs(tmp_path: Path, model: str, block: str, flags: list[str]) -> None:
    mix = song(2)
    played, report = play_files(tmp_path, mix, 8, 44100, ["-n", model, *APART, "--blocksize", block, *flags])
    check(played, separated(model, mix), report)


def test_the_shipped_model(tmp_path: Path) -> None:
    mix = song(4)
    played, report = play_files(tmp_path, mix, 8, 44100, ["-n", SHIPPED, "--preset", "monitor", "--executor", "eager"])
    check(played, separated(SHIPPED, mix), report)


def test_two_stems_on_four_outputs(tmp_path: Path, model: str) -> None:
    mix = song(2)
    flags = ["-n", model, "--route", "vocals=1,2", "--route", "drums=4,3"]
    played, report = play_files(tmp_path, mix, 4, 44100, flags)
    stems = separated(model, mix)
    check(played, stems[[6, 7, 1, 0]], report)


def test_the_mix_on_two_outputs(tmp_path: Path, model: str) -> None:
    mix = song(2)
    flags = ["-n", model, "--mute", "vocals", "--gain", "bass=-6.0205999", "--output-gain", "-12.0411998"]
    played, report = play_files(tmp_path, mix, 2, 44100, flags)
    drums, bass, other, _ = separated(model, mix).reshape(4, 2, -1)
    check(played, ((drums + 0.5 * bass + other) / 4).astype(np.float32), report)


def through_resamplers(name: str, mix: Audio, rate: int, lag: int) -> Audio:
    """What a device at `rate` is to play, `[8, T]`: down by the resampler, the model, `lag`, and up again."""
    matrix = routing_matrix((), STEMS, "stems", 8)
    plan = EdgePlan(44100, rate, rate, 2, matrix, 256, engine_lag=lag)
    share, half = plan.added, plan._half_in
    down = Resampler.between(rate, 44100, 2, mix.shape[1], Fraction(-half))
    down.push(mix)
    core = down.pull_all()
    model_lag = load_model(name).latency
    stems = delayed(separated(name, core), lag, core.shape[1])
    assert isinstance(model_lag, int)
    first = lag - (plan.delay - half) * Fraction(44100, rate)
    up = Resampler.between(44100, rate, 8, stems.shape[1], first)
    up.push(stems)
    assert share == plan.delay * Fraction(44100, rate) - lag
    return up.pull_all()


def test_at_48_kilohertz_it_is_the_same_resamplers_over_the_file(tmp_path: Path, model: str) -> None:
    mix = song(2, 48000)
    played, report = play_files(tmp_path, mix, 8, 48000, ["-n", model, *APART])
    budget = report["budget"]
    lag = sum(budget[f"{term}_frames"] for term in ("model", "blocking", "queue", "fade"))
    expected = through_resamplers(model, mix, 48000, lag)
    delay = budget["total_frames"] * 48000 / 44100
    device = budget["device_frames"] * 48000 / 44100
    assert delay == pytest.approx(round(delay), abs=1e-6) and device == pytest.approx(round(device), abs=1e-6)
    length = min(played.shape[1] - round(device), expected.shape[1])
    np.testing.assert_allclose(
        played[:, round(device) : round(device) + length], expected[:, :length], rtol=0, atol=2e-6
    )
    # And the declared delay is where the song is, for the stems sum to it.
    total = played.reshape(4, 2, -1).sum(axis=0)[:, : mix.shape[1]]
    behind = [float(np.square(total - delayed(mix, round(delay) + shift, mix.shape[1])).mean()) for shift in (-1, 0, 1)]
    assert behind[1] < min(behind[0], behind[2]) / 100


def test_two_devices_with_a_clock_each(tmp_path: Path, model: str) -> None:
    # ALSA's files have no clock at all, so nothing can be said of samples here: it runs, and something is heard.
    devices = AlsaFiles(tmp_path)
    devices.write(song(3))
    flags = ("-i", "record2", "-o", "play2", "-n", model, "--seconds", "2", "--samplerate", "44100")
    report = Live(devices.environment, *flags).end()
    assert report["budget"]["resampling_frames"] > 0
    assert report["error"] is None and report["seconds"] >= 1.9


@pytest.fixture(scope="module")
def server() -> Any:
    with JackServer(period=256) as server:
        yield server


@pytest.mark.parametrize(("outputs", "block"), [(2, None), (4, None), (8, 512)])
def test_jack_in_freewheel(server: JackServer, model: str, outputs: int, block: int | None) -> None:
    # The song begins some whole periods after the stream: the model's hop divides a period, and it forgets soon, so a
    # second and a half of silence before it is as good as any.
    mix, silence = song(3), 1.5 * 44100 // 256 * 256
    devices = JackFiles(server, mix, outputs, mix.shape[1])
    flags = ["-n", model, "-i", "song", "-o", "recorder", "--host-api", "JACK", "--no-limiter"]
    flags += APART[: outputs // 2] + (["--blocksize", str(block)] if block else [])
    live = Live(server.environment, *flags)
    try:
        while live.wait_for("status")["seconds"] < silence / 44100:
            pass
        played = devices.run()
    finally:
        live.process.send_signal(signal.SIGINT)
        report = live.end(130)
        devices.close()
    expected = separated(model, np.pad(mix, ((0, 0), (int(silence), 0))))[:outputs, int(silence) :]
    delay = round(report["budget"]["total_frames"])  # before it, the model rings ahead into the silence
    np.testing.assert_allclose(played[:, delay:], expected[:, : played.shape[1] - delay], rtol=0, atol=1e-6)
    assert report["device_losses"] == report["worker_restarts"] == 0
