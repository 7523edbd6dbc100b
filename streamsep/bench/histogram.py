"""A picture of how long steps took."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from streamsep.bench.figures import BINS
from streamsep.errors import missing
from streamsep.files import staged

SIZE = (9.0, 1.9)  # inches: all, and each row
STEP, CONTROL, DEADLINE = "#2a6f97", "#b0b0b0", "#c1121f"


def draw(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """Draw a panel for each row of `measure`, one below the other, as PNG: steps, control and the hop, all logarithmic.

    Raises:
        StreamsepError: matplotlib is missing, or the file cannot be written.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise missing("matplotlib", "evaluation") from None
    figure = Figure(figsize=(SIZE[0], 0.8 + SIZE[1] * len(rows)), layout="constrained")
    panels = figure.subplots(len(rows), 1, sharex=True, squeeze=False)[:, 0]
    for panel, row in zip(panels, rows, strict=True):
        _panel(panel, row)
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper right", ncols=3, frameon=False)
    panels[-1].set_xlabel("ms")
    panels[-1].xaxis.set_major_formatter("{x:g}")
    with staged([path], "choose another file for the histogram") as (temporary,):
        figure.savefig(temporary, format="png", dpi=80)


def _panel(panel: Any, row: dict[str, Any]) -> None:
    width = 10 ** (1 / BINS) - 1
    for part, colour, name in ((row["control"], CONTROL, "control"), (row, STEP, "steps")):
        starts = [float(start) for start in part["histogram"]]
        heights = list(part["histogram"].values())
        widths = [width * start for start in starts]
        panel.bar(starts, heights, widths, align="edge", color=colour, alpha=0.8, label=name)
    panel.axvline(row["hop_ms"], color=DEADLINE, label="hop: the time there is")
    panel.set(xscale="log", yscale="log", ylim=(0.7, None), ylabel="how many")
    panel.set_title(f"{row['model']}, {row['executor']}: {row['late']} late of {row['steps']}", fontsize="medium")
    panel.spines[["top", "right"]].set_visible(False)
