"""Mean SDR over latency as a picture: a panel for each group of songs, and the best constant gain under all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.quality_tables import STEMS
from streamsep.errors import missing
from streamsep.evaluation.quality import GAIN
from streamsep.files import staged


@dataclass(frozen=True)
class Line:
    """What is drawn of some systems.

    Attributes:
        points: (latency in ms, mean SDR in dB) of each.
        style: as matplotlib writes it.
        everywhere: the first point is a level that no latency changes.
    """

    label: str
    points: Sequence[tuple[float, float]]
    style: str = "o-"
    colour: str | None = None
    everywhere: bool = False


def draw(result: dict[str, Any], lines: Callable[[str], Sequence[Line]], path: Path) -> None:
    """Write the picture of `result`, with the `lines` of each group.

    Raises:
        StreamsepError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise missing("matplotlib", "evaluation") from None
    groups = result["groups"]
    figure = Figure(figsize=(5 * len(groups), 4), layout="constrained")
    for axes, (group, facts) in zip(figure.subplots(1, len(groups), squeeze=False)[0], groups.items(), strict=True):
        gain = Line("best constant gain", [(0.0, facts["scores"][GAIN]["mean"]["usdr"])], ":", "grey", True)
        for line in (*lines(group), gain):
            if line.everywhere:
                axes.axhline(line.points[0][1], color=line.colour, ls=line.style, label=line.label)
            else:
                axes.plot(*zip(*line.points, strict=True), line.style, color=line.colour, label=line.label)
        axes.set(xscale="log", xlabel="algorithmic latency, ms", title=f"{group} songs ({facts['songs']})")
        axes.set_ylabel(f"mean SDR over {', '.join(STEMS)}, dB")
        axes.grid(alpha=0.3, which="both")
    figure.axes[0].legend(fontsize="small")
    with staged([path]) as (temporary,):
        figure.savefig(temporary, format="png", dpi=100)
