"""One song through several systems, each in a process of its own, and what tells them apart.

A system is a model and a way to run it: `stream` (causal, chunk by chunk), `full pass` (the same model over the whole
signal at once, which must give the same) or `offline` (bidirectional, segment by segment). Sound goes in and out by raw
float32 files, so that streaming holds no more than a chunk and its peak memory is its own.
"""

from __future__ import annotations

import math
import sys
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from streamsep.errors import StreamsepError
from streamsep.evaluation.metrics import StemTotals
from streamsep.models.apply import apply_levelled
from streamsep.models.registry import load_model
from streamsep.models.streaming import stream_pieces

Way = Literal["stream", "full pass", "offline"]
Waves = NDArray[np.float32]
_BAR = "{desc:<10}{percentage:3.0f}%|{bar}| {n:.1f}/{total:.1f} s of audio [{elapsed}<{remaining}]"
_PIECE = 1 << 19  # samples compared at a time


@dataclass(frozen=True)
class Task:
    """What one process does.

    Attributes:
        way: how the model runs.
        model: a name or a path, as `load_model` takes it.
        sources: the stems that are written, in their order; see `arrange`.
        mix: raw float32 `[T, 2]` at the model's rate.
        out: raw float32 `[frames, S, 2]`, written.
        frames: samples of the mix to separate, from its beginning.
        chunk: hops a step, for `stream`.
        device: as torch names it.
        progress: show a bar on stderr.
    """

    way: Way
    model: str
    sources: tuple[str, ...]
    mix: Path
    out: Path
    frames: int
    chunk: int = 1
    device: str = "cpu"
    progress: bool = False

    def stems(self) -> Waves:
        """The result `[frames, S, 2]`, mapped from its file."""
        return np.memmap(self.out, np.float32, "r", shape=(self.frames, len(self.sources), 2))


@dataclass(frozen=True)
class Cost:
    """What a system took.

    Attributes:
        seconds: from the first sample to the last on one CPU thread; starting and loading are not counted.
        cpu_seconds: those of them in which a processor worked for it; the rest went to others, or to waiting.
        start_memory: bytes resident at most before the model was loaded: the interpreter and the libraries.
        peak_memory: bytes resident at most to the end; None where the system does not tell.
        device_memory: bytes allocated at most on a CUDA device; None on others.
        weights: a checksum of the weights that ran.
    """

    seconds: float
    cpu_seconds: float
    start_memory: int | None
    peak_memory: int | None
    device_memory: int | None = None
    weights: int = 0


def run_apart(task: Task) -> Cost:
    """Run `task` in a fresh process.

    Raises:
        StreamsepError: what `run` raises, or the process was killed.
    """
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        try:
            return pool.submit(run, task).result()
        except (BrokenProcessPool, MemoryError):
            raise StreamsepError(
                f"the {task.way} of {task.model} was ended by the system, as when memory is short; try fewer --seconds"
            ) from None


def run(task: Task) -> Cost:
    """Run `task` in this process, on one CPU thread.

    Raises:
        StreamsepError: the model cannot be loaded, or the device has too little memory.
    """
    torch.set_num_threads(1)
    start_memory = peak_memory()
    model: Any = load_model(task.model, device=task.device)
    separate = {"stream": _stream, "full pass": _pass, "offline": _offline}[task.way]
    with task.out.open("wb") as file, torch.inference_mode():
        if task.device != "cpu":
            _warm_up(model, task)
        begin, cpu_begin = time.perf_counter(), time.process_time()
        try:
            separate(model, task, lambda piece: file.write(_frames(arrange(piece, model.sources, task.sources))))
        except torch.OutOfMemoryError:
            raise StreamsepError(f"{task.device} has too little memory; try fewer --seconds or --device cpu") from None
        seconds, cpu_seconds = time.perf_counter() - begin, time.process_time() - cpu_begin
    on_cuda = torch.device(task.device).type == "cuda"
    device_memory = torch.cuda.max_memory_allocated() if on_cuda else None
    return Cost(seconds, cpu_seconds, start_memory, peak_memory(), device_memory, _checksum(model))


def _checksum(model: torch.nn.Module) -> int:
    total = 0
    for weight in model.state_dict().values():
        total = zlib.crc32(weight.cpu().contiguous().numpy().tobytes(), total)
    return total


def _stream(model: Any, task: Task, write: Callable[[Tensor], object]) -> None:
    def mix(start: int, frames: int) -> Tensor:
        return _read(task.mix, start, frames)[None]

    rate = model.sample_rate
    bar = tqdm(desc=task.way, total=task.frames / rate, bar_format=_BAR, disable=not task.progress)
    with bar:
        for _, piece in stream_pieces(model, mix, task.frames, task.chunk, task.device):
            write(piece[0].cpu())
            bar.update(piece.shape[-1] / rate)


