"""A running stream: a device, a worker, and what lies between them.

device block -> ring -> worker (reblock, step, mix) -> ring -> device block
"""

from __future__ import annotations

import sys
from dataclasses import dataclass

from streamsep.engine.backends.base import AudioBackend
from streamsep.engine.callback import Callback, OnOverload
from streamsep.engine.control import Controls, Knob, Message
from streamsep.engine.doorbell import make_doorbell
from streamsep.engine.executor import Executor, inference_thread
from streamsep.engine.link import Counter, Link
from streamsep.engine.mixer import Mixer, Routing
from streamsep.engine.session import Session
from streamsep.engine.stats import StreamReport
from streamsep.engine.timing import LatencyBudget, budget
from streamsep.engine.worker import Worker, WorkerThread
from streamsep.errors import StreamsepError

# Python hands the interpreter to a waiting thread after this long; its usual 5 ms are a whole hop.
SWITCH_INTERVAL = 5e-4
MAX_QUEUE_SECONDS = 10


@dataclass(frozen=True)
class StreamConfig:
    """How a stream behaves.

    Attributes:
        queue: whole blocks granted to the worker, at least one.
        fade: frames of the cross-fade between separated and dry sound.
        on_overload: what is heard while separated sound is missing: "dry" or "mute".
        output: "mix" (stereo) or "stems" (a pair of channels for each).
        ramp_seconds: duration of a change of gain.
        recover_seconds: how long the worker must have been in time before its sound comes back.
        catch_up_seconds: lateness beyond which a backlog is skipped instead of worked off.
    """

    queue: int = 1
    fade: int = 64
    on_overload: OnOverload = "dry"
    output: Routing = "mix"
    ramp_seconds: float = 0.01
    recover_seconds: float = 0.05
    catch_up_seconds: float = 0.5

    def __post_init__(self) -> None:
        if self.queue < 1 or self.fade < 1:
            raise StreamsepError(f"queue and fade must be at least 1, got {self.queue} and {self.fade}")
        if self.on_overload not in ("dry", "mute"):
            raise StreamsepError(f"unknown on_overload {self.on_overload!r}; choose dry or mute")


