"""Many streams on one model: rows of a batch that people take, feed, read, reset and give back."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from streamsep.engine.executor import Executor, inference_thread
from streamsep.engine.ring import Audio
from streamsep.engine.seat_rings import Mask, SeatRings
from streamsep.engine.session import Session
from streamsep.engine.stats import StepRecorder, StepTimes
from streamsep.errors import StreamsepError

_IDLE = 0.1  # seconds after which a server without work asks whether to go on


@dataclass(frozen=True)
class PoolReport:
    """What a pool did so far.

    Attributes:
        rows: seats that there are.
        open: seats that are taken.
        joined: streams that were opened.
        refused: times somebody found the pool full.
        ticks: steps of the batch.
        hops: hops of single streams that came out of them.
        recoveries: times a row went non-finite, was silenced and began anew.
        times: of the ticks.
    """

    rows: int
    open: int
    joined: int
    refused: int
    ticks: int
    hops: int
    recoveries: int
    times: StepTimes


class StreamPool:
    """Streams that share the steps of one executor, each in a row of its own.

    A tick steps every row in which a whole hop waits and has room to come out; the others keep their state untouched.
    Any thread may use any seat at any time. Ticks come from whoever calls `tick`, or from `serve`. Where a tick fails,
    those that it stepped hear a hop of silence, which keeps their lag, and all seats begin anew.

    Args:
        executor: with as many rows as there are to be seats; steps are of one hop.
        backlog: hops that a seat holds before the model, and as many after it.
        fade: frames of the fades of a reset.
    """

    def __init__(self, executor: Executor, backlog: int = 8, fade: int = 64) -> None:
        model = executor.separator
        self.rows, self.hop, self.latency = executor.batch, model.hop, model.latency
        self.sources, self.sample_rate = tuple(model.sources), model.sample_rate
        self._session = Session(executor, fade)
        self._rings = SeatRings(self.rows, len(self.sources), self.hop, backlog)
        self._seats: list[Seat | None] = [None] * self.rows
        self._renew, self._reset = set[int](), set[int]()
        self._recorder = StepRecorder()
        self._joined = self._refused = self._hops = 0
        self._fault: BaseException | None = None  # what ended the server
        self._changed = threading.Condition()  # over all of the above but the session
        self._stepping = threading.Lock()  # over the session; taken before the other

    def open(self) -> Seat:
        """A seat for a new stream.

        Raises:
            StreamsepError: all seats are taken.
        """
        with self._changed:
            if None not in self._seats:
                self._refused += 1
                raise StreamsepError(f"all {self.rows} seats are taken; close one or make a larger pool")
            row = self._seats.index(None)
            seat = self._seats[row] = Seat(self, row)
            self._joined += 1
            self._renew.add(row)
            return seat

    def tick(self) -> int:
        """Step all rows that have a whole hop; returns how many did.

        Whatever the executor raises goes through; the next tick finds the pool in order.
        """
        with self._stepping:
            with self._changed:
                renew, reset = sorted(self._renew), sorted(self._reset)
                self._renew.clear()
                self._reset.clear()
                ready = self._rings.ready()  # a seat that nobody has is empty
                seats = list(self._seats)
                mix = self._rings.take(ready)
            try:
                if renew:
                    self._session.renew(renew)
                if reset:
                    self._session.reset(reset)
                if not ready.any():
                    return 0
                began = time.perf_counter()
                stems = self._session.process(torch.from_numpy(mix), torch.from_numpy(ready)).cpu().numpy()
            except BaseException:
                self._give_up(ready, seats, renew)
                raise
            with self._changed:
                self._recorder.add(time.perf_counter() - began)
                answered = self._give(ready, seats, stems)
                self._hops += answered
            return answered

    def _give(self, rows: Mask, seats: list[Seat | None], stems: Audio) -> int:
        """Let `seats` have the stems of their rows; returns how many still want them."""
        # A stream that has left or was reset meanwhile does not want what its row has just answered.
        gone = self._renew | self._reset
        for row, seat in enumerate(self._seats):
            rows[row] &= seat is seats[row] and row not in gone
        self._rings.give(rows, stems)
        self._changed.notify_all()
        return int(rows.sum())

    def _give_up(self, rows: Mask, seats: list[Seat | None], renew: list[int]) -> None:
        """After a tick that failed: silence for what was taken, and a new beginning for all."""
        with self._changed:
            self._give(rows, seats, np.zeros((self.rows, len(self.sources), 2, self.hop), np.float32))
            self._renew.update(renew)
            # A state may be half written, of a row that rests as well.
            taken = {row for row, seat in enumerate(self._seats) if seat is not None}
            self._reset |= taken - self._renew

    def warm_up(self, ticks: int = 5) -> None:
        """Steps on noise in which no row takes part: nothing is heard or remembered of them."""
        noise = 0.1 * torch.randn(self.rows, 2, self.hop, generator=torch.Generator().manual_seed(0))
        with self._stepping:
            for _ in range(ticks):
                self._session.process(noise, torch.zeros(self.rows, dtype=torch.bool))

    def serve(self, go_on: Callable[[], bool] = lambda: True, patience: float | None = None) -> None:
        """Tick while `go_on()`; run it in a thread of its own.

        A batch costs the same however few rows take part, so a hop that is whole waits for those of other seats: until
        all have one, or for `patience` seconds at most (default: half a hop).

        Whatever a tick raises ends it and goes through; until somebody serves again, the seats tell of it.
        """
        patience = self.hop / self.sample_rate / 2 if patience is None else patience
        self._tell(None)
        try:
            self._serve(go_on, patience)
        except BaseException as error:
            self._tell(error)
            raise

    def _tell(self, fault: BaseException | None) -> None:
        with self._changed:
            self._fault = fault
            self._changed.notify_all()

    def _serve(self, go_on: Callable[[], bool], patience: float) -> None:
        with inference_thread():
            self.warm_up()
            while go_on():
                with self._changed:
                    if not self._changed.wait_for(lambda: self._waiting() > 0, timeout=_IDLE):
                        continue
                    self._changed.wait_for(lambda: self._waiting() == self._open(), timeout=patience)
                self.tick()

    def report(self) -> PoolReport:
        """Figures so far."""
        with self._changed:
            times = self._recorder.summary(self.hop, self.sample_rate)
            counts = (self.rows, self._open(), self._joined, self._refused, times.steps, self._hops)
            return PoolReport(*counts, self._session.recoveries, times)

    def _open(self) -> int:
        return sum(seat is not None for seat in self._seats)

    def _waiting(self) -> int:
        return int(self._rings.ready().sum())

    def _take_back(self, row: int) -> None:
        self._seats[row] = None
        self._reset.discard(row)
        self._rings.clear(row)


class Seat:
    """One stream in a pool. Its stems lag its mix by the model's latency, as a session's of its own would.

    Use it as a context manager, or close it.
    """

    def __init__(self, pool: StreamPool, row: int) -> None:
        self._pool, self.row = pool, row

    def feed(self, mix: Audio) -> None:
        """Append `mix [2, n]`, any n.

        Raises:
            StreamsepError: the seat is closed, the pool's server has failed, or more would wait than a seat holds;
                nothing was taken then.
        """
        with self._pool._changed:
            self._check()
            self._pool._rings.feed(self.row, np.asarray(mix, np.float32))
            self._pool._changed.notify_all()

    @property
    def room(self) -> int:
        """Frames that `feed` would take now."""
        with self._pool._changed:
            self._check()
            return self._pool._rings.room(self.row)

    def read(self, most: int | None = None, timeout: float = 0.0) -> Audio:
        """The next stems `[S, 2, n]`: what there is, at most `most` frames.

        Args:
            timeout: seconds to wait for `most` frames, or for as many as a seat holds if they are fewer, or for any
                if it is not given.

        Raises:
            StreamsepError: the seat is closed, or the pool's server has failed.
        """
        with self._pool._changed:
            self._check()
            rings = self._pool._rings
            if timeout:
                enough = 1 if most is None else most
                self._pool._changed.wait_for(
                    lambda: self._is_over() or rings.waiting(self.row) >= min(enough, rings.most(self.row)), timeout
                )
                self._check()
            return rings.read(self.row, most)

    def reset(self) -> None:
        """A seek or a new song: forget the past, what waits to be heard included, and go on with a short fade.

        Raises:
            StreamsepError: the seat is closed, or the pool's server has failed.
        """
        with self._pool._changed:
            self._check()
            self._pool._rings.clear(self.row)
            self._pool._reset.add(self.row)

    def close(self) -> None:
        """Give the seat back; may be called again."""
        with self._pool._changed:
            if self._pool._seats[self.row] is self:
                self._pool._take_back(self.row)
                self._pool._changed.notify_all()

    def __enter__(self) -> Seat:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _is_over(self) -> bool:
        return self._pool._seats[self.row] is not self or self._pool._fault is not None

    def _check(self) -> None:
        if self._pool._seats[self.row] is not self:
            raise StreamsepError("this seat is closed; open another")
        if (fault := self._pool._fault) is not None:
            told = " ".join(f"{type(fault).__name__}: {fault}".split())
            raise StreamsepError(f"the pool's server has failed ({told}); call serve again") from fault
