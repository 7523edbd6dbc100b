"""Reblocking: hops in order, and the latency it costs, measured rather than believed."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamsep.engine.reblock import Reblocker, blocking_latency
from streamsep.engine.ring import Ring


def measured_latency(hop: int, blocks: Iterable[int]) -> int:
    """The most by which whole hops ever lagged behind the frames delivered."""
    delivered = worst = 0
    for block in blocks:
        delivered += block
        worst = max(worst, delivered - delivered // hop * hop)
    return worst


def shift_through_reblocker(hop: int, blocks: list[int], lag: int) -> bool:
    """Whether output delayed by `lag` is always there when a block of it is due."""
    ring = Ring(1, sum(blocks) + hop)
    reblocker = Reblocker(ring, hop)
    delivered = made = 0
    for block in blocks:
        ring.write(np.zeros((1, block), np.float32))
        delivered += block
        while (chunk := reblocker.take()) is not None:
            made += chunk.shape[1]
        if made < delivered - lag:
            return False
    return True


@settings(max_examples=100, deadline=None)
@given(hop=st.integers(1, 64), block=st.integers(1, 200))
def test_fixed_blocks_cost_hop_minus_gcd_and_not_a_frame_less(hop: int, block: int) -> None:
    rounds = hop // math.gcd(hop, block)  # after that the remainders repeat
    latency = blocking_latency(hop, block)
    assert measured_latency(hop, [block] * rounds) == latency
    assert shift_through_reblocker(hop, [block] * rounds, latency)
    assert latency == 0 or not shift_through_reblocker(hop, [block] * rounds, latency - 1)


@settings(max_examples=60, deadline=None)
@given(hop=st.integers(1, 64), blocks=st.lists(st.integers(1, 100), min_size=1, max_size=50))
def test_variable_blocks_cost_at_most_hop_minus_one(hop: int, blocks: list[int]) -> None:
    assert shift_through_reblocker(hop, blocks, blocking_latency(hop, None))


@pytest.mark.parametrize("hop", [1, 2, 7, 512])
def test_variable_blocks_can_cost_hop_minus_one(hop: int) -> None:
    assert measured_latency(hop, [hop, hop - 1]) == blocking_latency(hop, None) == hop - 1


@settings(max_examples=60, deadline=None)
@given(
    hop=st.integers(1, 10), max_chunk=st.integers(1, 4), blocks=st.lists(st.integers(1, 25), min_size=1, max_size=20)
)
def test_hops_come_whole_and_in_order(hop: int, max_chunk: int, blocks: list[int]) -> None:
    ring = Ring(2, 200)
    reblocker = Reblocker(ring, hop, max_chunk)
    sent, received = 0, [np.zeros((2, 0), np.float32)]
    for block in blocks:
        ring.write(np.arange(sent, sent + block, dtype=np.float32) + np.zeros((2, 1), np.float32))
        sent += block
        while (chunk := reblocker.take()) is not None:
            assert chunk.shape[1] % hop == 0
            assert chunk.shape[1] <= hop * max_chunk
            received.append(chunk.copy())
        assert reblocker.ready == 0
    joined = np.concatenate(received, axis=1)
    assert joined.shape[1] == sent // hop * hop == reblocker.index
    np.testing.assert_array_equal(joined[1], np.arange(joined.shape[1]))


def test_skipping_takes_whole_hops_and_moves_the_index() -> None:
    ring = Ring(1, 50)
    reblocker = Reblocker(ring, 8)
    ring.write(np.arange(30, dtype=np.float32)[None])
    assert reblocker.skip(2) == 2
    assert reblocker.index == 16
    chunk = reblocker.take()
    assert chunk is not None
    assert chunk[0, 0] == 16
    assert reblocker.skip(9) == 0


def test_impossible_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="positive"):
        blocking_latency(0, 4)
    with pytest.raises(ValueError, match="never holds"):
        Reblocker(Ring(1, 15), 8, 2)


@pytest.mark.parametrize(("wanted", "gone"), [(-1, 0), (0, 0), (1, 1), (2, 2), (3, 2), (100, 2)])
def test_only_whole_hops_are_skipped(wanted: int, gone: int) -> None:
    """Of the one that is still coming in nothing is lost."""
    ring = Ring(1, 40)
    ring.write(np.arange(20, dtype=np.float32)[None])
    reblocker = Reblocker(ring, 8)
    assert reblocker.skip(wanted) == gone
    assert (reblocker.index, ring.readable) == (8 * gone, 20 - 8 * gone)
