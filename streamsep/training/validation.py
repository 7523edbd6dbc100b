"""Progress on held-out songs: SDR of fixed excerpts, against the best constant gain on the mixture."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from streamsep.evaluation.evaluate import mean
from streamsep.evaluation.metrics import StemTotals
from streamsep.training.clips import RATE
from streamsep.training.data import Song
from streamsep.training.losses import align
from streamsep.training.objective import timing, whole


class Score(NamedTuple):
    """SDR and gain over the baseline, in dB, stem by stem (mean over the songs that have it)."""

    sdr: dict[str, float]
    improvement: dict[str, float]

    @property
    def mean(self) -> float:
        """Mean SDR over the stems."""
        return mean(self.sdr.values())

    def rounded(self) -> dict[str, dict[str, float]]:
        """The finite numbers, for a record."""
        return {
            name: {stem: round(value, 2) for stem, value in values.items() if math.isfinite(value)}
            for name, values in self._asdict().items()
        }


@torch.no_grad()
def validate(
    model: nn.Module,
    songs: Sequence[Song],
    *,
    excerpts: int,
    seconds: float,
    warm: float,
    backwards: bool = False,
    device: torch.device | str = "cpu",
) -> Score:
    """Separate `excerpts` evenly spaced pieces of each song, from an empty state, the first `warm` seconds unscored.

    They are heard from their ends to their beginnings where the model learns `backwards`.
    """
    (hop, latency), sources, separate = timing(model), tuple(model.sources), whole(model)  # type: ignore[arg-type]
    frames = max(round(seconds * RATE / hop), 1) * hop
    sdr: dict[str, list[float]] = {}
    gains: dict[str, list[float]] = {}
    for song in songs:
        totals = {stem: StemTotals() for stem in sources}
        for start in excerpt_starts(song.length, frames, excerpts):
            truth = read_song(song, sources, start, frames)
            truth = truth.flip(-1) if backwards else truth
            estimate = separate(truth.sum(0)[None].to(device))[0].float().cpu()
            _add(totals, truth, estimate, latency, round(warm * RATE))
        for stem, total in totals.items():
            if total.sounds and stem not in song.joined:
                sdr.setdefault(stem, []).append(total.sdr)
                gains.setdefault(stem, []).append(total.sdr - total.baseline)
    return Score(_means(sdr), _means(gains))


def excerpt_starts(length: int, frames: int, count: int) -> list[int]:
    """Starts of `count` excerpts in the middles of equal parts of the song."""
    room = max(length - frames, 0)
    return [int(room * (index + 0.5) / count) for index in range(count)]


def read_song(song: Song, sources: Sequence[str], start: int, frames: int) -> Tensor:
    """Stems `[S, 2, frames]` of a song from `start` on; silence for those that it has not."""
    silent = np.zeros((2, frames), np.float32)
    stems = [song.clips[stem].read(start, frames) if stem in song.clips else silent for stem in sources]
    return torch.from_numpy(np.stack(stems))


def _add(totals: dict[str, StemTotals], truth: Tensor, estimate: Tensor, latency: int, skip: int) -> None:
    scored = align(estimate, truth, latency, skip)
    truth = truth[..., skip : truth.shape[-1] - latency]
    mix = truth.sum(0)
    for index, total in enumerate(totals.values()):
        total.update(truth[index], scored[index], mix)


def _means(values: dict[str, list[float]]) -> dict[str, float]:
    return {stem: mean(numbers) for stem, numbers in values.items()}
