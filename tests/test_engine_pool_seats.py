"""Seats of a pool: what they hold, who may have them, and what a step finds that has left, was reset, or fails."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from torch import Tensor

from streamsep.engine.pool import Seat, StreamPool
from streamsep.errors import StreamsepError
from tests.engine_toys import Audio, DelaySplit
from tests.pool_toys import BACKLOG, FADE, HOP, Fails, make_pool, ones


def test_a_full_pool_refuses_and_a_seat_given_back_is_free() -> None:
    pool = make_pool(DelaySplit(HOP), 2)
    first, second = pool.open(), pool.open()
    with pytest.raises(StreamsepError, match="all 2 seats are taken"):
        pool.open()
    first.close()
    first.close()
    third = pool.open()
    assert (third.row, second.row) == (0, 1)
    report = pool.report()
    assert (report.rows, report.open, report.joined, report.refused) == (2, 2, 3, 1)
    for use in (first.read, first.reset, lambda: first.feed(ones()), lambda: first.room):
        with pytest.raises(StreamsepError, match="this seat is closed"):
            use()


def test_a_seat_holds_so_much_and_no_more() -> None:
    pool = make_pool(DelaySplit(HOP, 0), 1)
    with pool.open() as seat:
        assert seat.room == BACKLOG * HOP
        with pytest.raises(StreamsepError, match="25 frames, and a seat has room for 24"):
            seat.feed(ones(BACKLOG * HOP + 1))
        with pytest.raises(ValueError, match=r"\[2, n\]"):
            seat.feed(ones(4)[:1])
        for _ in range(2):
            seat.feed(ones(BACKLOG * HOP))
            assert [pool.tick() for _ in range(4)] == ([1, 1, 1, 0] if seat.room else [0] * 4)
            if _ == 0:
                assert seat.room == BACKLOG * HOP
        assert seat.room == 0  # nobody reads, so nothing is stepped, so nothing more comes in
        assert seat.read(5).shape == (4, 2, 5)
        assert seat.read(-2).shape == (4, 2, 0)  # nothing comes twice
        assert pool.tick() == 0
        seat.read(3)
        assert pool.tick() == 1


def reopened(pool: StreamPool, seat: Seat) -> Seat:
    seat.close()
    return pool.open()


def closed(pool: StreamPool, seat: Seat) -> None:
    seat.close()


def reset(pool: StreamPool, seat: Seat) -> Seat:
    seat.reset()
    return seat


@pytest.mark.parametrize("change", [reopened, closed, reset])
def test_a_stream_that_leaves_or_is_reset_during_a_step_is_not_answered(
    change: Callable[[StreamPool, Seat], Seat | None],
) -> None:
    pool = make_pool(DelaySplit(HOP, 0), 1)
    seat = pool.open()
    seat.feed(ones())
    process, seats = pool._session.process, list[Seat | None]()

    def meanwhile(mix: Tensor, active: Tensor) -> Tensor:
        seats.append(change(pool, seat))
        return process(mix, active)

    pool._session.process = meanwhile  # type: ignore[method-assign, assignment]
    assert pool.tick() == 0
    pool._session.process = process  # type: ignore[method-assign]
    new = seats[0] or pool.open()
    assert new.read().shape[-1] == 0
    new.feed(2 * ones())
    assert pool.tick() == 1
    assert new.read()[0, 0, FADE:].tolist() == [1.0] * (HOP - FADE)


@pytest.mark.parametrize("kind", ["eager", "static"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_tick_that_fails_is_a_hop_of_silence_and_a_new_beginning(when: str, kind: str) -> None:
    pool, heard = make_pool(Fails(HOP, HOP, when), 2, kind), list[Audio]()
    with pool.open() as rests, pool.open() as seat:
        rests.feed(ones())
        for value in (1, 2, 20, 3, 4, 5):
            seat.feed(value * ones())
            if value == 20:
                with pytest.raises(RuntimeError, match="boom"):
                    pool.tick()
            else:
                pool.tick()
            heard.append(seat.read()[0, 0, FADE:])
        assert [set(hop.tolist()) for hop in heard] == [{0.0}, {0.5}, {0.0}, {0.0}, {1.5}, {2.0}]
        rests.feed(ones())
        assert rests.read().shape[-1] == HOP and pool.tick() == 1
        assert not rests.read()[..., FADE:].any()  # what it heard before is forgotten
        assert pool.report().hops == 7


@pytest.mark.parametrize("change", [reopened, reset])
def test_a_new_beginning_is_not_lost_in_a_tick_that_fails(
    change: Callable[[StreamPool, Seat], Seat], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(batch: int) -> Any:
        raise RuntimeError("boom")

    pool = make_pool(DelaySplit(HOP, HOP), 1)
    seat = pool.open()
    seat.feed(ones())
    assert pool.tick() == 1
    seat = change(pool, seat)
    seat.feed(ones())
    with monkeypatch.context() as patch, pytest.raises(RuntimeError, match="boom"):
        patch.setattr(pool._session.executor, "init_state", fail)
        pool.tick()
    for _ in range(2):
        seat.feed(ones())
        assert pool.tick() == 1
    begins = [0.5] * FADE if change is reopened else [0.125, 0.25, 0.375, 0.5]
    assert seat.read()[0, 0].tolist() == [0.0] * 2 * HOP + begins + [0.5] * (HOP - FADE)


@pytest.mark.parametrize("change", [reopened, reset])
def test_a_stream_that_leaves_or_is_reset_during_a_step_that_fails_hears_no_silence(
    change: Callable[[StreamPool, Seat], Seat],
) -> None:
    pool = make_pool(DelaySplit(HOP, 0), 1)
    seat, seats = pool.open(), list[Seat]()
    seat.feed(ones())

    def meanwhile(mix: Tensor, active: Tensor) -> Tensor:
        seats.append(change(pool, seat))
        raise RuntimeError("boom")

    pool._session.process = meanwhile  # type: ignore[method-assign, assignment]
    with pytest.raises(RuntimeError, match="boom"):
        pool.tick()
    assert seats[0].read().shape[-1] == 0


def test_a_seat_given_back_takes_nothing_with_it() -> None:
    """Neither what waits for the model nor what waits to be read is there for the next stream, or stepped meanwhile."""
    pool = make_pool(DelaySplit(HOP, 0), 1)
    seat = pool.open()
    seat.feed(ones(2 * HOP + 3))
    assert pool.tick() == 1
    seat.close()
    assert pool.tick() == 0
    new = pool.open()
    assert (new.room, new.read().shape[-1], pool.tick()) == (BACKLOG * HOP, 0, 0)
