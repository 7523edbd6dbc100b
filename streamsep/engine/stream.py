"""A running stream: a device, a worker, and what lies between them.

device block -> edge -> ring -> worker (reblock, step, mix) -> ring -> edge -> device block
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

from streamsep.engine.backends.base import AudioBackend
from streamsep.engine.desk import Desk
from streamsep.engine.device_process import DeviceProcess, make_process
from streamsep.engine.edge_plan import EdgePlan
from streamsep.engine.host import Host, Job
from streamsep.engine.link import Counter, Link, LinkShape
from streamsep.engine.mixer import channels_of
from streamsep.engine.recorder import Recorder, why_gaps
from streamsep.engine.routing import routing_matrix
from streamsep.engine.stats import StepRecorder, StreamReport
from streamsep.engine.stream_config import StreamConfig, check_queue
from streamsep.engine.supervisor import Supervisor
from streamsep.engine.timing import LatencyBudget, budget
from streamsep.errors import StreamsepError
from streamsep.files import Codec


class Stream:
    """Runs a separator between the input and the output of a device.

    Args:
        host: where inference runs; it stays the caller's, to use again or to close.
        backend: the device.
        config: see `StreamConfig`.

    Attributes:
        desk: the knobs of the stems.

    Raises:
        StreamsepError: a device that does not fit, or a host that works for another stream.
    """

    def __init__(self, host: Host, backend: AudioBackend, config: StreamConfig | None = None) -> None:
        self.config = config = config or StreamConfig()
        self.host, self.backend = host, backend
        self._plan = plan = self._plan_edge(0)
        check_queue(config.queue, plan.max_core, host.info.sample_rate)
        self._budget = self._make_budget()
        self._plan = dataclasses.replace(plan, engine_lag=self._budget.lag)
        self._link = self._make_link()
        self.desk = Desk(host.info.sources, self._link.knobs)
        self.desk.clear()
        self._process: DeviceProcess = make_process(self._link, self._budget, self._plan, config, backend, host)
        self._supervisor = Supervisor(host, backend, self._link, self._process, self.desk)
        self._recorder: Recorder | None = None
        self._last: Recorder | None = None
        self._gaps, self._told_gaps = 0, False  # frames that were lost to recordings; once a recording it is told
        self._started = self._running = self._delivering = False

    @property
    def budget(self) -> LatencyBudget:
        """The declared delays; what the device adds is known for certain once it is open."""
        per_frame = self.budget_rate / self.backend.sample_rate
        resampling = float(self._plan.added)
        return dataclasses.replace(self._budget, device=self.backend.latency * per_frame, resampling=resampling)

    @property
    def budget_rate(self) -> int:
        """Rate of the model, in which delays are counted."""
        return self.host.info.sample_rate

    @property
    def delay(self) -> int:
        """Frames of the device by which the output lags behind the input, the device's own latency not counted."""
        return self._plan.delay

    @property
    def position(self) -> int:
        """Frames that have arrived, at the model's rate."""
        return int(self._link.counters[Counter.POSITION])

    @property
    def error(self) -> str | None:
        """What killed the worker; the stream then goes on dry or mute."""
        return self.host.error

    def start(self, first: Callable[[], object] | None = None) -> None:
        """Warm the worker up, then let the device run; returns at once. A stream runs once.

        Args:
            first: called in between; a recording that it begins holds all that the device delivers.

        Raises:
            StreamsepError: worker or device do not start, the stream was started before, or its host is another's now.
        """
        if self._started:
            raise StreamsepError("a stream runs once, and this one was started before; make another Stream")
        self.host.check_last(self._link)
        # Compiled, the callback itself waits for the worker.
        inline = self.backend.lock_step and self._process.compiled is None
        self._started = self._running = True
        try:
            self.host.begin(self._job(), inline)
            if self.error is not None:
                raise StreamsepError(f"the model cannot run a step: {self.error}")
            if first is not None:
                first()
            self._delivering = True
            self.backend.start(self._process, self.host.pump if inline else None, self.delay)
        except BaseException:
            self.stop()
            raise

    def wait(self, timeout: float) -> bool:
        """Wait at most `timeout` seconds for the device's end, and look after worker and device; True at the end."""
        if self.config.restart:
            self._supervisor.watch()
        return self.backend.wait(timeout)

    def stop(self) -> None:
        """End the device, then the worker, then any recording."""
        if self._running:
            self._supervisor.stop()
            self.backend.stop()
            self.host.end()
            self.stop_recording()
            self._running = False  # last: who is interrupted on the way may begin again

    def close(self) -> None:
        """Stop; may be called again."""
        self.stop()

    def set_gain(self, stem: str, gain: float) -> None:
        """Move the linear gain of a stem by a ramp."""
        self.desk.set_gain(stem, gain)

    def set_mute(self, stem: str, on: bool) -> None:
        """Mute a stem, or let it sound again."""
        self.desk.set_mute(stem, on)

    def set_solo(self, stem: str, on: bool) -> None:
        """Solo a stem, or take the solo back."""
        self.desk.set_solo(stem, on)

    def reset(self) -> None:
        """Forget the song so far (a seek, a new song) with a short fade."""
        self.desk.reset()

    def set_bypass(self, on: bool) -> None:
        """Hear the dry mix at once, or the separated sound again."""
        self._link.counters[Counter.BYPASS] = on

    def set_panic(self, on: bool) -> None:
        """Silence all outputs at once, or let them sound again."""
        self._process.silence(panic=on)

    @property
    def bypass(self) -> bool:
        """Whether the dry mix is heard."""
        return bool(self._link.counters[Counter.BYPASS])

    @property
    def panic(self) -> bool:
        """Whether all outputs are silenced."""
        return self._process.panic

    def levels(self) -> dict[str, float]:
        """The peak of each stem after its gain, of `input` and of `output`, since the last call (linear)."""
        names = self.host.info.sources
        peaks = dict(zip(names, self._link.meters[: len(names)].tolist(), strict=True))
        self._link.meters[:] = 0.0
        return peaks | self._process.peaks()

    def events(self) -> list[str]:
        """What has gone wrong, or well again, since the last call, in sentences."""
        if self._recorder is not None and self._recorder.error is not None:
            self.stop_recording()
        self._tell_gaps()
        return self._supervisor.events()

    @property
    def recording(self) -> float | None:
        """Seconds recorded so far, or None where nothing is recorded."""
        return None if self._recorder is None else self._recorder.seconds

    def record(self, folder: Path, codec: Codec) -> None:
        """Record mix and stems, before their gains, from the next hop on; before the device runs, from its first.

        Raises:
            StreamsepError: there is no room for it, `folder` cannot be written, or the last one is still being written.
        """
        if not self.config.record_seconds:
            raise StreamsepError("this stream was made without a recording; set record_seconds")
        self.stop_recording()
        if self._last is not None and self._last.busy:  # it still reads the rings
            raise StreamsepError("the disk is still writing the last recording; wait a moment, or choose a faster disk")
        info, link, counters = self.host.info, self._link, self._link.counters
        recorder = Recorder(
            link.mix, link.stems, sources=info.sources, sample_rate=info.sample_rate, latency=info.latency,
            folder=folder, codec=codec,
        )  # fmt: skip
        self._told_gaps = False
        recorder.start(link.mix.written, link.stems.written)
        counters[Counter.RECORD_MIX], counters[Counter.RECORD_STEMS] = link.mix.written, link.stems.written
        # Far enough ahead that neither side has been there: a hop on which both begin.
        ahead = self.position + 2 * self._plan.max_core + info.hop if self._delivering else 0
        counters[Counter.RECORD_FROM] = -(-ahead // info.hop) * info.hop + 1
        self._recorder = recorder

    def stop_recording(self) -> list[Path]:
        """End the recording, if there is one; returns its files."""
        if self._recorder is None:
            return []
        self._link.counters[Counter.RECORD_FROM] = 0
        self._last, self._recorder = self._recorder, None
        files = self._last.stop()
        if self._last.error is not None:
            self._told_gaps = True  # whatever was missing after that
            self._supervisor.tell(f"the recording has ended: {self._last.error}")
        self._tell_gaps()
        return files

    def _tell_gaps(self) -> None:
        gaps = int(self._link.counters[Counter.MIX_GAPS] + self._link.counters[Counter.STEM_GAPS])
        if gaps > self._gaps and not self._told_gaps:
            self._told_gaps = True
            self._supervisor.tell(why_gaps(self._link.stems))
        self._gaps = gaps

    def report(self) -> StreamReport:
        """The figures so far."""
        c, info = self._link.counters, self.host.info
        return StreamReport(
            budget=self.budget,
            times=StepRecorder(self._link.times).summary(info.hop, info.sample_rate),
            hop=info.hop,
            seconds=self.position / info.sample_rate,
            late_hops=int(c[Counter.LATE_HOPS]),
            skipped_hops=int(c[Counter.SKIPPED_HOPS]),
            fades=int(c[Counter.FADES]),
            dry_blocks=int(c[Counter.DRY_BLOCKS]),
            lost_frames=int(c[Counter.LOST_FRAMES]),
            xruns=int(c[Counter.XRUNS]) + self._process.drifted(),
            recoveries=int(c[Counter.RECOVERIES]),
            worker_restarts=self._supervisor.worker_restarts,
            device_losses=self._supervisor.device_losses,
            device_bytes=int(c[Counter.DEVICE_BYTES]),
            error=self.error,
        )

    def _plan_edge(self, lag: int) -> EdgePlan:
        backend, config, info = self.backend, self.config, self.host.info
        return EdgePlan(
            engine_rate=info.sample_rate,
            input_rate=backend.input_rate,
            output_rate=backend.sample_rate,
            device_inputs=backend.inputs,
            matrix=routing_matrix(config.routes, info.sources, config.routing, backend.outputs),
            max_block=backend.max_block,
            engine_lag=lag,
            input_channels=config.input_channels,
            input_gain=config.input_gain,
            output_gain=config.output_gain,
            limiter=config.limiter,
            fade=config.fade,
            separate=backend.separate,
            input_block=backend.input_block,
        )

    def _make_budget(self) -> LatencyBudget:
        info, plan = self.host.info, self._plan
        return budget(
            sample_rate=info.sample_rate,
            hop=info.hop,
            model=info.latency,
            block=None if plan.resample_out else self.backend.block,
            max_block=plan.max_core,
            queue=self.config.queue,
            fade=self.config.fade,
            device=0,
        )

    def _make_link(self) -> Link:
        """Rings for a backlog that is worked off, and the output pre-filled by the delay of the path."""
        info, config, rate = self.host.info, self.config, self.host.info.sample_rate
        stems = 2 * len(info.sources)
        inputs = round(config.catch_up_seconds * rate) + self._budget.lag
        inputs += (info.max_chunk + 2) * info.hop + 2 * self._plan.max_core
        outputs = self._budget.path + inputs + self._plan.max_core
        record = round(config.record_seconds * rate) + info.latency if config.record_seconds else 1
        shape = LinkShape(2, channels_of(config.routing, info.sources), inputs, outputs, stems, record)
        link = self.host.link(shape)
        link.output.write_silence(self._budget.path)
        return link

    def _job(self) -> Job:
        config, rate = self.config, self.host.info.sample_rate
        catch_up, ramp = round(config.catch_up_seconds * rate), round(config.ramp_seconds * rate)
        return Job(self._budget, catch_up, config.routing, ramp)
