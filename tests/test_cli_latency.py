"""`streamsep latency`: the sum, its parts, and what a cable says."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch

from streamsep.cli import main
from streamsep.cli.latency_table import Finding
from streamsep.cli.live_config import LiveConfig
from streamsep.engine.backends.base import LiveProcess, Pump
from streamsep.engine.backends.clocked import ClockedDevice, Clocking
from streamsep.engine.backends.loopback import RoundTrip
from streamsep.engine.host import SeparatorInfo
from streamsep.engine.ring import Audio
from streamsep.engine.timing import LatencyBudget
from tests.engine_toys import NAMES, DelaySplit


def told(capsys: pytest.CaptureFixture[str], *flags: str) -> dict[str, Any]:
    assert main(["latency", "--json", "-d", "cpu", *flags]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def terms(found: dict[str, Any]) -> dict[str, float]:
    names = ("model", "blocking", "queue", "fade", "resampling", "device", "total", "algorithmic")
    return {name: found["budget"][f"{name}_frames"] for name in names}


@pytest.mark.parametrize(
    ("model", "block", "queue", "expected"),
    [
        ("live-23-small", 256, 2, (512, 256, 512, 64, 0, 256, 1600, 1024)),
        ("live-23-small", 512, 1, (512, 0, 512, 64, 0, 512, 1600, 1024)),
        ("live-6-small", 128, 3, (128, 0, 384, 64, 0, 128, 704, 256)),
        ("live-93", 1024, 1, (3072, 0, 1024, 64, 0, 1024, 5184, 4096)),
    ],
)
def test_the_sum_of_a_preset(
    capsys: pytest.CaptureFixture[str], model: str, block: int, queue: int, expected: tuple[float, ...]
) -> None:
    flags = ("--no-device", "-n", model, "--blocksize", str(block), "--queue", str(queue))
    found = told(capsys, *flags)
    assert tuple(terms(found).values()) == expected
    assert (found["model"], found["queue"], found["block"], found["device_rate"]) == (model, queue, block, 44100)
    assert (found["step_ms"], found["measured"]) == (None, None)
    assert found["budget"]["total_ms"] == pytest.approx(1000 * expected[6] / 44100)


def test_another_rate_costs_filters_and_any_blocking(capsys: pytest.CaptureFixture[str]) -> None:
    parts = terms(told(capsys, "--no-device", "--samplerate", "48000", "--queue", "1"))
    assert parts["blocking"] == 511
    assert parts["device"] == pytest.approx(256 * 44100 / 48000)
    assert 30 < parts["resampling"] < 132
    assert sum(list(parts.values())[:6]) == pytest.approx(parts["total"])


def test_steps_decide_the_queue(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(
        "streamsep.engine.thread_host.measure_step", lambda executor, steps: [0.004] * (steps - 1) + [0.02]
    )
    found = told(capsys, "--no-device", "--executor", "eager")
    assert found["queue"] == 4
    assert found["step_ms"] == {"p50": pytest.approx(4.0), "p99": pytest.approx(4.0)}
    assert main(["latency", "--no-device", "--executor", "eager", "-d", "cpu"]) == 0
    text = capsys.readouterr().out
    assert "steps of the model here (eager): p50 4.00, p99 4.00 of 11.61 ms" in text
    assert "time for the model: 4 blocks" in text


def test_a_rig_brings_its_model_and_block(tmp_path: Any, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "rig.yaml").write_text("model: live-12-small\nblocksize: 128\nqueue: 2\nroutes: [drums=8]\n")
    found = told(capsys, "--no-device", "--preset", str(tmp_path / "rig.yaml"))
    assert (found["model"], found["block"], found["queue"], found["hop"]) == ("live-12-small", 128, 2, 256)
    assert told(capsys, "--no-device", "--preset", str(tmp_path / "rig.yaml"), "--queue", "5")["queue"] == 5


def test_a_pipe_is_no_matter_without_a_device(capsys: pytest.CaptureFixture[str]) -> None:
    pipe = told(capsys, "-i", "-", "-o", "-", "--no-device", "--queue", "1")
    assert terms(pipe) == terms(told(capsys, "--no-device", "--queue", "1"))


def test_the_table_explains_itself(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["latency", "--no-device", "--queue", "1", "-d", "cpu"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "live-23-small on a device of 44100 Hz, blocks of 256"
    table = [line.split()[:3] for line in lines[3:10]]
    assert table == [
        ["model", "512", "11.61"],
        ["blocking", "256", "5.80"],
        ["queue", "256", "5.80"],
        ["fade", "64", "1.45"],
        ["resampling", "0", "0.00"],
        ["device", "256", "5.80"],
        [],
    ]
    assert lines[10] == "total           1344    30.48"
    assert lines[-1].endswith("by device and blocking): 1024 frames, 23.22 ms")


def finding(separate: bool, trip: float | None) -> Finding:
    from types import SimpleNamespace

    info = SeparatorInfo(512, 512, 44100, NAMES, 1, "eager", (0.004,) * 10)
    budget = LatencyBudget(44100, 512, 512, blocking=256, queue=256, fade=64, device=441.0, resampling=88.2)
    device: Any = SimpleNamespace(sample_rate=48000, block=None, separate=separate)
    found = None if trip is None else RoundTrip(trip, 0.02, 4, 5, 0.5, 48000)
    return Finding("live-23-small", info, device, 1, budget, found)


def test_a_measured_device_takes_the_place_of_the_declared_one() -> None:
    # 960 frames at 48 kHz are 20 ms, and 882 frames at 44.1 kHz.
    device, total = finding(False, 960.0).measured or (0.0, 0.0)
    assert device == pytest.approx(882.0)
    assert total == pytest.approx(512 + 256 + 256 + 64 + 88.2 + 882)
    text = finding(False, 960.0).to_text()
    assert "measured: device 20.00 ms, sum 46.67 ms (4 of 5 bursts came back, within 0.02 frames)" in text
    assert "device           441    10.00" in text
    assert finding(False, None).measured is None
    assert "measured" not in finding(False, None).to_text()


def test_with_two_devices_the_whole_way_is_measured() -> None:
    device, total = finding(True, 1920.0).measured or (0.0, 0.0)
    assert (device, total) == (pytest.approx(1764 - 1176.2), pytest.approx(1764))
    assert "between the clocks of two devices" in finding(True, None).to_text()
    assert "blocks of many sizes" in finding(True, None).to_text()


class Cable:
    """What is played comes back `delay` frames later, on top of the block in hand."""

    def __init__(self, delay: int) -> None:
        self._line: Audio = np.zeros((2, delay), np.float32)

    def read(self, out: Audio) -> int:
        out[:], self._line = self._line[:, : out.shape[1]], self._line[:, out.shape[1] :]
        return out.shape[1]

    def write(self, block: Audio) -> None:
        self._line = np.concatenate([self._line, block], axis=1)


def test_a_cable_is_measured_to_the_frame(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    cable = Cable(700)

    def open_device(config: LiveConfig) -> ClockedDevice:
        device = ClockedDevice(cable, cable, 2, clocking=Clocking(256))
        device.latency = 640  # as it says
        return device

    monkeypatch.setattr("streamsep.cli.live_device.open_device", open_device)
    monkeypatch.setattr("streamsep.models.registry.build_preset", lambda name: Module())
    found = told(capsys, "--loopback", "--queue", "1", "--executor", "eager")
    assert found["measured"]["trip"]["frames"] == pytest.approx(700, abs=0.1)
    assert found["budget"]["device_frames"] == 640
    gap = found["measured"]["total_ms"] - found["budget"]["total_ms"]
    assert gap == pytest.approx(1000 * 60 / 44100, abs=0.01)


class Two(ClockedDevice):
    """An input and an output that are different devices, with a cable between them."""

    separate, input_block = True, 256

    def start(self, process: LiveProcess, pump: Pump | None, lag: int) -> None:
        class Process:
            ended = False

            def __call__(self, indata: Audio, outdata: Audio, xrun: bool = False) -> None:
                process.capture(indata)
                process(np.zeros((2, 0), np.float32), outdata, xrun)

        super().start(Process(), pump, lag)  # type: ignore[arg-type]


@pytest.mark.slow
def test_a_way_of_more_than_a_second_is_measured_as_long_as_it_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cable = Cable(700)
    device = Two(cable, cable, 2, clocking=Clocking(256, True))
    monkeypatch.setattr("streamsep.cli.live_device.open_device", lambda config: device)
    monkeypatch.setattr("streamsep.models.registry.build_preset", lambda name: Module())
    found = told(capsys, "--loopback", "--queue", "200", "--executor", "eager")
    assert found["budget"]["total_ms"] > 1100
    assert found["measured"]["total_ms"] == pytest.approx(found["budget"]["total_ms"], abs=60)


class Unplugged(Two):
    """Is lost as soon as it runs."""

    gone: str | None = None

    @property
    def lost(self) -> str | None:
        return self.gone

    def start(self, process: LiveProcess, pump: Pump | None, lag: int) -> None:
        super().start(process, pump, lag)
        self.gone = "the device Scarlett is gone; plug it in"


def test_a_device_lost_meanwhile_is_no_missing_cable(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cable = Cable(700)
    device = Unplugged(cable, cable, 2, clocking=Clocking(256, True))
    monkeypatch.setattr("streamsep.cli.live_device.open_device", lambda config: device)
    monkeypatch.setattr("streamsep.models.registry.build_preset", lambda name: Module())
    assert main(["latency", "-d", "cpu", "--loopback", "--queue", "2", "--executor", "eager"]) == 1
    assert capsys.readouterr().err.splitlines()[-1] == "streamsep: error: the device Scarlett is gone; plug it in"


class Module(DelaySplit, torch.nn.Module):
    """A toy that can be sent to a device."""

    def __init__(self) -> None:
        torch.nn.Module.__init__(self)
        DelaySplit.__init__(self, hop=64, latency=96)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["-i", "-"], "a pipe has no latency of its own; choose a device, or --no-device"),
        (["--loopback", "--no-device"], "nothing to measure with --no-device"),
        (["--no-device", "--queue", "1", "-n", "htdemucs-small"], "htdemucs-small is an offline model"),
        (["--no-device", "-n", "nothing"], "there is no model or file 'nothing'"),
        (["--no-device", "--queue", "99999"], "a queue lasts at most 10 s"),
        (["--preset", "nothing"], "there is no preset 'nothing'"),
        (["--no-device", "--queue", "1", "--executor", "nonsense"], "unknown executor 'nonsense'"),
    ],
)
def test_mistakes_are_one_sentence(flags: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["latency", "-d", "cpu", *flags]) == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("streamsep: error: ") and message in error


def test_help_does_not_speak_of_pipes_which_have_no_latency(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["latency", "--help"])
    told = capsys.readouterr().out
    assert "--input-device" in told and "pipe on" not in told
    with pytest.raises(SystemExit):
        main(["live", "--help"])
    assert "pipe on" in capsys.readouterr().out
