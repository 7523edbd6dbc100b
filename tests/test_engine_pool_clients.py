"""Clients of a pool that leave, sleep or fail: what a server does for the others meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from tests.engine_toys import DelaySplit
from tests.pool_toys import HOP, make_pool, ones


def test_a_reset_goes_with_the_seat_that_asked_for_it() -> None:
    """A new stream begins without a fade, whatever the one before it on the same row had asked for last."""
    pool = make_pool(DelaySplit(HOP, 0), 1)
    seat = pool.open()
    seat.reset()
    seat.close()
    new = pool.open()
    new.feed(ones())
    assert pool.tick() == 1
    assert new.read()[0, 0].tolist() == [0.5] * HOP


class Clockless(threading.Condition):
    """Waits for nothing; keeps for how long it was asked to."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[float | None] = []

    def wait_for(self, predicate: Callable[[], Any], timeout: float | None = None) -> Any:
        self.asked.append(timeout)
        return predicate()


@pytest.mark.parametrize(("patience", "waits"), [(None, HOP / 44100 / 2), (0.75, 0.75), (0.0, 0.0)])
def test_a_client_that_sleeps_holds_the_others_up_for_a_moment_only(patience: float | None, waits: float) -> None:
    pool, go_on = make_pool(DelaySplit(HOP, 0), 3), [True, True, False]
    pool._changed = clock = Clockless()
    awake, slow = pool.open(), pool.open()
    awake.feed(ones())
    slow.feed(ones(HOP - 1))
    pool.serve(lambda: go_on.pop(0), patience)
    assert (pool.report().ticks, pool.report().hops) == (1, 1)
    assert (awake.read().shape[-1], slow.read().shape[-1]) == (HOP, 0)
    assert clock.asked == [0.1, waits, 0.1]
