"""One block of memory, two ends."""

from __future__ import annotations

import numpy as np

from streamsep.engine.link import Counter, Link


def test_two_links_on_one_memory_see_the_same_rings_and_counters() -> None:
    sizes = (2, 8, 37, 101)
    memory = np.zeros(Link.nbytes(*sizes), dtype=np.uint8)
    device, worker = Link(*sizes, memory), Link(*sizes, memory)
    block = np.arange(20, dtype=np.float32).reshape(2, 10)
    device.input.write(block)
    device.counters[Counter.POSITION] += 10
    out = np.zeros_like(block)
    assert worker.input.read(out) == 10
    np.testing.assert_array_equal(out, block)
    assert worker.counters[Counter.POSITION] == 10
    worker.output.write_silence(101)
    assert device.output.readable == 101
    assert device.input.readable == 0


def test_rings_do_not_overlap() -> None:
    link = Link(1, 1, 3, 3)
    link.input.write(np.full((1, 3), 1, np.float32))
    link.output.write(np.full((1, 3), 2, np.float32))
    out = np.zeros((1, 3), np.float32)
    link.input.read(out)
    assert out.tolist() == [[1, 1, 1]]
    assert not link.counters.any()


def test_counters_are_distinct() -> None:
    assert len({int(c) for c in Counter}) == len(Counter.__members__)
