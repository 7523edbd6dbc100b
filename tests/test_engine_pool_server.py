"""A pool that one thread serves: who is woken, what a client waits for, and what it is told when the server fails."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from streamsep.engine.pool import StreamPool
from streamsep.errors import StreamsepError
from tests.engine_toys import Audio, DelaySplit
from tests.pool_toys import BACKLOG, HOP, Fails, make_pool, ones


def test_seats_tell_what_ended_their_server_until_it_serves_again() -> None:
    pool, ends = make_pool(Fails(HOP, 0), 2), list[str]()
    seat, other = pool.open(), pool.open()

    def serve() -> None:
        try:
            pool.serve(patience=0.0)
        except RuntimeError as error:
            ends.append(str(error))

    server = threading.Thread(target=serve, daemon=True)
    server.start()
    seat.feed(20 * ones())
    told = r"the pool's server has failed \(RuntimeError: boom at once\); call serve again"
    with pytest.raises(StreamsepError, match=told):
        seat.read(2 * HOP, timeout=20)
    server.join(20)
    assert ends == ["boom\n  at once"]
    for use in (lambda: seat.feed(ones()), lambda: other.feed(ones()), other.read):
        with pytest.raises(StreamsepError, match=told):
            use()
    pool.serve(lambda: False)
    other.feed(ones())
    assert not seat.read(HOP).any()
    assert pool.tick() == 1


def test_a_reader_does_not_wait_for_more_than_a_seat_holds() -> None:
    pool, heard = make_pool(DelaySplit(HOP, 0), 1), list[Audio]()
    seat = pool.open()
    seat.feed(ones(BACKLOG * HOP))
    for _ in range(BACKLOG):
        pool.tick()
    seat.read(3)
    seat.feed(ones(HOP))
    assert pool.tick() == 0  # it is full
    reader = threading.Thread(target=lambda: heard.append(seat.read(1000, timeout=60)), daemon=True)
    reader.start()
    reader.join(20)
    assert [part.shape[-1] for part in heard] == [BACKLOG * HOP - 3]


def test_a_reader_is_woken_by_a_step_and_by_the_end_of_its_seat() -> None:
    pool = make_pool(DelaySplit(HOP, 0), 1)
    seat, heard = pool.open(), list[Any]()

    def read() -> None:
        try:
            heard.append(seat.read(HOP, timeout=60).shape[-1])
        except StreamsepError as error:
            heard.append(str(error))

    for wake, wanted in ((pool.tick, HOP), (seat.close, "this seat is closed; open another")):
        reader = threading.Thread(target=read, daemon=True)
        reader.start()
        wait_until(lambda: sleepers(pool) == 1)
        seat.feed(ones())
        wait_until(lambda: sleepers(pool) == 1)  # what was fed cannot be read
        wake()
        reader.join(20)
        assert heard.pop() == wanted


def test_a_server_is_woken_by_what_is_fed_and_waits_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamsep.engine.pool._IDLE", 60.0)
    pool = make_pool(DelaySplit(HOP, 0), 2)
    first, second, go_on = pool.open(), pool.open(), [True, False]
    server = threading.Thread(target=pool.serve, args=(lambda: go_on.pop(0), 60.0), daemon=True)
    server.start()
    wait_until(lambda: sleepers(pool) == 1)
    first.feed(ones())
    time.sleep(0.05)  # a server without patience would step now
    second.feed(ones())
    server.join(20)
    assert not server.is_alive()
    assert (pool.report().ticks, pool.report().hops) == (1, 2)


def sleepers(pool: StreamPool) -> int:
    """Threads that wait for a change."""
    with pool._changed:
        return len(pool._changed._waiters)  # type: ignore[attr-defined]


def wait_until(condition: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.002)


def test_threads_feed_and_read_while_one_serves() -> None:
    rows, hops = 4, 40
    pool = make_pool(DelaySplit(HOP, 11), rows, "static")
    done, errors = threading.Event(), list[str]()
    server = threading.Thread(target=pool.serve, args=(lambda: not done.is_set(), 0.002))

    def stream(seed: int) -> None:
        generator = np.random.default_rng(seed)
        for _ in range(3):
            mix = generator.uniform(-0.5, 0.5, (2, hops * HOP)).astype(np.float32)
            heard, at = list[Audio](), 0
            with pool.open() as seat:
                while sum(part.shape[-1] for part in heard) < mix.shape[1]:
                    size = min(int(generator.integers(1, 20)), seat.room, mix.shape[1] - at)
                    seat.feed(mix[:, at : at + size])
                    at += size
                    heard.append(seat.read(timeout=0.05))
            stems = np.concatenate(heard, -1)
            if not np.array_equal(stems[0, :, 11:], mix[:, :-11] * 0.5):
                errors.append(f"stream {seed}")

    server.start()
    threads = [threading.Thread(target=stream, args=(seed,)) for seed in range(rows)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    done.set()
    server.join(5)
    report = pool.report()
    assert not errors
    assert not server.is_alive()
    assert (report.open, report.joined, report.refused, report.hops) == (0, 3 * rows, 0, 3 * rows * hops)
    assert report.ticks < report.hops  # hops of several seats went together
    assert report.times.p50 > 0
