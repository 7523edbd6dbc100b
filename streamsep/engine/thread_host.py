"""Inference in a thread of this process: nothing to start or copy, but the interpreter is shared with all else."""

from __future__ import annotations

import sys
import threading

from streamsep.engine.doorbell import make_doorbell
from streamsep.engine.executor import Executor, inference_thread
from streamsep.engine.host import Host, Job, SeparatorInfo, check_idle
from streamsep.engine.link import Counter, Link, LinkShape
from streamsep.engine.session import Session
from streamsep.engine.worker import Worker
from streamsep.errors import StreamsepError

# Python hands the interpreter to a waiting thread after this long; its usual 5 ms are a whole hop.
SWITCH_INTERVAL = 5e-4
_MEASURED, _FEWEST = 5.0, 10  # seconds of sound whose steps are measured at most, and steps that always are


def describe(executor: Executor, measure: int = 0) -> SeparatorInfo:
    """What a stream needs to know of the model, and how long its steps take on noise, as the worker will run them.

    Args:
        measure: steps to time; where hops are long, fewer.
    """
    model = executor.separator
    steps = min(measure, max(_FEWEST, round(_MEASURED * model.sample_rate / model.hop)))
    times = tuple(measure_step(executor, steps)) if steps else ()
    return SeparatorInfo(
        model.hop, model.latency, model.sample_rate, tuple(model.sources), executor.max_chunk, executor.name, times
    )


def measure_step(executor: Executor, steps: int = 60) -> list[float]:
    """Seconds a hop of warm steps on noise, in a thread set up as the worker is; for the choice of a queue."""
    session = Session(executor)
    with inference_thread():
        session.warm_up(5)
        return session.warm_up(steps, shortest=executor.max_chunk)


class _QuickTurns:
    """The switch interval is the whole interpreter's: the first worker shortens it, and the last one restores it."""

    def __init__(self) -> None:
        self._lock, self._workers, self._before = threading.Lock(), 0, 0.0

    def begin(self) -> None:
        """A worker begins."""
        with self._lock:
            if self._workers == 0:
                self._before = sys.getswitchinterval()
                sys.setswitchinterval(min(SWITCH_INTERVAL, self._before))
            self._workers += 1

    def end(self) -> None:
        """A worker has ended."""
        with self._lock:
            self._workers -= 1
            if self._workers == 0:
                sys.setswitchinterval(self._before)


_quick_turns = _QuickTurns()


class ThreadHost(Host):
    """A worker on a thread of its own, woken by a doorbell; or driven by `pump`.

    Args:
        executor: one row (`batch == 1`) of the separator.
        measure: steps to time for `info.step_times`, see `describe`.

    Raises:
        StreamsepError: an executor of several rows.
    """

    def __init__(self, executor: Executor, measure: int = 0) -> None:
        if executor.batch != 1:
            raise StreamsepError(f"a stream is one row of audio, this executor has {executor.batch}; use batch=1")
        self.info = describe(executor, measure)
        self.bell = make_doorbell()
        self.error: str | None = None
        self._executor = executor
        self._thread: threading.Thread | None = None
        self._closed = self._inline = False

    def link(self, shape: LinkShape) -> Link:
        """See `Host`."""
        check_idle(self._inline or self._thread is not None)
        self._link = Link(shape)
        return self._link

    def begin(self, job: Job, inline: bool = False) -> None:
        """See `Host`."""
        self._job, self._inline, self.error = job, inline, None
        self._link.counters[Counter.STOP] = 0
        self._ready = threading.Event()
        if inline:
            self._worker = Worker(self._link, Session(self._executor), job)
            return
        _quick_turns.begin()
        self._start()
        self._ready.wait()

    def pump(self) -> None:
        """See `Host`."""
        if self._inline and self.error is None:
            with inference_thread():
                self.error = self._worker.pump()

    @property
    def alive(self) -> bool:
        """See `Host`."""
        working = self._inline or (self._thread is not None and self._thread.is_alive() and self._ready.is_set())
        return working and self.error is None

    def revive(self) -> bool:
        """See `Host`; a thread that is stuck cannot be ended, so only one that has told its error is replaced."""
        if self._thread is None or self.error is None:
            return False
        self._thread.join()  # all that it has left to do is to return
        self.error = None
        self._ready = threading.Event()
        self._start()
        return True

    def end(self) -> None:
        """See `Host`."""
        self._inline = False
        if self._thread is None:
            return
        self._link.counters[Counter.STOP] = 1
        self.bell.ring()
        self._thread.join()
        self._thread = None
        _quick_turns.end()

    def close(self) -> None:
        """See `Host`."""
        self.end()
        if not self._closed:
            self.bell.close()
        self._closed = True

    def _start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="streamsep-worker", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            with inference_thread():
                worker = Worker(self._link, Session(self._executor), self._job)
                worker.warm_up()
                self._ready.set()
                self.error = worker.run(self.bell)
        except Exception as error:
            self.error = f"{type(error).__name__}: {error}"
        self._ready.set()
