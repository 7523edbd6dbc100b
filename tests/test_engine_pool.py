"""A pool of streams against sessions of their own: whoever joins, leaves, rests or is lost next door is not heard."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from streamsep.engine.executor import EagerExecutor
from streamsep.engine.pool import Seat, StreamPool
from streamsep.engine.session import Session
from streamsep.engine.state import leaves
from tests.engine_toys import Audio, DelaySplit, PastState
from tests.models import tiny
from tests.pool_toys import BACKLOG, FADE, HOP, InPlace, make_pool, ones


class Poisoned(DelaySplit):
    """A row that hears more than 10 is lost: its state is NaN for good."""

    def step(self, mix: Tensor, state: PastState) -> tuple[Tensor, PastState]:
        lost = (mix.abs() > 10).flatten(1).any(1)[:, None, None]
        sources, after = super().step(mix, state)
        return sources, after._replace(past=torch.where(lost, torch.nan, after.past))


class Alone:
    """What a seat should answer: a session of one row, fed and read as the seat is."""

    def __init__(self, separator: Any) -> None:
        self.hop = separator.hop
        self.session = Session(EagerExecutor(separator), FADE)
        self.forget()

    def forget(self) -> None:
        self.mix, self.stems = np.zeros((2, 0), np.float32), np.zeros((4, 2, 0), np.float32)

    def tick(self) -> None:
        if self.mix.shape[1] >= self.hop and self.stems.shape[2] <= (BACKLOG - 1) * self.hop:
            chunk, self.mix = self.mix[:, : self.hop], self.mix[:, self.hop :]
            answer = self.session.process(torch.from_numpy(chunk.copy())[None])[0].numpy()
            self.stems = np.concatenate([self.stems, answer], -1)

    def read(self, most: int) -> Audio:
        part, self.stems = self.stems[..., :most], self.stems[..., most:]
        return part


KINDS = [*["feed"] * 12, *["tick"] * 8, *["read"] * 6, *["open"] * 3, "close", "reset", "reset"]


def play(separator: Any, kind: str, seed: int, tolerance: float = 0.0) -> None:
    """Carry out many actions on a pool of three rows, and on sessions of their own; every block read must agree.

    Many: a stream must join where another has left, with something still in its row, and rest while others play.
    """
    pool, seats = make_pool(separator, 3, kind), list[tuple[Seat, Alone]]()
    generator = np.random.default_rng(seed)
    for what, number in zip(generator.choice(KINDS, 150), generator.integers(0, 30, 150), strict=True):
        if what == "open" and len(seats) < 3:
            seats.append((pool.open(), Alone(separator)))
        if what == "tick":
            pool.tick()
            for _, alone in seats:
                alone.tick()
        if not seats:
            continue
        seat, alone = seats[number % len(seats)]
        if what == "close":
            seat.close()
            seats.remove((seat, alone))
        if what == "feed":
            mix = generator.uniform(-0.5, 0.5, (2, min(number, seat.room))).astype(np.float32)
            seat.feed(mix)
            alone.mix = np.concatenate([alone.mix, mix], -1)
        if what == "reset":
            seat.reset()
            alone.session.reset()
            alone.forget()
        if what == "read":
            np.testing.assert_allclose(seat.read(number), alone.read(number), rtol=0, atol=tolerance)
    for seat, alone in seats:
        np.testing.assert_allclose(seat.read(), alone.read(10**6), rtol=0, atol=tolerance)


@pytest.mark.parametrize("kind", ["eager", "static"])
@pytest.mark.parametrize("separator", [DelaySplit(HOP, 11), InPlace(HOP, 11)], ids=lambda s: type(s).__name__)
@settings(deadline=None, max_examples=8)
@given(seed=st.integers(0, 2**32 - 1))
def test_seats_are_sessions_bit_for_bit(separator: Any, kind: str, seed: int) -> None:
    play(separator, kind, seed)


@pytest.mark.parametrize("kind", ["eager", "static"])
def test_seats_of_the_causal_model_are_sessions(kind: str) -> None:
    """To rounding: a product of three rows need not add up in the order of one."""
    play(tiny(lookahead=1), kind, 0, 1e-6)


def separate(pool: StreamPool, mix: Audio, disturb: Any = lambda i: None) -> Audio:
    """A stream through the first seat, hop by hop, with something done before each tick."""
    out = []
    with pool.open() as seat:
        for i, chunk in enumerate(np.split(mix, mix.shape[1] // pool.hop, 1)):
            seat.feed(chunk)
            disturb(i)
            assert pool.tick() >= 1
            out.append(seat.read())
    return np.concatenate(out, -1)


@pytest.mark.parametrize("kind", ["eager", "static"])
@pytest.mark.parametrize("lookahead", [0, 2])
def test_neighbours_of_nothing_but_nan_change_not_a_bit(kind: str, lookahead: int) -> None:
    model = tiny(lookahead)
    mix = np.random.default_rng(1).uniform(-0.5, 0.5, (2, 20 * model.hop)).astype(np.float32)
    expected = separate(make_pool(model, 3, kind), mix)
    pool = make_pool(model, 3, kind)

    others = list[Seat]()

    @torch.inference_mode()
    def poison(i: int) -> None:
        if not others:
            others.append(pool.open())
        for leaf in leaves(pool._session._state):
            leaf[1:] = torch.nan if leaf.is_floating_point() else -1
        others[0].feed(mix[:, : model.hop])
        if i % 3 == 0:
            others[0].reset()

    assert np.array_equal(separate(pool, mix, poison), expected)
    assert pool.report().recoveries > 0
    assert np.abs(expected).max() > 0.1


@pytest.mark.parametrize("kind", ["eager", "static"])
@pytest.mark.parametrize("lookahead", [0, 2])
def test_a_row_that_rests_goes_on_as_if_no_time_had_passed(kind: str, lookahead: int) -> None:
    model = tiny(lookahead)
    mix = np.random.default_rng(1).uniform(-0.5, 0.5, (2, 20 * model.hop)).astype(np.float32)
    expected = separate(make_pool(model, 2, kind), mix)
    pool = make_pool(model, 2, kind)

    def others_step(i: int) -> None:
        with pool.open() as other:
            for _ in range(i % 4):
                other.feed(10 * mix[:, -model.hop :])
                pool._rings._fed[0] -= model.hop  # the first seat's hop has not come yet
                assert pool.tick() == 1
                pool._rings._fed[0] += model.hop
                other.read()

    assert np.array_equal(separate(pool, mix, others_step), expected)


def test_warming_up_leaves_no_trace() -> None:
    mix = np.random.default_rng(1).uniform(-0.5, 0.5, (2, 10 * HOP)).astype(np.float32)
    pool, heard = make_pool(InPlace(HOP, 11), 2, "static"), list[Audio]()
    with pool.open() as seat:
        for hop in np.split(mix, 10, -1):
            pool.warm_up(3)
            seat.feed(hop)
            pool.tick()
            heard.append(seat.read())
    assert np.array_equal(np.concatenate(heard, -1), separate(make_pool(InPlace(HOP, 11), 2), mix))
    assert pool.report().ticks == 10


def test_a_lost_row_is_silenced_counted_and_begins_anew() -> None:
    pool = make_pool(Poisoned(HOP, HOP), 2)
    heard = list[float]()
    with pool.open() as lost, pool.open() as well:
        for gain, expected in ((20, 0.0), (1, 0.0), (1, 0.0), (1, 0.5)):
            lost.feed(gain * ones())
            well.feed(ones())
            assert pool.tick() == 2
            answer = lost.read()
            assert answer[0, 0, -1] == expected
            assert np.isfinite(answer).all()
            heard += well.read()[0, 0].tolist()
    assert heard == [0.0] * HOP + [0.5] * 3 * HOP
    assert pool.report().recoveries == 1
