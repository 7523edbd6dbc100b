"""What is measured beside the music: meters by the clock, and processes that die and are replaced."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from streamsep.cli.live_snapshot import Level, Observer, Resources, Snapshot, StemView
from streamsep.cli.live_status import render
from streamsep.control.actions import Actions, Recording
from streamsep.files import Codec
from tests.test_cli_live_status import FakeStream


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
