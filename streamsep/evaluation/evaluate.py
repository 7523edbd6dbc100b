"""A causal model over whole songs with true stems, in bounded memory: the same steps as live, measured as they come."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from streamsep.evaluation.measures.sums import SILENT
from streamsep.evaluation.metrics import StemTotals
from streamsep.files import plain
from streamsep.models.separator import Separator
from streamsep.models.streaming import stream_pieces


class Stems(Protocol):
    """True stems that can be read piece by piece."""

    length: int

    def __call__(self, start: int, frames: int) -> Tensor:
        """Stems `[S, C, frames]` from `start` on, silence outside the song."""
        ...


@torch.inference_mode()
def evaluate_song(
    model: Separator,
    stems: Stems,
    *,
    names: Sequence[str],
    seconds: float | None = None,
    chunk: int = 64,
    device: torch.device | str = "cpu",
    progress: Callable[[int], Any] | None = None,
) -> dict[str, dict[str, float]]:
    """Measures of every stem that sounds in the song, or in its first `seconds`: louder than -80 dB of full scale.

    Args:
        names: the stems that `stems` gives, in the model's order.
        progress: called with the number of samples done since the last call.

    Returns:
        stem -> sdr, si_sdr, median_sdr (of 1 s frames), baseline_sdr, improvement (sdr - baseline_sdr), in dB.
    """
    length = stems.length if seconds is None else min(stems.length, max(1, round(seconds * model.sample_rate)))
    totals = {name: StemTotals(frame=model.sample_rate) for name in names}

    def mix(start: int, frames: int) -> Tensor:
        return stems(start, frames).sum(0)[None]

    for start, piece in stream_pieces(model, mix, length, chunk, device):
        estimate = piece[0].float().cpu()
        truth = stems(start, estimate.shape[-1])
        for index, total in enumerate(totals.values()):
            total.update(truth[index], estimate[index], truth.sum(0))
        if progress is not None:
            progress(estimate.shape[-1])
    return {name: _measures(total) for name, total in totals.items() if total.reference > SILENT * length}


def _measures(total: StemTotals) -> dict[str, float]:
    return {
        "sdr": total.sdr,
        "si_sdr": total.si_sdr,
        "median_sdr": total.median,
        "baseline_sdr": total.baseline,
        "improvement": total.sdr - total.baseline,
    }


def mean_scores(songs: Mapping[str, Mapping[str, Mapping[str, float]]]) -> dict[str, dict[str, float]]:
    """Mean of each measure of each stem over the songs that have it."""
    stems = dict.fromkeys(stem for scores in songs.values() for stem in scores)
    means = {}
    for stem in stems:
        rows = [scores[stem] for scores in songs.values() if stem in scores]
        means[stem] = {name: mean(row[name] for row in rows) for name in rows[0]}
    return means


def mean(values: Iterable[float]) -> float:
    """Of the values that there are, nan of none; infinite ones, of perfect stems, do not swallow the others."""
    known = [value for value in values if not math.isnan(value)]
    known = [value for value in known if value < math.inf] or known
    return sum(known) / len(known) if known else math.nan


def format_table(scores: Mapping[str, Mapping[str, float]]) -> str:
    """Rows of stems, columns of measures in dB."""
    columns = ("sdr", "si_sdr", "median_sdr", "baseline_sdr", "improvement")
    heads = ("stem", "SDR", "SI-SDR", "median SDR", "baseline", "improvement")
    lines = ["".join(f"{head:>12}" if index else f"{head:<8}" for index, head in enumerate(heads))]
    for stem, row in scores.items():
        lines.append(f"{stem:<8}" + "".join(f"{row[column]:>12.2f}" for column in columns))
    return "\n".join(lines)


def results_text(result: Mapping[str, Any]) -> str:
    """The result as JSON, to four decimals; what is not a number (a measure that does not exist) becomes null."""
    return json.dumps(plain(result, lambda value: round(value, 4)), indent=2) + "\n"
