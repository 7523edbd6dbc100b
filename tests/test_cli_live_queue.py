"""How many blocks of a device the model is granted, and by how many of its steps that is measured."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from streamsep.cli.live_config import LiveConfig
from streamsep.cli.live_model import choose_queue, steps_to_measure
from streamsep.engine.backends.clocked import Clocking
from streamsep.engine.backends.fake import FakeDevice
from streamsep.engine.host import SeparatorInfo
from tests.engine_toys import NAMES, noise


def info(*seconds: float) -> SeparatorInfo:
    return SeparatorInfo(512, 512, 44100, NAMES, 1, "eager", seconds)


@pytest.mark.parametrize(
    ("wanted", "seconds", "queue"),
    [
        (7, [0.001] * 100, 7),
        (None, [], 1),
        (None, [0.001] * 100, 1),
        (None, [0.0038] * 100, 1),
        (None, [0.004] * 100, 2),  # half as long again as it was measured
        (None, [0.001] * 199 + [0.012], 3),  # the slowest
    ],
)
def test_the_queue_covers_the_slowest_steps(wanted: int | None, seconds: Sequence[float], queue: int) -> None:
    device = FakeDevice(noise(64), clocking=Clocking(256, realtime=True))
    assert choose_queue(wanted, info(*seconds), device) == queue


def test_a_device_that_waits_needs_no_queue() -> None:
    assert choose_queue(None, info(*[0.05] * 100), FakeDevice(noise(64))) == 1
    assert steps_to_measure(LiveConfig(), FakeDevice(noise(64))) == 0


@pytest.mark.parametrize(("block", "steps"), [(64, 200), (256, 200), (512, 100), (2048, 25), (8192, 20)])
def test_long_blocks_are_measured_less_often(block: int, steps: int) -> None:
    device = FakeDevice(noise(64), clocking=Clocking(block, realtime=True))
    assert steps_to_measure(LiveConfig(), device) == steps
    assert steps_to_measure(LiveConfig(queue=1), device) == 0


def test_a_model_that_is_too_slow_is_told_of(capsys: pytest.CaptureFixture[str]) -> None:
    device = FakeDevice(noise(64), clocking=Clocking(256, realtime=True))
    queues = [choose_queue(None, info(*[seconds] * 100), device) for seconds in (0.0117, 0.02, 0.2)]
    assert queues == [2, 2, 2]  # more would only make the mix late
    told = capsys.readouterr().err
    assert "a step takes 20.0 ms here and a hop lasts 11.6 ms" in told and "choose a smaller model" in told


@pytest.mark.parametrize(
    ("rate", "block", "queue"),
    [
        (44100, 256, 4),  # 20 ms of 5.8 ms each
        (88200, 256, 7),  # 128 of the model's frames each
        (22050, 256, 2),  # 512
        (96000, 2230, 3),  # 1025: three hops at a time
    ],
)
def test_the_queue_counts_blocks_at_the_model_s_rate(rate: int, block: int, queue: int) -> None:
    device = FakeDevice(noise(64), sample_rate=rate, clocking=Clocking(block, realtime=True))
    info = SeparatorInfo(512, 512, 44100, NAMES, 1, "eager", (*[0.006] * 100, 0.02))
    assert choose_queue(None, info, device) == queue
