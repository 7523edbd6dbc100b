"""The latency budget adds up, and a queue covers its bundle."""

from __future__ import annotations

import pytest

from streamsep.engine.timing import budget, queue_blocks


def test_terms_and_sum() -> None:
    b = budget(sample_rate=44100, hop=512, model=512, block=256, max_block=256, queue=3, fade=64, device=300)
    assert (b.model, b.blocking, b.queue, b.fade, b.device) == (512, 256, 768, 64, 300)
    assert b.path == 256 + 768 + 64
    assert b.deadline == 256 + 768
    assert b.lag == b.path + 512
    assert b.total == b.lag + 300 == sum(frames for name, frames in b.rows() if name != "total")
    assert b.algorithmic == 1024
    assert b.milliseconds(441) == pytest.approx(10.0)


def test_device_block_and_blocking_together_collect_the_hop() -> None:
    for block in (64, 128, 256, 512):
        b = budget(sample_rate=44100, hop=512, model=512, block=block, max_block=block, queue=1, fade=1, device=block)
        assert b.model + b.blocking + b.device == b.algorithmic


def test_variable_blocks() -> None:
    b = budget(sample_rate=48000, hop=128, model=0, block=None, max_block=300, queue=2, fade=1, device=0)
    assert (b.blocking, b.queue) == (127, 600)


def test_plain_data_has_frames_and_milliseconds() -> None:
    b = budget(sample_rate=48000, hop=48, model=48, block=48, max_block=48, queue=1, fade=48, device=48)
    data = b.to_dict()
    assert data["model_frames"] == 48
    assert data["total_ms"] == pytest.approx(4.0)
    assert data["algorithmic_ms"] == pytest.approx(2.0)


@pytest.mark.parametrize(
    ("seconds", "block", "expected"),
    [
        (0.001, 256, 1),  # well within a block of 5.8 ms
        (0.006, 256, 2),  # a hop of 512 may take two blocks of 256
        (0.006, 512, 1),
        (0.006, 2048, 1),  # a bundle of 4 steps, 24 ms, in a block of 46 ms
        (0.012, 1024, 2),  # a bundle of 2 steps, 24 ms, takes more than a block of 23 ms
    ],
)
def test_queue_covers_the_bundle_of_a_block(seconds: float, block: int, expected: int) -> None:
    assert queue_blocks(seconds, hop=512, block=block, sample_rate=44100) == expected
