"""Inference in a process of its own: no other thread's work can hold its interpreter up.

The process is spawned, loads the model, and then works for one stream after another. It ends with its parent.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any

from streamsep.engine.doorbell import Doorbell, make_doorbell
from streamsep.engine.fence import processes_in_order
from streamsep.engine.host import Host, Job, SeparatorInfo, check_idle
from streamsep.engine.link import Counter, Link, LinkShape
from streamsep.engine.process_worker import serve
from streamsep.engine.shared_memory import SharedBytes
from streamsep.errors import StreamsepError
from streamsep.interrupts import signals_handled

if TYPE_CHECKING:
    from streamsep.engine.executor import Executor

_PATIENCE = 0.3  # seconds that a process gets to end by itself


class ProcessHost(Host):
    """A worker in a spawned process over shared memory.

    Args:
        factory: makes the executor, in the new process; picklable (a function of a module, or a partial of one).
        measure: steps to time for `info.step_times`.

    Raises:
        StreamsepError: the model cannot be loaded, or this machine cannot share memory in order.
    """

    def __init__(self, factory: Callable[[], Executor], measure: int = 0) -> None:
        if not processes_in_order():
            raise StreamsepError("on this processor a worker process needs numba; install it or use --worker thread")
        self._factory = factory
        self.bell: Doorbell = make_doorbell()
        self.error: str | None = None
        self._shared: SharedBytes | None = None
        self._job: Job | None = None
        self._sent = self._working = self._closed = False  # sent: the process has a job whose end it has not told
        try:
            self._spawn(measure)
            self.info: SeparatorInfo = self._expect("ready")
        except BaseException:
            self.close()
            raise

    def link(self, shape: LinkShape) -> Link:
        """See `Host`."""
        check_idle(self._job is not None)
        self._forget()
        self._shape, self._shared = shape, SharedBytes(shape.nbytes)
        self._link = Link(shape, self._shared.array)
        return self._link

    def begin(self, job: Job, inline: bool = False) -> None:
        """See `Host`; even inline the work is done over there, and `pump` waits for it."""
        self._job = job
        self._link.counters[Counter.STOP] = 0
        if not self._process.is_alive():
            self._spawn(0)
            self._expect("ready")
        self._send_job()
        try:
            self._expect("working")
            self._working, self.error = True, None
        except StreamsepError as error:
            self.error = str(error)

    def pump(self) -> None:
        """See `Host`."""
        assert self._job is not None
        hop, counters = self.info.hop, self._link.counters
        done = int(counters[Counter.POSITION]) // hop * hop + self._job.budget.path
        self.bell.ring()
        while self._link.output.written < done and self.alive:
            time.sleep(2e-5)

    @property
    def alive(self) -> bool:
        """See `Host`; also reads what the process has said, and goes on with a revival."""
        with contextlib.suppress(EOFError, OSError):
            while self._pipe.poll():
                self._hear(*self._pipe.recv())
        if self._job is not None and not self._process.is_alive():
            self._working = False
            self.error = self.error or f"its process ended with code {self._process.exitcode}"
        return self._working

    def revive(self) -> bool:
        """See `Host`."""
        self._end_process()
        self.error = None
        self._spawn(0)
        return True

    def end(self) -> None:
        """See `Host`; a worker that still warms up must end too, or what it says would be taken for the next one's."""
        if self._sent:
            self._link.counters[Counter.STOP] = 1
            self.bell.ring()
            with contextlib.suppress(StreamsepError):
                self._expect("idle", timeout=_PATIENCE)
            if self._sent:
                self._end_process()
        self._working, self._job = False, None
        self._forget()

    def close(self) -> None:
        """See `Host`."""
        if self._closed:
            return
        self._closed = True
        self.end()
        self._end_process()  # a model without work keeps nothing, so it need not be asked
        if not self._process.is_alive():
            self._process.close()
        self.bell.close()

    def _spawn(self, measure: int) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe: Connection
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(
            target=serve, args=(self._factory, theirs, self.bell, measure), name="streamsep-worker", daemon=True
        )
        # Ctrl-C goes to the whole group; the process is deaf to it from its first moment on.
        with theirs, signals_handled((signal.SIGINT,), signal.SIG_IGN):
            self._process.start()

    def _send_job(self) -> None:
        assert self._shared is not None
        self._sent = True
        self._pipe.send((self._shared.name, self._shape, self._job))

    def _hear(self, word: str, value: Any) -> None:
        """Take in one message of the process."""
        match word:
            case "ready" if self._job is not None:  # a revived one
                self._send_job()
            case "working":
                self._working, self.error = True, None
            case "idle" | "failed":
                self._sent, self._working, self.error = False, False, value

    def _expect(self, word: str, timeout: float | None = None) -> Any:
        """Wait for the message `word`; returns its value.

        Raises:
            StreamsepError: the process reports an error, has died, or says nothing for `timeout` seconds.
        """
        until = None if timeout is None else time.monotonic() + timeout
        while until is None or time.monotonic() < until:
            try:
                if self._pipe.poll(0.05):
                    said, value = self._pipe.recv()
                    if said == word:
                        if word == "idle":
                            self._hear(said, value)
                        return value
                    if said == "failed":
                        raise StreamsepError(value)
            except (EOFError, OSError):
                self._process.join(1)
                raise StreamsepError(f"the worker's process ended with code {self._process.exitcode}") from None
        raise StreamsepError("the worker's process does not answer")

    def _end_process(self) -> None:
        """End the process, if need be by force, and close what leads to it."""
        self._sent = self._working = False
        for end in (self._process.terminate, self._process.kill):
            if self._process.is_alive():
                end()
                self._process.join(_PATIENCE)
        self._pipe.close()

    def _forget(self) -> None:
        """Take away the name of the shared memory; it goes with its last view."""
        if self._shared is not None:
            self._shared.unlink()
            del self._link
        self._shared = None