class Stream:
    """Runs a separator between the input and the output of a device.

    Args:
        executor: one row (`batch == 1`) of the separator.
        backend: the device; it must run at the separator's sample rate and have the outputs that the config needs.
        config: see `StreamConfig`.

    Raises:
        StreamsepError: a device that does not fit.
    """

    def __init__(self, executor: Executor, backend: AudioBackend, config: StreamConfig | None = None) -> None:
        self.config = config = config or StreamConfig()
        self.executor, self.backend = executor, backend
        rate = executor.separator.sample_rate
        self.mixer = Mixer(executor.separator.sources, config.output, round(config.ramp_seconds * rate))
        self._check()
        self.session = Session(executor)
        self.controls = Controls()
        self.budget = self._budget()
        self._link = self._make_link()
        catch_up = round(config.catch_up_seconds * rate)
        self.worker = Worker(self._link, self.session, self.mixer, self.controls, self.budget, catch_up)
        self._bell = make_doorbell()
        self._thread = WorkerThread(self.worker, self._bell)
        self._callback = Callback(
            self._link,
            self.budget,
            max_block=backend.max_block,
            on_overload=config.on_overload,
            recover=round(config.recover_seconds * rate),
            bell=None if backend.lock_step else self._bell,
        )
        self._switch_interval = sys.getswitchinterval()

    @property
    def position(self) -> int:
        """Frames that the device has delivered."""
        return int(self._link.counters[Counter.POSITION])

    @property
    def error(self) -> BaseException | None:
        """What killed the worker; the stream then goes on dry or mute."""
        return self.worker.error

    def start(self) -> None:
        """Warm the worker up, then let the device run; returns at once.

        Raises:
            StreamsepError: the worker could not run a single step.
        """
        self.controls.drain(self.session, self.mixer)
        self.mixer.settle()
        if self.backend.lock_step:
            self.backend.start(self._callback, self.worker.pump, self.budget.lag)
            return
        sys.setswitchinterval(min(SWITCH_INTERVAL, self._switch_interval))
        self._thread.start()
        if self.error is not None:
            self.stop()
            raise StreamsepError(f"the model cannot run a step: {self.error}") from self.error
        self.backend.start(self._callback, None, self.budget.lag)

    def wait(self, timeout: float) -> bool:
        """Wait at most `timeout` seconds for the device's end; True once it has ended."""
        return self.backend.wait(timeout)

    def stop(self) -> None:
        """End the device, then the worker. A stream runs once."""
        self.backend.stop()
        if not self.backend.lock_step:
            self._thread.stop()
            sys.setswitchinterval(self._switch_interval)

    def close(self) -> None:
        """Stop, and give back what the system lent."""
        self.stop()
        self._bell.close()

    def set_gain(self, stem: str, gain: float) -> None:
        """Move the linear gain of a stem by a ramp."""
        self.controls.send(Message(Knob.GAIN, self.mixer.stem(stem), gain))

    def set_mute(self, stem: str, on: bool) -> None:
        """Mute a stem, or let it sound again."""
        self.controls.send(Message(Knob.MUTE, self.mixer.stem(stem), float(on)))

    def set_solo(self, stem: str, on: bool) -> None:
        """Solo a stem, or take the solo back."""
        self.controls.send(Message(Knob.SOLO, self.mixer.stem(stem), float(on)))

    def reset(self) -> None:
        """Forget the song so far (a seek, a new song) with a short fade."""
        self.controls.send(Message(Knob.RESET))

    def report(self) -> StreamReport:
        """The figures so far."""
        c, rate, hop = self._link.counters, self.budget.sample_rate, self.budget.hop
        return StreamReport(
            budget=self.budget,
            times=self.worker.recorder.summary(hop, rate),
            hop=hop,
            seconds=self.position / rate,
            late_hops=int(c[Counter.LATE_HOPS]),
            skipped_hops=int(c[Counter.SKIPPED_HOPS]),
            fades=int(c[Counter.FADES]),
            dry_blocks=int(c[Counter.DRY_BLOCKS]),
            lost_frames=int(c[Counter.LOST_FRAMES]),
            xruns=int(c[Counter.XRUNS]),
            recoveries=self.session.recoveries,
            error=f"{type(self.error).__name__}: {self.error}" if self.error else None,
        )

    def _check(self) -> None:
        separator, backend = self.executor.separator, self.backend
        check_queue(self.config.queue, backend.max_block, separator.sample_rate)
        if self.executor.batch != 1:
            raise StreamsepError(f"a stream is one row of audio, this executor has {self.executor.batch}; use batch=1")
        if backend.sample_rate != separator.sample_rate:
            raise StreamsepError(f"the device runs at {backend.sample_rate} Hz; set it to {separator.sample_rate} Hz")
        if backend.inputs != 2 or backend.outputs != self.mixer.channels:
            need = f"2 inputs and {self.mixer.channels} outputs"
            raise StreamsepError(f"the device has {backend.inputs} inputs and {backend.outputs} outputs; open {need}")

    def _budget(self) -> LatencyBudget:
        separator, backend = self.executor.separator, self.backend
        return budget(
            sample_rate=separator.sample_rate,
            hop=separator.hop,
            model=separator.latency,
            block=backend.block,
            max_block=backend.max_block,
            queue=self.config.queue,
            fade=self.config.fade,
            device=backend.latency,
        )

    def _make_link(self) -> Link:
        """Rings for a backlog that is worked off, and the output pre-filled by the delay of the path."""
        backlog = round(self.config.catch_up_seconds * self.budget.sample_rate)
        hops = (self.executor.max_chunk + 2) * self.budget.hop
        inputs = backlog + self.budget.lag + hops + 2 * self.backend.max_block
        link = Link(2, self.mixer.channels, inputs, self.budget.path + inputs + self.backend.max_block)
        link.output.write_silence(self.budget.path)
        return link


def check_queue(queue: int, block: int, rate: int) -> None:
    """Raise StreamsepError where `queue` blocks of `block` frames are more delay than anyone can want."""
    if queue * block > MAX_QUEUE_SECONDS * rate:
        last = f"{queue} blocks of {block} frames are {queue * block / rate:.3g} s"
        raise StreamsepError(f"{last}, and a queue lasts at most {MAX_QUEUE_SECONDS} s; choose a shorter one")


def measure_step(executor: Executor, steps: int = 60) -> list[float]:
    """Seconds a hop of warm steps on noise, in a thread set up as the worker is; for the choice of a queue."""
    session = Session(executor)
    with inference_thread():
        session.warm_up(5)
        return session.warm_up(steps)
