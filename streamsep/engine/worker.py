"""The worker: takes hops off the input ring, separates and mixes them, and hands them on in order.

A late result is written all the same, in its place: the callback, which counts by absolute index, throws it away. So
the delay after an overload is the delay before it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import numpy as np
import torch

from streamsep.engine.desk import Desk, DeskFollower
from streamsep.engine.doorbell import Doorbell
from streamsep.engine.fence import fence
from streamsep.engine.host import Job
from streamsep.engine.link import Counter, Link
from streamsep.engine.mixer import Mixer
from streamsep.engine.reblock import Reblocker
from streamsep.engine.ring import Audio
from streamsep.engine.session import Session
from streamsep.engine.stats import StepRecorder

_DIP = 0.05  # seconds of silence after a reset that pass for its short fade


class Worker:
    """Reblock, step, mix; run it in a thread that is set up for steps (`inference_thread`).

    Args:
        link: rings and rows; the worker is the reader of the input and the writer of the output. It goes on where a
            worker before it on the same link has ended.
        session: one row of audio through the separator.
        job: what to do.
    """

    def __init__(self, link: Link, session: Session, job: Job) -> None:
        self._link, self._session, self._budget, self._job = link, session, job.budget, job
        self._recoveries = session.recoveries
        sources = tuple(session.executor.separator.sources)
        self._mixer = Mixer(sources, job.output, job.ramp)
        self._desk = DeskFollower(Desk(sources, link.knobs), session, self._mixer)
        self._recorder = StepRecorder(link.times)
        self._reblocker = Reblocker(link.input, session.hop, session.executor.max_chunk)
        self._forget()

    def warm_up(self) -> None:
        """Run some steps on noise, so that the first real one is not the slow one."""
        self._session.warm_up(self._job.warm_up)
        if self._session.executor.device.type == "cuda":
            self._link.counters[Counter.DEVICE_BYTES] = torch.cuda.memory_reserved(self._session.executor.device)

    def run(self, bell: Doorbell, go_on: Callable[[], bool] = lambda: True) -> str | None:
        """Work until the link says stop or, asked ten times a second, `go_on` does; returns what `pump` returns."""
        error = None
        while error is None and not self._link.counters[Counter.STOP]:
            if not bell.wait(0.1) and not go_on():
                break
            error = self.pump()
        return error

    def pump(self) -> str | None:
        """Run every step whose input has arrived; returns what went wrong, if anything did."""
        try:
            while self.step():
                pass
        except Exception as error:
            return f"{type(error).__name__}: {error}"
        return None

    def step(self) -> bool:
        """Run one step where a hop waits; False where none does."""
        reset = self._desk.follow()
        if reset and self._session.latency > _DIP * self._budget.sample_rate:
            self._forget()
        self._skip_hopeless()
        first = self._reblocker.index
        chunk = self._reblocker.take()
        if chunk is None:
            return False
        began = time.perf_counter()
        sources = self._session.process(torch.from_numpy(chunk).unsqueeze(0)).cpu()[0].numpy()
        self._recorder.add(time.perf_counter() - began, chunk.shape[1] // self._session.hop)
        self._emit(sources, first)
        self._record(sources, first)
        return True

    def _forget(self) -> None:
        """Tell the callback that what comes next knows nothing of the input before it: meanwhile the mix is played."""
        counters = self._link.counters
        counters[Counter.SEAM] = self._link.output.written
        fence()
        counters[Counter.BLIND] = self._reblocker.index

    def _emit(self, sources: Audio, first: int) -> None:
        """Mix and hand on the result of the input frames from `first` on.

        Where there is no room, the callback does not read, or has yet to skip what a dead worker left out; then the
        result is dropped and silence takes its place, and indices stay absolute.
        """
        link, hop, frames = self._link, self._session.hop, sources.shape[-1]
        mixed = self._mixer.process(sources)
        late = int(link.counters[Counter.POSITION]) - self._budget.deadline - first
        link.output.write_at(first + self._budget.path, mixed)
        meters = link.meters[: len(self._mixer.peaks)]
        np.maximum(meters, self._mixer.peaks, out=meters)
        link.counters[Counter.LATE_HOPS] += min(frames // hop, max(0, math.ceil(late / hop)))
        link.counters[Counter.STEPS] += 1
        link.counters[Counter.RECOVERIES] += self._session.recoveries - self._recoveries
        self._recoveries = self._session.recoveries

    def _record(self, sources: Audio, first: int) -> None:
        """Hand the stems to whoever records; what finds no room is silence on the recording, and nobody waits."""
        begin = int(self._link.counters[Counter.RECORD_FROM]) - 1
        early = max(0, begin - first)
        if begin >= 0 and early < sources.shape[-1]:
            place = int(self._link.counters[Counter.RECORD_STEMS]) + first + early - begin
            if not self._link.stems.write_at(place, sources.reshape(-1, sources.shape[-1])[:, early:]):
                self._link.counters[Counter.STEM_GAPS] += sources.shape[-1] - early

    def _skip_hopeless(self) -> None:
        """Give up a backlog that is too old to be worth its time.

        The hops of the model's latency, and one for the fade at the seam, are still run late: what was pending in the
        model before the gap then comes out, and is dropped, before anything is heard again.
        """
        hop, position = self._session.hop, int(self._link.counters[Counter.POSITION])
        late = position - self._budget.path - (self._reblocker.index + hop)
        if late <= self._job.catch_up:
            return
        kept = math.ceil(self._session.latency / hop) + 1
        skipped = self._reblocker.skip(late // hop + 1 - kept)
        if skipped > 0:
            self._link.output.write_silence(skipped * hop)
            self._link.counters[Counter.SKIPPED_HOPS] += skipped
            self._session.splice()
