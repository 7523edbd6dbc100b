"""The status of a live stream: how it reads on a screen, in a log, and as JSON."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest
from rich.console import Console

from streamsep.cli.live_snapshot import FLOOR, Figures, Level, Snapshot, StemView
from streamsep.cli.live_status import bar_of, clock, decibels, json_line, plain_line, render

FIGURES = Figures(seconds=75.2, latency_ms=36.28, p50_ms=4.08, p99_ms=5.45, deadline_ms=11.61, cpu_percent=43.4)
STEMS = (
    StemView("drums", Level(-6.0, -3.0), 0.0, muted=False, soloed=False, selected=True),
    StemView("bass", Level(-30.0, -12.0), -3.0, muted=True, soloed=False),
    StemView("other", Level(), -math.inf, muted=False, soloed=False),
    StemView("vocals", Level(-0.5, 0.4), 2.0, muted=False, soloed=False),
)
SNAPSHOT = Snapshot(STEMS, Level(-20.0, -18.0), Level(-1.5, -1.5), replace(FIGURES, memory_mb=512.3))


def shown(snapshot: Snapshot, width: int = 80, plain: bool = False) -> str:
    with open("/dev/null", "w") as nowhere:
        console = Console(record=True, width=width, file=nowhere)
        console.print(render(snapshot, width, plain))
        return console.export_text()


def styled(snapshot: Snapshot, word: str) -> str:
    """The style of the piece of text that holds `word`."""
    text = render(snapshot)
    return next((str(span.style) for span in text.spans if word in text.plain[span.start : span.end]), "")


def test_every_stem_has_a_line_with_its_knobs() -> None:
    lines = shown(SNAPSHOT).splitlines()
    assert [line[:12].split() for line in lines[:4]] == [
        ["▸", "1", "drums"],
        ["2", "bass"],
        ["3", "other"],
        ["4", "vocals"],
    ]
    tails = [line.split("▏")[-1].split() for line in lines[:4]]
    assert tails == [
        ["-3.0", "0.0", "dB"],
        ["-12.0", "-3.0", "dB", "M"],
        ["-inf", "-inf", "dB"],
        ["+0.4", "+2.0", "dB"],
    ]
    assert lines[4].split()[0] == "in" and lines[4].endswith("-18.0")
    assert lines[5].split()[0] == "out" and lines[5].endswith("-1.5")


def test_solo_and_the_selection_are_marked() -> None:
    stems = (replace(STEMS[0], selected=False), replace(STEMS[1], soloed=True, selected=True), *STEMS[2:])
    lines = shown(replace(SNAPSHOT, stems=stems)).splitlines()
    assert lines[0].startswith("  1") and lines[1].startswith("▸ 2")
    assert lines[1].rstrip().endswith("M S") and not lines[0].rstrip().endswith("S")
    # A solo that is muted as well lets nothing be heard; the others are shut out by the solo.
    assert [styled(replace(SNAPSHOT, stems=stems), name) for name in ("drums", "bass", "vocals")] == ["dim"] * 3
    assert styled(SNAPSHOT, "drums") == "bold" and styled(SNAPSHOT, "bass") == "dim"


def test_figures_read_at_a_glance() -> None:
    text = shown(SNAPSHOT, 120)
    assert "latency 36.3 ms · step 4.1/5.5 of 11.6 ms · xruns 0 · late 0 · fades 0 · CPU 43 % · 512 MB" in text
    assert "1:15" in text and "? for the keys, q to quit" in text
    for absent in ("GPU", "restarts", "device lost", "REC", "BYPASS", "PANIC", "GONE"):
        assert absent not in text


def test_what_went_wrong_is_shown() -> None:
    figures = replace(FIGURES, xruns=2, late_hops=3, fades=4, worker_restarts=5, device_losses=6, gpu_mb=700.0)
    text = shown(replace(SNAPSHOT, figures=figures), 200)
    for part in ("xruns 2", "late 3", "fades 4", "worker restarts 5", "device lost 6", "GPU 700 MB"):
        assert part in text
    assert styled(replace(SNAPSHOT, figures=figures), "fades 4") == "red"
    assert "red" not in styled(SNAPSHOT, "step ")
    slow = replace(FIGURES, p50_ms=12.0)
    assert "red" in styled(replace(SNAPSHOT, figures=slow), "step ")


def test_states_cannot_be_missed() -> None:
    text = shown(replace(SNAPSHOT, bypass=True, panic=True, lost="system has ended", recorded=3725.0))
    for part in ("● REC 1:02:05", "BYPASS", "PANIC: silent", "DEVICE GONE: system has ended"):
        assert part in text
    assert "for the keys" not in text


def test_help_lists_the_keys() -> None:
    text = shown(replace(SNAPSHOT, help=True))
    for part in ("1 to 4 ", "p or Space", "record, and stop recording", "q  "):
        assert part in text
    assert "for the keys" not in text and "solo a stem" not in shown(SNAPSHOT)


def test_help_lists_a_key_for_each_of_six_stems() -> None:
    text = shown(replace(SNAPSHOT, help=True, stems=(*STEMS, *STEMS[:2])))
    assert "  1 to 6 " in text and "Shift + 1 to 6 " in text and "1 to 4" not in text


@pytest.mark.parametrize("width", [40, 60, 80, 100, 200])
def test_lines_fit_the_terminal(width: int) -> None:
    figures = replace(FIGURES, worker_restarts=5, device_losses=6, gpu_mb=700.0)
    busy = replace(SNAPSHOT, figures=figures, stems=tuple(replace(stem, muted=True, soloed=True) for stem in STEMS))
    lines = render(busy, width).plain.splitlines()
    assert max(map(len, lines[:-1])) <= width
    assert all(line.strip() for line in lines)
    if width >= 80:
        assert len(lines) <= 10


def test_ascii_terminals_get_ascii() -> None:
    states = replace(SNAPSHOT, recorded=1.0)
    text = render(states, 80, plain=True).plain
    assert "> 1 drums   [" in text and "* REC" in text
    assert text.replace(" · ", "").isascii()


@pytest.mark.parametrize(
    ("level", "bar"),
    [
        (Level(), "          "),
        (Level(0.0, 0.0), "##########"),
        (Level(6.0, 6.0), "##########"),
        (Level(-30.0, -30.0), "#####|    "),
        (Level(-30.0, -15.0), "#####  |  "),
        (Level(-59.0, -0.1), "         |"),
    ],
)
def test_bars(level: Level, bar: str) -> None:
    assert bar_of(level, 10, plain=True) == bar


def test_bars_have_eighths_of_a_cell() -> None:
    assert [bar_of(Level(-60 + 0.75 * eighths + 1e-9, FLOOR), 10)[0] for eighths in (0, 1, 4, 7, 8)] == [
        " ",
        "▏",
        "▌",
        "▉",
        "█",
    ]


@pytest.mark.parametrize(
    ("level", "text"), [(-0.04, "0.0"), (0.04, "0.0"), (-0.06, "-0.1"), (12.0, "+12.0"), (-math.inf, "-inf")]
)
def test_decibels(level: float, text: str) -> None:
    assert decibels(level) == text


@pytest.mark.parametrize(("seconds", "text"), [(0.9, "0:00"), (59.9, "0:59"), (61, "1:01"), (36000, "10:00:00")])
def test_clock(seconds: float, text: str) -> None:
    assert clock(seconds) == text


def test_a_log_has_it_in_one_line() -> None:
    line = plain_line(replace(SNAPSHOT, bypass=True, panic=True, lost="no server", recorded=1.0))
    assert line == (
        "1:15, out -1.5 dB, latency 36.3 ms, step 4.1/5.5 of 11.6 ms, xruns 0, late 0, fades 0, CPU 43 %, 512 MB, "
        "bypass, panic, recording, device gone: no server"
    )
    assert plain_line(SNAPSHOT).endswith("512 MB")


def test_json_carries_every_figure_and_is_json() -> None:
    line = json_line("status", SNAPSHOT.to_dict())
    assert "\n" not in line
    data = json.loads(line, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert data["kind"] == "status" and data["time"] > 1.6e9
    assert data["stems"]["bass"] == {"level_db": -30.0, "gain_db": -3.0, "muted": True, "soloed": False}
    assert data["stems"]["other"] == {"level_db": -60.0, "gain_db": None, "muted": False, "soloed": False}
    assert (data["input_db"], data["output_db"]) == (-20.0, -1.5)
    assert {name: data[name] for name in ("bypass", "panic", "lost", "recorded")} == {
        **{"bypass": False, "panic": False},
        **{"lost": None, "recorded": None},
    }
    assert Figures.__dataclass_fields__.keys() <= data.keys()
    assert data["p99_ms"] == 5.45
