"""One block of memory, two ends."""

from __future__ import annotations

import numpy as np

from streamsep.engine.link import Counter, Link, LinkShape


def test_two_links_on_one_memory_see_the_same_rings_and_counters() -> None:
    shape = LinkShape(2, 8, 37, 101, 8, 13)
    memory = np.zeros(shape.nbytes, dtype=np.uint8)
    device, worker = Link(shape, memory), Link(shape, memory)
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


def test_nothing_overlaps() -> None:
    link = Link(LinkShape(1, 1, 3, 3, 1, 3))
    rings = (link.input, link.output, link.mix, link.stems)
    for number, ring in enumerate(rings, 1):
        ring.write(np.full((1, 3), number, np.float32))
    for number, row in enumerate((link.counters, link.knobs, link.meters, link.times), 11):
        row[:] = number
    for number, ring in enumerate(rings, 1):
        out = np.zeros((1, 3), np.float32)
        assert (ring.read(out), ring.written) == (3, 3)
        assert out.tolist() == [[number] * 3]
    assert [set(row) for row in (link.counters, link.knobs, link.meters, link.times)] == [{11}, {12}, {13}, {14}]


def test_counters_are_distinct() -> None:
    assert len({int(c) for c in Counter}) == len(Counter.__members__)
