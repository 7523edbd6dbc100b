"""Segments of a song through an offline model: several at a time, and in narrower numbers where that is wanted.

On a CPU each batch has a thread of its own; on a GPU a batch holds more segments. What comes of it is the same.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain, groupby
from typing import get_args

import torch
from torch import Tensor
from torch.nn import functional as F

from streamsep.errors import StreamsepError
from streamsep.models.bidirectional import Bidirectional
from streamsep.models.htdemucs import HTDemucs
from streamsep.models.precision import Precision, reduced

MAX_WORKERS = 4  # each holds the activations of a segment, about a gigabyte at full size
GPU_BATCH = 4  # segments that keep a GPU busy, by as much memory

Single = HTDemucs | Bidirectional
Span = tuple[int, int]  # where a segment begins in the song, and its samples


@dataclass(frozen=True)
class Options:
    """How a song is cut; see `apply_model` for the meaning of each field."""

    shifts: int = 0
    split: bool = True
    overlap: float = 0.25
    transition_power: float = 1.0
    segment: float | Fraction | None = None
    device: torch.device | str | None = None
    progress: bool = False
    seed: int | None = None
    offsets: Sequence[int] | None = None
    workers: int | None = None
    batch: int | None = None
    precision: Precision = "fp32"

    def __post_init__(self) -> None:
        if not 0 <= self.overlap < 1:
            raise StreamsepError(f"overlap must be at least 0 and below 1, not {self.overlap}")
        if not 1 <= self.transition_power < math.inf:
            raise StreamsepError(f"transition_power must be at least 1, not {self.transition_power}")
        if self.shifts < 0 or (self.segment is not None and not 0 < self.segment < math.inf):
            raise StreamsepError("shifts must not be negative, and segment must be a number of seconds above 0")
        if self.precision not in get_args(Precision):
            raise StreamsepError(f"precision must be fp32 or bf16, not {self.precision!r}; for int8 quantise the model")
        for name, count in (("workers", self.workers), ("batch", self.batch)):
            if count is not None and count < 1:
                raise StreamsepError(f"{name} must be at least 1, not {count}")


@dataclass(frozen=True, eq=False)
class Pass:
    """One model run over one shifted version of the song."""

    model: Single
    share: Tensor  # [S]: how much of the result is this pass's
    start: int  # where the first segment begins in the song; negative with a shift
    options: Options

    @property
    def window(self) -> int | None:
        """Samples the model is given at a time, where the caller chose; else the model decides."""
        segment = self.options.segment
        return None if segment is None else int(segment * self.model.sample_rate)

    @property
    def length(self) -> int:
        """Samples of a segment."""
        return self.window or self.model.max_length

    @property
    def stride(self) -> int:
        """Samples from one segment to the next."""
        return max(1, int((1 - self.options.overlap) * self.length))


def segments(one: Pass, mix: Tensor, spans: Sequence[Span]) -> Iterator[Tensor]:
    """Stems of each span in turn; on a CPU, some batches are worked on ahead, each in a thread of its own."""
    device = next(one.model.parameters()).device
    batches = _batches(one, spans, one.options.batch or (GPU_BATCH if device.type == "cuda" else 1))
    threads = torch.get_num_threads()
    workers = min(one.options.workers or MAX_WORKERS, threads, len(batches)) if device.type == "cpu" else 1
    if workers <= 1:
        yield from chain.from_iterable(separate(one, mix, batch) for batch in batches)
        return

    def work(batch: Sequence[Span]) -> list[Tensor]:
        with torch.no_grad():
            return separate(one, mix, batch)

    # threads and gradients are settings of each thread in torch
    with ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(threads // workers,)) as pool:
        ahead: deque[Future[list[Tensor]]] = deque()
        try:
            for batch in batches:
                ahead.append(pool.submit(work, batch))
                if len(ahead) > workers:
                    yield from ahead.popleft().result()
            while ahead:
                yield from ahead.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)
            torch.set_num_threads(threads)  # threads to come would start with what the last worker chose


def _batches(one: Pass, spans: Sequence[Span], size: int) -> list[list[Span]]:
    """`spans` in groups of at most `size` for which the model is given windows of one length."""
    alike = [list(group) for _, group in groupby(spans, lambda span: _window(one, span[1]))]
    return [group[at : at + size] for group in alike for at in range(0, len(group), size)]


def _window(one: Pass, length: int) -> int:
    """Samples that the model is given for a segment of `length`."""
    return one.window or one.model.valid_length(length)


def separate(one: Pass, mix: Tensor, spans: Sequence[Span]) -> list[Tensor]:
    """Stems of each span; what the model's window has to spare shows it the surroundings."""
    window = _window(one, spans[0][1])
    lefts = [(window - length) // 2 for _, length in spans]
    parameter = next(one.model.parameters())
    chunks = [_read(mix, start - left, window) for (start, _), left in zip(spans, lefts, strict=True)]
    chunk = torch.cat(chunks).to(device=parameter.device, dtype=parameter.dtype)
    with reduced(chunk.device, one.options.precision):
        found = one.model(chunk).split(mix.shape[0])
    return [stems[..., left : left + length] for stems, left, (_, length) in zip(found, lefts, spans, strict=True)]


def _read(mix: Tensor, start: int, length: int) -> Tensor:
    """`length` samples of `mix [B, C, T]` from `start`; silence outside the song."""
    begin, end = max(start, 0), min(start + length, mix.shape[-1])
    if begin >= end:
        return mix.new_zeros(*mix.shape[:2], length)
    return F.pad(mix[..., begin:end], (begin - start, start + length - end))
