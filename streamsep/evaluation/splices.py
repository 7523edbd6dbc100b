"""What overlap-add leaves at its borders: the roughness that none of the answers has which it is made of.

A seam figure compares the borders of a stem with the rest of it. Of a model that is rough by itself, at places that
keep their distance from the border, that says little. Where all answers are known, their sum `y = sum w a` can be told
from them: third differences of the answers, weighted as they are heard, are the roughness of the model; what the third
difference of `y` has beyond that is of the splicing alone:

    e = d3(y) - sum w d3(a)

It is nothing where one answer is heard alone, a whole step where one ends and the next begins, and small in a fade.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from streamsep.models.apply import mean_and_level
from streamsep.models.sliding import SlidingSeparator


class Answer(NamedTuple):
    """What a model said of one window.

    Attributes:
        start: of the window in the song, in samples; may be negative.
        stems: `[S, C, n]`.
        weight: how much each sample is heard, `[n]`; over all windows they sum to one.
    """

    start: int
    stems: Tensor
    weight: Tensor


def splice(answers: Iterable[Answer], length: int) -> tuple[Tensor, Tensor]:
    """The sum of `answers` over a song of `length` samples and what splicing added to its third difference."""
    total = rough = torch.zeros(0)
    for start, stems, weight in answers:
        begin, end = max(0, -start), min(stems.shape[-1], length - start)
        if not len(total):
            total, rough = (stems.new_zeros(*stems.shape[:2], length, dtype=torch.float64) for _ in range(2))
        here = slice(start + begin, start + end)
        total[..., here] += (weight * stems)[..., begin:end]
        rough[..., here] += (weight * F.pad(stems.double().diff(n=3), (3, 0)))[..., begin:end]
    return total, F.pad(total.diff(n=3), (3, 0)) - rough


def splice_figure(total: Tensor, added: Tensor, period: int) -> float:
    """The added roughness, where in the `period` of the windows it is highest, over that of the sum, in dB.

    The first and the last two periods are left out: there the song begins and ends.

    Args:
        total, added: as `splice` gives them.
    """
    length = total.shape[-1]
    inner = slice(2 * period, length - length % period - 2 * period)
    worst = float(added[..., inner].square().mean((0, 1)).view(-1, period).mean(0).max())
    return 10 * math.log10(max(worst, 1e-30) / float(total.diff(n=3)[..., inner].square().mean()))


def sliding_answers(separator: SlidingSeparator, mix: Tensor) -> Iterable[Answer]:
    """The windows of a stream over `mix [1, C, T]`, its latency taken out, as `SlidingSeparator` hears them."""
    moves = separator.moves
    weight = torch.zeros(moves.window)
    begin = moves.window - moves.lookahead - moves.hop
    weight[begin : begin + moves.fade] = separator.rise
    weight[begin + moves.fade : begin + moves.hop] = 1
    weight[begin + moves.hop : begin + moves.hop + moves.fade] = 1 - separator.rise
    for end in range(moves.hop, mix.shape[-1] + moves.lookahead + moves.hop, moves.hop):
        window = _piece(mix, end - moves.window, moves.window)
        level = mean_and_level(window)[1]
        stems = separator.model.separate(window / level) * level[:, None]
        yield Answer(end - moves.window, stems[0], weight)


def offline_answers(model: torch.nn.Module, mix: Tensor, segment: int, stride: int) -> Iterable[Answer]:
    """The segments of `apply_levelled` over `mix [1, C, T]`, for a model that takes a segment as it is."""
    mean, level = mean_and_level(mix)
    rise = torch.minimum(torch.arange(1, segment + 1), torch.arange(segment, 0, -1)).double()
    length = mix.shape[-1]
    starts = range(0, length, stride)
    heard = torch.zeros(length, dtype=torch.float64)
    for start in starts:
        heard[start : start + segment] += rise[: length - start]
    for start in starts:
        stop = min(start + segment, length)
        stems = model((_piece(mix, start, segment) - mean) / level)[0] * level + mean
        yield Answer(start, stems[..., : stop - start], rise[: stop - start] / heard[start:stop])


def _piece(mix: Tensor, start: int, length: int) -> Tensor:
    """`length` samples of `mix [1, C, T]` from `start`, silence outside."""
    begin, end = max(start, 0), min(start + length, mix.shape[-1])
    return F.pad(mix[..., begin : max(begin, end)], (begin - start, start + length - max(begin, end)))
