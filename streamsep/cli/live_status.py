"""The status of a live stream as text: a few lines for a terminal, one line for a log, one object of JSON."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from streamsep.cli.live_snapshot import FLOOR, Figures, Level, Snapshot, StemView
from streamsep.control.keyboard import keys_of

if TYPE_CHECKING:
    from rich.text import Text

_LOUD, _CLIPPING = -12.0, -1.0  # dB where a bar turns yellow, and red
_EIGHTHS = " ▏▎▍▌▋▊▉█"
_NAME, _AROUND = 8, 34  # columns of a name, and of all around a bar
_NARROWEST, _WIDEST = 6, 48  # columns of a bar


def render(snapshot: Snapshot, width: int = 80, plain: bool = False) -> Text:
    """The status as lines of at most `width` columns; `plain` for terminals that know ASCII alone."""
    from rich.text import Text

    text = Text(no_wrap=True, overflow="crop")
    for number, stem in enumerate(snapshot.stems, 1):
        _add_stem(text, number, stem, snapshot, width, plain)
    for name, level in (("in", snapshot.input), ("out", snapshot.output)):
        text.append(f"    {name:<{_NAME}}", "dim")
        _add_bar(text, level, width, plain)
        text.append("\n")
    _add_figures(text, snapshot.figures, width)
    _add_states(text, snapshot, plain)
    if snapshot.help:
        for keys, meaning in keys_of(len(snapshot.stems)):
            text.append(f"\n  {keys:<18}{meaning}")
    return text


def _add_stem(text: Text, number: int, stem: StemView, snapshot: Snapshot, width: int, plain: bool) -> None:
    heard = audible(stem, snapshot)
    mark = (">" if plain else "▸") if stem.selected else " "
    text.append(f"{mark} {number} ", "bold cyan" if stem.selected else "dim")
    text.append(f"{stem.name[: _NAME - 1]:<{_NAME}}", "bold" if heard else "dim")
    _add_bar(text, stem.level, width, plain)
    text.append(f" {decibels(stem.gain):>6} dB", "" if heard else "dim")
    text.append(" M" if stem.muted else "  ", "bold red")
    text.append(" S\n" if stem.soloed else "  \n", "bold yellow")


def audible(stem: StemView, snapshot: Snapshot) -> bool:
    """Whether mutes and solos let a stem through."""
    return not stem.muted and (stem.soloed or not any(other.soloed for other in snapshot.stems))


def _add_bar(text: Text, level: Level, width: int, plain: bool) -> None:
    """A bar from `FLOOR` to 0 dB with its peak, and the peak as a number."""
    cells = max(_NARROWEST, min(_WIDEST, width - _AROUND))
    colour = "red" if level.now >= _CLIPPING else "yellow" if level.now >= _LOUD else "green"
    bar = bar_of(level, cells, plain)
    text.append("[" if plain else "▕", "dim")
    text.append(bar, colour)
    text.append("]" if plain else "▏", "dim")
    text.append(
        f"{decibels(level.peak if level.peak > FLOOR else -math.inf):>6}", "bold red" if level.peak >= 0 else ""
    )


def bar_of(level: Level, cells: int, plain: bool = False) -> str:
    """`cells` characters for a level, its peak marked.

    >>> bar_of(Level(-30.0, -15.0), 10, plain=True)
    '#####  |  '
    """
    length = _share(level.now) * cells
    whole = int(length)
    rest = _EIGHTHS[int(8 * (length - whole))] if whole < cells else ""
    bar = ("#" * whole if plain else "█" * whole + rest).ljust(cells)
    mark = min(int(_share(level.peak) * cells), cells - 1)
    if level.peak > FLOOR and bar[mark] == " ":
        bar = bar[:mark] + ("|" if plain else "│") + bar[mark + 1 :]
    return bar


def _share(level: float) -> float:
    return min(max(1 - level / FLOOR, 0.0), 1.0)


def decibels(level: float) -> str:
    """A level for people.

    >>> decibels(-6.0206), decibels(0.0), decibels(-math.inf), decibels(3.0)
    ('-6.0', '0.0', '-inf', '+3.0')
    """
    text = f"{level:.1f}"
    return "0.0" if text in ("-0.0", "0.0") else f"+{text}" if level > 0 else text


def _add_figures(text: Text, f: Figures, width: int) -> None:
    used = 0
    for piece, style in _pieces(f):
        start = "\n" if used + len(piece) + 3 > width else " · "
        start = "  " if used == 0 else start + " " * (2 if start == "\n" else 0)
        used = (used if "\n" not in start else 0) + len(start.strip("\n")) + len(piece)
        text.append(start, "dim").append(piece, style)


def _pieces(f: Figures) -> Iterator[tuple[str, str]]:
    """Each figure with its style: red for what was heard."""
    yield f"latency {f.latency_ms:.1f} ms", "bold"
    slow = f.p50_ms > f.deadline_ms
    yield f"step {f.p50_ms:.1f}/{f.p99_ms:.1f} of {f.deadline_ms:.1f} ms", "bold red" if slow else ""
    yield f"xruns {f.xruns}", "yellow" if f.xruns else ""
    yield f"late {f.late_hops}", "yellow" if f.late_hops else ""
    yield f"fades {f.fades}", "red" if f.fades else ""
    if f.worker_restarts:
        yield f"worker restarts {f.worker_restarts}", "red"
    if f.device_losses:
        yield f"device lost {f.device_losses}", "red"
    yield f"CPU {f.cpu_percent:.0f} %", ""
    yield f"{f.memory_mb:.0f} MB", ""
    if f.gpu_mb:
        yield f"GPU {f.gpu_mb:.0f} MB", ""


def _add_states(text: Text, s: Snapshot, plain: bool) -> None:
    """What a performer must not miss, and the time."""
    text.append(f"\n  {clock(s.figures.seconds)}", "dim")
    if s.recorded is not None:
        text.append(f"  {'*' if plain else '●'} REC {clock(s.recorded)}", "bold red")
    if s.bypass:
        text.append("  BYPASS", "bold black on yellow")
    if s.panic:
        text.append("  PANIC: silent", "bold white on red")
    if s.lost is not None:
        text.append(f"  DEVICE GONE: {s.lost}", "bold white on red")
    elif not s.help:
        text.append("  ? for the keys, q to quit", "dim")


def clock(seconds: float) -> str:
    """Minutes and seconds, and hours from the first on.

    >>> clock(75.9), clock(3600)
    ('1:15', '1:00:00')
    """
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def plain_line(s: Snapshot) -> str:
    """The status in one line, for a log."""
    states = [
        name for name, on in (("bypass", s.bypass), ("panic", s.panic), ("recording", s.recorded is not None)) if on
    ]
    lost = [f"device gone: {s.lost}"] if s.lost is not None else []
    out = decibels(s.output.peak)
    return ", ".join([clock(s.figures.seconds), f"out {out} dB", *(p for p, _ in _pieces(s.figures)), *states, *lost])


def json_line(kind: str, values: dict[str, object]) -> str:
    """One object a line: its kind, the time by the clock on the wall, and the values; what is infinite is null."""
    from streamsep.files import plain

    return json.dumps(plain({"kind": kind, "time": time.time()} | values, lambda value: round(value, 6)))
