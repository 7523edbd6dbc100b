"""Run an offline model, or a bag of them, over a song of any length: segments, overlap and random shifts.

The song is cut into overlapping segments, each separated on its own and faded into its neighbours by
triangular weights. A shift moves the cuts: outputs of several shifts are averaged (Défossez et al. 2019,
section 3.5). Finished samples leave at once, so that besides the song and its stems only a few segments
are in memory.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any, cast

import torch
from torch import Tensor
from tqdm import tqdm

from streamsep.errors import StreamsepError
from streamsep.models.bag import BagOfModels
from streamsep.models.segments import Options, Pass, Single, segments, separate

MAX_SHIFT = 0.5  # seconds


def apply_model(
    model: Single | BagOfModels,
    mix: Tensor,
    *,
    out: Tensor | None = None,
    follow: Callable[[int], object] | None = None,
    **options: Any,
) -> Tensor:
    """Separate a song of any length.

    Args:
        model: the model or bag; put into evaluation mode while it runs and left as it was found.
        mix: song [B, C, T] at the model's rate; may be backed by a memory-mapped file.
        out: tensor [B, S, C, T] to write into, for instance a memory-mapped one; a new one if None.
        follow: told, after each segment, what the work so far comes to in samples of the song, of which there are T at
            the end of the last pass; what it raises ends the work.
        options: fields of `Options`, all with defaults:
            shifts: number of randomly shifted passes to average; 0 for one unshifted pass.
            split: cut into segments; False gives the whole song to the model at once.
            overlap: part of a segment shared with the next one, in [0, 1).
            transition_power: 1 fades linearly between segments; above 1 more sharply.
            segment: seconds of a segment, at most the model's own; None for the model's own.
            device: where to compute; None for where the model is. The result stays where `mix` is.
            progress: show a progress bar on stderr.
            seed: makes the random shifts repeatable.
            workers: batches in work at a time on a CPU, each with its share of torch's threads, which wait for each
                other less when each has its own; None for up to `MAX_WORKERS`, as many as there are threads.
            batch: segments given to the model at once; None for `GPU_BATCH` on CUDA, else 1.
            precision: "bf16" for convolutions and matrix products in half the width.
            offsets: the shifts themselves, 0 to half a second in samples, `shifts` numbers for each model.

    Returns:
        Stems [B, S, C, T] on the device of `mix`, in the order of `model.sources`.

    Raises:
        StreamsepError: an option out of range, or a mix or `out` of the wrong shape.
    """
    chosen = Options(**options)
    if mix.dim() != 3 or mix.shape[1] != model.audio_channels:
        raise StreamsepError(f"the mix must be [batch, {model.audio_channels}, samples], not {list(mix.shape)}")
    out = _silence(mix, len(model.sources), out)
    passes = _plan(model, chosen, mix.shape[-1])
    with _progress_bar(passes, mix.shape[-1]) as bar, torch.no_grad():
        count = _counting(passes, mix.shape[-1], bar, follow)
        for each in passes:
            _run_pass(each, mix, out, count)
    return out


def _silence(mix: Tensor, stems: int, out: Tensor | None) -> Tensor:
    """Zeros [B, S, C, T] for the stems of `mix`, in `out` where there is one; StreamsepError where it is misshapen."""
    shape = (mix.shape[0], stems, *mix.shape[1:])
    if out is None:
        return mix.new_zeros(shape)
    if out.shape != shape:
        raise StreamsepError(f"out must be {list(shape)}, not {list(out.shape)}")
    return out.zero_()


def _plan(model: Single | BagOfModels, options: Options, length: int) -> list[Pass]:
    """The passes over a song of `length` samples whose weighted sum is the result."""
    members = cast(list[Single], list(model.models)) if isinstance(model, BagOfModels) else [model]
    shares = model.shares() if isinstance(model, BagOfModels) else torch.ones(1, len(model.sources))
    furthest = int(MAX_SHIFT * model.sample_rate)
    starts = [offset - furthest for offset in _offsets(options, len(members), furthest)] or [0] * len(members)
    each = max(1, options.shifts)
    passes = [
        Pass(members[index // each], shares[index // each] / each, start, options) for index, start in enumerate(starts)
    ]
    for one in passes:
        _check_window(one, length)
    return passes


def _offsets(options: Options, models: int, furthest: int) -> Sequence[int]:
    count = options.shifts * models
    if options.offsets is None:
        generator = random.Random(options.seed)
        return [generator.randint(0, furthest) for _ in range(count)]
    if len(options.offsets) != count or not all(0 <= offset <= furthest for offset in options.offsets):
        raise StreamsepError(f"offsets must be {count} numbers from 0 to {furthest}")
    return options.offsets


def _check_window(one: Pass, length: int) -> None:
    """Refuse windows that the model cannot take, before any work is done."""
    total, split, rate = length - one.start, one.options.split, one.model.sample_rate
    if one.window == 0:
        raise StreamsepError("a segment of less than one sample holds nothing; choose a longer --segment")
    if one.window is not None and one.window < total and not split:
        raise StreamsepError(f"without split, segment must cover the {total} samples of the song")
    try:
        one.model.valid_length(one.window or (0 if split else total))
    except StreamsepError:
        longest = f"{math.floor(1000 * one.model.max_length / rate) / 1000:g} s"
        cure = f"choose a --segment of at most {longest}" if split else "leave out --no-split"
        seconds = (one.window or total) / rate
        raise StreamsepError(f"{seconds:g} s are more than the model's segment of {longest}; {cure}") from None


def _run_pass(one: Pass, mix: Tensor, out: Tensor, count: Callable[[int], None]) -> None:
    """Add one pass, times its share, to `out [B, S, C, T]`; `count` is told the samples of each piece."""
    model, was_training = one.model, one.model.training
    home = next(model.parameters()).device
    model.eval().to(one.options.device or home)
    share = one.share.to(out)[:, None, None]
    try:
        for start, span in _finished_spans(one, mix):
            skip = max(0, -start)  # a shifted pass begins in the silence before the song
            stop = start + span.shape[-1]
            if stop > 0:
                out[..., start + skip : stop] += share * span[..., skip:].to(out)
            count(span.shape[-1])
    finally:
        model.train(was_training).to(home)


def _finished_spans(one: Pass, mix: Tensor) -> Iterator[tuple[int, Tensor]]:
    """Overlap-add the segments of a pass; yield (place in the song, stems [B, S, C, n]) as they are done."""
    total = mix.shape[-1] - one.start
    if not one.options.split:
        yield one.start, separate(one, mix, [(one.start, total)])[0]
        return
    weight = _triangle(one.length, one.options.transition_power)
    tail = weight_tail = torch.zeros(0)
    spans = [(one.start + offset, min(one.length, total - offset)) for offset in range(0, total, one.stride)]
    for (start, length), stems in zip(spans, segments(one, mix, spans), strict=True):
        offset = start - one.start
        fade = weight[:length].to(stems)
        stems, fades = stems.mul_(fade), fade.clone()
        if offset:
            stems[..., : tail.shape[-1]] += tail
            fades[: tail.shape[-1]] += weight_tail
        done = one.stride if offset + one.stride < total else length
        yield start, stems[..., :done].div_(fades[:done])
        tail, weight_tail = stems[..., done:].clone(), fades[done:].clone()


def _triangle(length: int, power: float) -> Tensor:
    """Weights [length] that rise to one in the middle and fall again, to the power `power`."""
    rise = torch.arange(1, length // 2 + 1)
    fall = torch.arange(length - length // 2, 0, -1)
    weight = torch.cat([rise, fall])
    return (weight / weight.max()) ** power


def _progress_bar(passes: list[Pass], length: int) -> tqdm[Any]:
    """A bar over the samples that all passes go through together, shown in seconds."""
    samples = sum(length - one.start for one in passes)
    layout = "{percentage:3.0f}%|{bar}| {n:.1f}/{total:.1f} s of audio [{elapsed}<{remaining}]"
    scale = 1 / passes[0].model.sample_rate
    return tqdm(total=samples, unit_scale=scale, bar_format=layout, disable=not passes[0].options.progress)


def _counting(
    passes: list[Pass], length: int, bar: tqdm[Any], follow: Callable[[int], object] | None
) -> Callable[[int], None]:
    """A function that takes the samples of a pass that are done, moves the bar, and tells `follow`; see there."""
    done, total = 0, max(1, sum(length - one.start for one in passes))

    def count(samples: int) -> None:
        nonlocal done
        done += samples
        bar.update(samples)
        if follow is not None:
            follow(length * done // total)

    return count


def mean_and_level(mix: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and deviation of the mid channel of each row of `mix [B, C, T]`, both `[B, 1, 1]`."""
    mid = mix.mean(dim=1, keepdim=True)
    return mid.mean(-1, keepdim=True), mid.std(-1, correction=0, keepdim=True) + 1e-8


def apply_levelled(model: Single | BagOfModels, mix: Tensor, **options: Any) -> Tensor:
    """`apply_model` on a song `[1, C, T]` at zero mean and unit level of its mid channel, as in training."""
    mean, level = mean_and_level(mix)
    return apply_model(model, (mix - mean) / level, **options).mul_(level[:, None]).add_(mean[:, None])
