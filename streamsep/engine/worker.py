"""The worker: takes hops off the input ring, separates and mixes them, and hands them on in order.

A late result is written all the same, in its place: the callback, which counts by absolute index, throws it away. So
the delay after an overload is the delay before it.
"""

from __future__ import annotations

import math
import threading
import time

import torch

from streamsep.engine.control import Controls
from streamsep.engine.doorbell import Doorbell
from streamsep.engine.executor import inference_thread
from streamsep.engine.link import Counter, Link
from streamsep.engine.mixer import Mixer
from streamsep.engine.reblock import Reblocker
from streamsep.engine.session import Session
from streamsep.engine.stats import StepRecorder
from streamsep.engine.timing import LatencyBudget


class Worker:
    """Reblock, step, mix; driven by whoever calls `pump`: its own thread, or a device in lock step.

    Args:
        link: rings and counters; the worker is the reader of the input and the writer of the output.
        session: one row of audio through the separator.
        mixer: what becomes of the stems.
        controls: messages, drained between steps.
        budget: the delays of this stream.
        catch_up: frames that a result may be too late before the backlog is skipped instead of worked off.

    Attributes:
        error: what killed the worker, or None.
        recorder: durations of the steps.
    """

    def __init__(
        self, link: Link, session: Session, mixer: Mixer, controls: Controls, budget: LatencyBudget, catch_up: int
    ) -> None:
        self.error: BaseException | None = None
        self.recorder = StepRecorder()
        self._link, self._session, self._mixer, self._controls = link, session, mixer, controls
        self._budget, self._catch_up = budget, catch_up
        self._reblocker = Reblocker(link.input, session.hop, session.executor.max_chunk)

    def pump(self) -> None:
        """Run every step whose input has arrived; an exception ends the worker and is kept in `error`."""
        if self.error is not None:
            return
        try:
            with inference_thread():
                while self.step():
                    pass
        except Exception as error:
            self.error = error

    def step(self) -> bool:
        """Run one step where a hop waits; False where none does."""
        self._controls.drain(self._session, self._mixer)
        self._skip_hopeless()
        first = self._reblocker.index
        chunk = self._reblocker.take()
        if chunk is None:
            return False
        began = time.perf_counter()
        sources = self._session.process(torch.from_numpy(chunk).unsqueeze(0)).cpu()
        hops = chunk.shape[1] // self._session.hop
        self.recorder.add(time.perf_counter() - began, hops)
        self._emit(sources, first, hops)
        return True

    def warm_up(self, steps: int) -> None:
        """Run `steps` steps on noise, so that the first real one is not the slow one."""
        with inference_thread():
            self._session.warm_up(steps)

    def _emit(self, sources: torch.Tensor, first: int, hops: int) -> None:
        mixed = self._mixer.process(sources[0].numpy())
        if self._link.output.write(mixed) < mixed.shape[1]:
            raise RuntimeError("the output ring is full: the callback does not read")
        counters = self._link.counters
        counters[Counter.STEPS] += 1
        late = int(counters[Counter.POSITION]) - self._budget.deadline - first
        counters[Counter.LATE_HOPS] += min(hops, max(0, math.ceil(late / self._session.hop)))

    def _skip_hopeless(self) -> None:
        """Give up a backlog that is too old to be worth its time.

        The hops of the model's latency, and one for the fade at the seam, are still run late: what was pending in the
        model before the gap then comes out, and is dropped, before anything is heard again.
        """
        hop, position = self._session.hop, int(self._link.counters[Counter.POSITION])
        late = position - self._budget.path - (self._reblocker.index + hop)
        if late <= self._catch_up:
            return
        kept = math.ceil(self._session.latency / hop) + 1
        skipped = self._reblocker.skip(late // hop + 1 - kept)
        if skipped > 0:
            self._link.output.write_silence(skipped * hop)
            self._link.counters[Counter.SKIPPED_HOPS] += skipped
            self._session.splice()


class WorkerThread:
    """A worker on a thread of its own, woken by a doorbell.

    Args:
        worker: what runs.
        bell: rung by the callback.
        warm_up: steps before `start` returns.
    """

    def __init__(self, worker: Worker, bell: Doorbell, warm_up: int = 5) -> None:
        self._worker, self._bell, self._warm_up = worker, bell, warm_up
        self._ready, self._stopping = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="streamsep-worker", daemon=True)

    @property
    def alive(self) -> bool:
        """Whether the worker still works."""
        return self._thread.is_alive() and self._worker.error is None

    def start(self) -> None:
        """Start the thread; returns once it is warm (or has died of it)."""
        self._thread.start()
        self._ready.wait()

    def stop(self) -> None:
        """End the thread after the step in hand."""
        self._stopping.set()
        self._bell.ring()
        self._thread.join()

    def _run(self) -> None:
        try:
            self._worker.warm_up(self._warm_up)
        except Exception as error:
            self._worker.error = error
        self._ready.set()
        while not self._stopping.is_set() and self._worker.error is None:
            self._bell.wait(0.1)
            self._worker.pump()
