"""What is measured beside the music: meters by the clock, figures, and processes that die and are replaced."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from streamsep.cli.live_snapshot import Figures, Level, Meter, Observer, Resources, Snapshot, StemView, figures_of
from streamsep.cli.live_status import render
from streamsep.control.actions import Actions, Recording
from streamsep.engine.stats import StepTimes, StreamReport
from streamsep.engine.timing import LatencyBudget
from streamsep.errors import StreamsepError
from streamsep.files import Codec
from tests.live_fakes import FakeKnobs


def near(value: float, abs: float | None = None, rel: float | None = None) -> Any:
    """A number that may stand where a float is declared."""
    return pytest.approx(value, abs=abs, rel=rel)


def test_meters_rise_at_once_and_fall_slowly() -> None:
    meter = Meter()
    assert meter.update(0.0, 0.1) == Level(-60.0, -60.0)
    assert meter.update(0.1, 0.1) == Level(near(-20.0), near(-20.0))
    assert meter.update(0.0, 0.5) == Level(near(-32.0), near(-20.0))
    assert meter.update(0.0, 1.0) == Level(near(-56.0), near(-20.0))
    assert meter.update(0.0, 0.1) == Level(near(-58.4), near(-58.4))
    assert meter.update(0.0, 1.0) == Level(-60.0, near(-58.4))
    assert meter.update(2.0, 0.1).peak == near(6.02, abs=0.01)


BUDGET = LatencyBudget(sample_rate=44100, hop=512, model=512, blocking=256, queue=512, fade=64, device=256)
REPORT = StreamReport(
    budget=BUDGET,
    times=StepTimes(100, 0.004, 0.006, 0.007, 0.008, 0.35),
    hop=512,
    seconds=12.5,
    late_hops=1,
    skipped_hops=2,
    fades=3,
    dry_blocks=4,
    lost_frames=5,
    xruns=6,
    recoveries=7,
    worker_restarts=8,
    device_losses=9,
    device_bytes=3 << 20,
)


def test_figures_are_those_of_the_report() -> None:
    assert figures_of(REPORT, 50.0, 300.0) == Figures(
        seconds=12.5,
        latency_ms=near(1000 * 1600 / 44100),
        p50_ms=4.0,
        p99_ms=6.0,
        deadline_ms=near(11.61, abs=0.01),
        xruns=6,
        late_hops=1,
        fades=3,
        worker_restarts=8,
        device_losses=9,
        cpu_percent=50.0,
        memory_mb=300.0,
        gpu_mb=3.0,
    )


class FakeStream(FakeKnobs):
    """A stream as an observer sees it."""

    def __init__(self) -> None:
        super().__init__()
        self.peaks = dict.fromkeys(("drums", "vocals", "input", "output"), 0.0)
        self.backend = SimpleNamespace(lost=None)
        self.reports = 0

    def levels(self) -> dict[str, float]:
        return self.peaks

    def report(self) -> StreamReport:
        self.reports += 1
        return replace(REPORT, xruns=self.reports)


def test_an_observer_brings_it_all_together(tmp_path: Any) -> None:
    stream, now = FakeStream(), [0.0]
    actions = Actions(stream, ("drums", "vocals"), Recording(tmp_path, Codec()))
    observer = Observer(stream, actions, lambda: now[0])  # type: ignore[arg-type]
    stream.peaks |= {"vocals": 1.0, "input": 0.1}
    actions.toggle_mute(1)
    actions.set_gain(-6.0)
    seen = observer.look()
    assert [stem.name for stem in seen.stems] == ["drums", "vocals"]
    assert seen.stems[1] == StemView("vocals", Level(0.0, 0.0), near(-6.0), True, False, selected=True)
    assert seen.stems[0] == StemView("drums", Level(), 0.0, False, False)
    assert seen.input.now == near(-20.0) and seen.output == Level()
    assert (seen.bypass, seen.panic, seen.lost, seen.recorded, seen.help) == (False, False, None, None, False)
    assert seen.figures.memory_mb > 10
    stream.backend.lost = "unplugged"
    stream.peaks["vocals"] = 0.0
    for act in (actions.toggle_bypass, actions.toggle_panic, actions.toggle_help, actions.toggle_recording):
        act()
    now[0] = 0.25
    seen = observer.look()
    assert seen.stems[1].level == Level(near(-6.0), 0.0)
    assert (seen.bypass, seen.panic, seen.lost, seen.help) == (True, True, "unplugged", True)
    assert seen.recorded is not None
    assert seen.figures.xruns == 1  # percentiles are not for every picture
    now[0] = 0.6
    assert observer.look().figures.xruns == 2


def test_resources_count_processes_that_come_and_go() -> None:
    import subprocess
    import sys

    resources = Resources()
    alone = resources.measure(0)[1]
    with subprocess.Popen([sys.executable, "-c", "print(1, flush=True); input()"], stdin=-1, stdout=-1) as child:
        assert child.stdout is not None
        child.stdout.readline()
        assert resources.measure(0)[1] == near(alone, rel=0.05)
        assert resources.measure(1)[1] > alone + 3  # a worker was restarted, so it is looked for
        child.communicate(b"\n")
    assert resources.measure(1)[1] == near(alone, rel=0.2)
    spent = sum(number * number for number in range(1_000_000))
    assert spent and resources.measure(1)[0] > 0


def test_without_psutil_the_cure_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "psutil", None)
    with pytest.raises(StreamsepError, match=r"psutil is not installed; run: pip install 'streamsep\[live\]'"):
        Resources()


def test_meters_fall_by_the_time_since_the_last_look_whatever_the_clock_says(tmp_path: Path) -> None:
    stream, now = FakeStream(), [5000.0]
    actions = Actions(stream, ("drums", "vocals"), Recording(tmp_path, Codec()))
    observer = Observer(stream, actions, lambda: now[0])  # type: ignore[arg-type]
    stream.peaks["vocals"] = 1.0
    observer.look()
    stream.peaks["vocals"] = 0.0
    levels = []
    for _ in range(3):
        now[0] += 0.25
        levels.append(observer.look().stems[1].level.now)
    assert levels == pytest.approx([-6.0, -12.0, -18.0])


class Process:
    """A process as psutil shows it."""

    def __init__(self, megabytes: float, children: list[Process] | None = None) -> None:
        self.megabytes, self.kin, self.gone = megabytes, children or [], False

    def children(self, recursive: bool) -> list[Process]:
        return self.kin

    def cpu_percent(self) -> float:
        if self.gone:
            import psutil

            raise psutil.NoSuchProcess(1)
        return self.megabytes / 10

    def memory_info(self) -> Any:
        return SimpleNamespace(rss=self.megabytes * 2**20)


def test_once_a_process_is_gone_its_heirs_are_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before the stream has told that it started a worker anew."""
    psutil = pytest.importorskip("psutil")
    worker = Process(200)
    ours = Process(100, [worker])
    monkeypatch.setattr(psutil, "Process", lambda: ours)
    resources = Resources()
    assert resources.measure(0) == (30, 300)
    worker.gone, ours.kin = True, [Process(50), Process(30)]
    assert resources.measure(0) == (10, 100)
    assert resources.measure(0) == (18, 180)
    ours.kin = []
    assert resources.measure(0) == (18, 180)
    assert resources.measure(1) == (10, 100)


@pytest.mark.parametrize(("peak", "style"), [(-0.1, ""), (0.0, "bold red"), (3.0, "bold red")])
def test_a_peak_at_full_scale_is_red(peak: float, style: str) -> None:
    pytest.importorskip("rich")
    from streamsep.cli.live_snapshot import Figures

    snapshot = Snapshot((StemView("drums", Level(-20.0, peak), 0.0, False, False),), Level(), Level(), Figures())
    text = render(snapshot)
    number = {-0.1: "  -0.1", 0.0: "   0.0", 3.0: "  +3.0"}[peak]
    start = text.plain.index(number)
    styles = [span.style for span in text.spans if span.start <= start < span.end]
    assert styles == ([style] if style else [])
