"""A pool of streams against sessions of their own: whoever joins, leaves, rests or fails next door is not heard."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor

from streamsep.engine.executor import EagerExecutor
from streamsep.engine.pool import Seat, StreamPool
from streamsep.engine.session import Session
from streamsep.engine.state import leaves
from streamsep.engine.static_executor import StaticExecutor
from streamsep.errors import StreamsepError
from tests.engine_toys import DelaySplit, PastState
from tests.models import tiny

HOP, BACKLOG, FADE = 8, 3, 4
Audio = NDArray[np.float32]


class InPlace(DelaySplit):
    """Writes its state where it lies, as an attention ring is written, but makes no promise about it."""

    def step(self, mix: Tensor, state: PastState) -> tuple[Tensor, PastState]:
        sources, after = super().step(mix, state)
        state.past.copy_(after.past.clone())
        state.steps.add_(1)
        return sources, state


class Poisoned(DelaySplit):
    """A row that hears more than 10 is lost: its state is NaN for good."""

    def step(self, mix: Tensor, state: PastState) -> tuple[Tensor, PastState]:
        lost = (mix.abs() > 10).flatten(1).any(1)[:, None, None]
        sources, after = super().step(mix, state)
        return sources, after._replace(past=torch.where(lost, torch.nan, after.past))


class Fails(InPlace):
    """Fails when it hears more than 10, before or after its state is written."""

    def __init__(self, hop: int, latency: int, when: str = "before") -> None:
        super().__init__(hop, latency)
        self._when = when

    def step(self, mix: Tensor, state: PastState) -> tuple[Tensor, PastState]:
        fails = bool((mix.abs() > 10).any())
        if fails and self._when == "before":
            raise RuntimeError("boom\n  at once")
        answer = super().step(mix, state)
        if fails:
            raise RuntimeError("boom")
        return answer


def make_executor(kind: str, separator: Any, batch: int) -> Any:
    made = EagerExecutor if kind == "eager" else StaticExecutor
    return made(separator, batch=batch, device="cpu")


def make_pool(separator: Any, rows: int, kind: str = "eager") -> StreamPool:
    return StreamPool(make_executor(kind, separator, rows), BACKLOG, FADE)


def ones(frames: int = HOP) -> Audio:
    return np.ones((2, frames), np.float32)


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