def _pass(model: Any, task: Task, write: Callable[[Tensor], object]) -> None:
    if task.progress:
        print(f"{task.way}: all in one step, so without a bar", file=sys.stderr)
    total = -(-(task.frames + model.latency) // model.hop) * model.hop
    mix = F.pad(_read(task.mix, 0, task.frames), (0, total - task.frames))
    sources = model(mix[None].to(task.device))[0]
    write(sources[..., model.latency : model.latency + task.frames].cpu())


def _offline(model: Any, task: Task, write: Callable[[Tensor], object]) -> None:
    if task.progress:
        print(f"{task.way}: {task.model}", file=sys.stderr)
    mix = _read(task.mix, 0, task.frames)
    write(apply_levelled(model, mix[None], device=task.device, progress=task.progress)[0])


def _warm_up(model: Any, task: Task) -> None:
    """Accelerators load and choose their kernels in the first call, which is not the model's speed."""
    frames = model.max_length if task.way == "offline" else model.hop
    model(torch.zeros(1, 2, frames, device=task.device)).cpu()


def _read(path: Path, start: int, frames: int) -> Tensor:
    """`[2, frames]` of a raw file `[T, 2]`."""
    samples = np.fromfile(path, np.float32, 2 * frames, offset=8 * start)
    return torch.from_numpy(samples).view(frames, 2).T.contiguous()


def _frames(sources: Tensor) -> bytes:
    """`[S, C, n]` as the bytes of float32 `[n, S, C]`."""
    return sources.permute(2, 0, 1).contiguous().float().numpy().tobytes()


def arrange(stems: Tensor, names: Sequence[str], wanted: Sequence[str]) -> Tensor:
    """`stems [S, C, n]` called `names` in the order of `wanted`; stems that are not wanted are a part of `other`.

    Raises:
        StreamsepError: a wanted stem is not among the names.
    """
    if absent := [name for name in wanted if name not in names]:
        raise StreamsepError(f"a model of the stems {', '.join(names)} has no {absent[0]}; choose another --offline")
    rest = [index for index, name in enumerate(names) if name not in wanted]
    chosen = [[names.index(name), *(rest if name == "other" else [])] for name in wanted]
    return torch.stack([stems[indices].sum(0) for indices in chosen])


def peak_memory() -> int | None:
    """The most bytes this process has had resident; None where the system does not tell."""
    try:
        # getrusage's ru_maxrss would be at least the memory of the process that started this one (Linux keeps it over
        # exec), so the high-water mark of this address space comes first.
        lines = Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines()
        return next(1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))
    except (OSError, StopIteration):
        return _maxrss()


def _maxrss() -> int | None:
    try:
        import resource
    except ImportError:  # Windows
        return None
    size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return size if sys.platform == "darwin" else 1024 * size


def score(truth: Waves, estimate: Waves, mix: Waves, names: Sequence[str]) -> dict[str, dict[str, float]]:
    """Measures in dB of each stem that sounds: sdr, si_sdr, and baseline_sdr, that of the best constant gain.

    Args:
        truth, estimate: `[T, S, C]`.
        mix: `[T, C]`.
    """
    totals = _totals(truth, estimate, mix, len(names))
    return {
        name: {"sdr": total.sdr, "si_sdr": total.si_sdr, "baseline_sdr": total.baseline}
        for name, total in zip(names, totals, strict=True)
        if total.reference > 0
    }


def difference(one: Waves, other: Waves, names: Sequence[str]) -> dict[str, dict[str, float]]:
    """How far stems `one [T, S, C]` are from `other`, which stands for the truth: sdr in dB, and max, a sample's.

    The longer of the two is cut. Equal stems have an sdr of inf, and nan where both are silent.
    """
    length = min(len(one), len(other))
    one, other = one[:length], other[:length]
    totals = _totals(other, one, other[:, 0], len(names))
    highest = [max((float(np.abs(one[p, s] - other[p, s]).max()) for p in _pieces(length)), default=math.nan)
               for s in range(len(names))]  # fmt: skip
    return {name: {"sdr": t.sdr, "max": top} for name, t, top in zip(names, totals, highest, strict=True)}


def _totals(reference: Waves, estimate: Waves, mix: Waves, stems: int) -> list[StemTotals]:
    totals = [StemTotals() for _ in range(stems)]
    for piece in _pieces(len(reference)):
        heard = _tensor(mix[piece])
        for stem, total in enumerate(totals):
            total.update(_tensor(reference[piece, stem]), _tensor(estimate[piece, stem]), heard)
    return totals


def _pieces(length: int) -> Iterator[slice]:
    return (slice(start, start + _PIECE) for start in range(0, length, _PIECE))


def _tensor(samples: Waves) -> Tensor:
    """`[n, C]` to `[C, n]`."""
    return torch.from_numpy(np.array(samples.T))
