"""How many blocks of a device the model is granted, where the two count in rates of their own."""

from __future__ import annotations

import pytest

from streamsep.cli.live_model import choose_queue
from streamsep.engine.backends.clocked import Clocking
from streamsep.engine.backends.fake import FakeDevice
from streamsep.engine.host import SeparatorInfo
from tests.engine_toys import NAMES, noise


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
