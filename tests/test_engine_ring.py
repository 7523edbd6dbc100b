"""The ring against a list, over any interleaving of reads and writes, and under two threads."""

from __future__ import annotations

import threading
import time
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamsep.engine.ring import Ring

OPERATIONS = st.lists(st.tuples(st.sampled_from(["write", "silence", "read", "skip"]), st.integers(0, 12)), max_size=60)


def counted(start: int, frames: int, channels: int) -> np.ndarray:
    """Frames that tell their own index (from 1) and channel."""
    index = np.arange(start + 1, start + frames + 1, dtype=np.float32)
    return index + 1000 * np.arange(channels, dtype=np.float32)[:, None]


@settings(max_examples=150, deadline=None)
@given(operations=OPERATIONS, capacity=st.integers(1, 9), channels=st.integers(1, 3))
def test_any_interleaving_behaves_like_a_bounded_queue(
    operations: list[tuple[str, int]], capacity: int, channels: int
) -> None:
    ring = Ring(channels, capacity)
    queue: list[np.ndarray] = []
    written = consumed = 0
    for name, frames in operations:
        if name in ("write", "silence"):
            block = counted(written, frames, channels) if name == "write" else np.zeros((channels, frames), np.float32)
            count = ring.write(block) if name == "write" else ring.write_silence(frames)
            assert count == min(frames, capacity - len(queue))
            queue += list(block[:, :count].T)
            written += count
        else:
            out = np.full((channels, frames), np.nan, dtype=np.float32)
            count = ring.read(out) if name == "read" else ring.skip(frames)
            assert count == min(frames, len(queue))
            if name == "read" and count:
                np.testing.assert_array_equal(out[:, :count], np.stack(queue[:count], axis=1))
                assert np.isnan(out[:, count:]).all()
            queue = queue[count:]
            consumed += count
        assert (ring.written, ring.consumed) == (written, consumed)
        assert (ring.readable, ring.writable) == (len(queue), capacity - len(queue))


def test_skip_never_goes_back() -> None:
    ring = Ring(1, 4)
    ring.write(np.ones((1, 3), np.float32))
    assert ring.skip(-2) == 0
    assert ring.readable == 3


def test_strided_views_go_in_and_out() -> None:
    ring = Ring(2, 5)
    interleaved = np.arange(8, dtype=np.float32).reshape(4, 2)
    assert ring.write(interleaved.T) == 4
    out = np.zeros((4, 2), dtype=np.float32)
    assert ring.read(out.T) == 4
    np.testing.assert_array_equal(out, interleaved)


def test_two_rings_on_one_memory_are_two_ends() -> None:
    memory = np.zeros(Ring.nbytes(2, 7), dtype=np.uint8)
    writer, reader = Ring(2, 7, memory), Ring(2, 7, memory)
    block = counted(0, 5, 2)
    writer.write(block)
    out = np.zeros_like(block)
    assert reader.read(out) == 5
    np.testing.assert_array_equal(out, block)
    assert writer.writable == 7


def test_sizes_are_checked() -> None:
    with pytest.raises(ValueError, match="channels and frames"):
        Ring(0, 4)
    with pytest.raises(ValueError, match="bytes"):
        Ring(2, 7, np.zeros(Ring.nbytes(2, 7) - 1, dtype=np.uint8))


def test_transfers_allocate_no_audio() -> None:
    ring = Ring(8, 5000)
    block = np.ones((8, 4096), dtype=np.float32)
    ring.write(block)
    ring.read(block)
    tracemalloc.start()
    for _ in range(20):
        ring.write(block)
        ring.read(block)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < block.nbytes / 16


def test_two_threads_lose_and_repeat_nothing() -> None:
    ring, total = Ring(2, 61), 60_000
    received = np.zeros((2, total), dtype=np.float32)

    def produce() -> None:
        sizes = np.random.default_rng(1)
        sent = 0
        while sent < total:
            count = ring.write(counted(sent, min(int(sizes.integers(1, 90)), total - sent), 2))
            sent += count
            if count == 0:
                time.sleep(0)

    thread = threading.Thread(target=produce)
    thread.start()
    sizes, got = np.random.default_rng(2), 0
    while got < total:
        count = ring.read(received[:, got : got + int(sizes.integers(1, 90))])
        got += count
        if count == 0:
            time.sleep(0)
    thread.join()
    np.testing.assert_array_equal(received, counted(0, total, 2))


@pytest.mark.parametrize("first", [0, 5, 9, 10])
def test_silence_is_silence_on_both_sides_of_the_end(first: int) -> None:
    """Not the sound that stood there one round before."""
    ring, out = Ring(2, 10), np.full((2, 10), np.nan, np.float32)
    ring.write(np.ones((2, 10), np.float32))
    ring.skip(10)
    ring.write(np.ones((2, first), np.float32))
    ring.skip(first)
    assert ring.write_silence(12) == 10  # what fits
    assert ring.read(out) == 10
    assert not out.any()
    ring.write(np.ones((2, 10), np.float32))
    ring.skip(10)
    assert ring.write_at(30 + first + 7, np.full((2, 3), 2, np.float32))
    ring.read(out)
    assert out[0].tolist() == [0] * 7 + [2] * 3
