"""What can be seen of a running stream at one moment, as plain data: the source of the status line and of the log."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from streamsep.control.actions import Actions, to_decibels
from streamsep.errors import missing

if TYPE_CHECKING:
    from streamsep.engine.stats import StreamReport
    from streamsep.engine.stream import Stream

FLOOR = -60.0  # dB, the left end of a level bar
FALL = 24.0  # dB a second, as programme meters fall (IEC 60268-10, type II)
HOLD = 1.5  # seconds that a peak stands
_FIGURES_AGE = 0.5  # seconds; percentiles and memory are too dear for every picture
_MEGABYTE = 1 << 20


@dataclass(frozen=True)
class Level:
    """A level bar: `now` falls slowly, `peak` stands for a while; both in dB, at least `FLOOR`."""

    now: float = FLOOR
    peak: float = FLOOR


@dataclass(frozen=True)
class StemView:
    """One stem: its level after the gains, and its knobs."""

    name: str
    level: Level
    gain: float
    muted: bool
    soloed: bool
    selected: bool = False


@dataclass(frozen=True)
class Figures:
    """Numbers that change slowly.

    Attributes:
        seconds: audio delivered so far.
        latency_ms: end to end, as declared.
        p50_ms, p99_ms: of a step.
        deadline_ms: duration of a hop.
        cpu_percent: of this process and its workers, 100 being one core.
        memory_mb: of the same.
        gpu_mb: taken on a GPU; 0 without one.
    """

    seconds: float = 0.0
    latency_ms: float = 0.0
    p50_ms: float = 0.0
    p99_ms: float = 0.0
    deadline_ms: float = 0.0
    xruns: int = 0
    late_hops: int = 0
    fades: int = 0
    worker_restarts: int = 0
    device_losses: int = 0
    cpu_percent: float = 0.0
    memory_mb: float = 0.0
    gpu_mb: float = 0.0


@dataclass(frozen=True)
class Snapshot:
    """All that is shown.

    Attributes:
        lost: why the device is gone, or None.
        recorded: seconds of the recording under way, or None.
    """

    stems: tuple[StemView, ...]
    input: Level
    output: Level
    figures: Figures
    bypass: bool = False
    panic: bool = False
    lost: str | None = None
    recorded: float | None = None
    help: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Plain data for a log: the figures, and levels in dB."""
        stems = {
            stem.name: {"level_db": stem.level.now, "gain_db": stem.gain, "muted": stem.muted, "soloed": stem.soloed}
            for stem in self.stems
        }
        levels = {"input_db": self.input.now, "output_db": self.output.now}
        states = {"bypass": self.bypass, "panic": self.panic, "lost": self.lost, "recorded": self.recorded}
        return {"stems": stems, **levels, **states, **asdict(self.figures)}


class Meter:
    """Makes a `Level` of linear peaks: up at once, down slowly."""

    def __init__(self) -> None:
        self._level, self._since_peak = Level(), 0.0

    def update(self, peak: float, seconds: float) -> Level:
        """Take the highest sample of the last `seconds`."""
        now = max(to_decibels(peak), self._level.now - FALL * seconds, FLOOR)
        self._since_peak += seconds
        if now >= self._level.peak or self._since_peak > HOLD:
            self._level, self._since_peak = Level(now, now), 0.0
        else:
            self._level = Level(now, self._level.peak)
        return self._level


class Resources:
    """CPU and memory of this process and its workers.

    Raises:
        StreamsepError: psutil is not installed.
    """

    def __init__(self) -> None:
        try:
            import psutil
        except ModuleNotFoundError:
            raise missing("psutil", "live") from None
        self._gone = psutil.Error
        self._processes = [psutil.Process()]
        self._restarts = -1
        self.measure()  # what is measured is the time since the last call

    def measure(self, worker_restarts: int = 0) -> tuple[float, float]:
        """(percent of a core since the last call, megabytes); processes are looked for anew after a restart."""
        if worker_restarts != self._restarts:
            self._restarts = worker_restarts
            self._processes = [self._processes[0], *self._processes[0].children(recursive=True)]
        percent = memory = 0.0
        for process in self._processes:
            try:
                percent += process.cpu_percent()
                memory += process.memory_info().rss / _MEGABYTE
            except self._gone:
                self._restarts = -1
        return percent, memory


class Observer:
    """Takes snapshots of a stream."""

    def __init__(self, stream: Stream, actions: Actions, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream, self._actions, self._clock = stream, actions, clock
        self._meters = {name: Meter() for name in (*actions.sources, "input", "output")}
        self._resources = Resources()
        self._last = clock()
        self._figures, self._measured = Figures(), float("-inf")

    def look(self) -> Snapshot:
        """The stream as it is now."""
        stream, now = self._stream, self._clock()
        peaks, passed, self._last = stream.levels(), now - self._last, now
        levels = {name: meter.update(peaks[name], passed) for name, meter in self._meters.items()}
        if now - self._measured >= _FIGURES_AGE:
            self._figures, self._measured = self._measure(), now
        desk, chosen = stream.desk, self._actions.sources[self._actions.selected]
        stems = tuple(
            StemView(n, levels[n], to_decibels(desk.gain(n)), desk.muted(n), desk.soloed(n), n == chosen)
            for n in self._actions.sources
        )
        return Snapshot(
            stems=stems,
            input=levels["input"],
            output=levels["output"],
            figures=self._figures,
            bypass=stream.bypass,
            panic=stream.panic,
            lost=stream.backend.lost,
            recorded=stream.recording,
            help=self._actions.help,
        )

    def _measure(self) -> Figures:
        report = self._stream.report()
        percent, memory = self._resources.measure(report.worker_restarts)
        return figures_of(report, percent, memory)


def figures_of(report: StreamReport, cpu_percent: float, memory_mb: float) -> Figures:
    """The slow numbers of a report, with what the system says of its processes."""
    budget, times = report.budget, report.times
    return Figures(
        seconds=report.seconds,
        latency_ms=budget.milliseconds(budget.total),
        p50_ms=1000 * times.p50,
        p99_ms=1000 * times.p99,
        deadline_ms=budget.milliseconds(report.hop),
        xruns=report.xruns,
        late_hops=report.late_hops,
        fades=report.fades,
        worker_restarts=report.worker_restarts,
        device_losses=report.device_losses,
        cpu_percent=cpu_percent,
        memory_mb=memory_mb,
        gpu_mb=report.device_bytes / _MEGABYTE,
    )
