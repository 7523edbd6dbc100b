"""One system over one song: sound goes in and out by raw files, so that no more than a chunk of it is in memory."""

from __future__ import annotations

import sys
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from streamsep.errors import StreamsepError
from streamsep.evaluation import oracles, systems
from streamsep.evaluation.material import Material, Waves
from streamsep.evaluation.measures.latency import impulse_latency
from streamsep.evaluation.songs import find_stem, reserved, write_raw, write_stems
from streamsep.evaluation.spectra import Transform
from streamsep.evaluation.systems import System
from streamsep.models.apply import apply_model
from streamsep.models.streaming import stream_pieces

# A full pass attends from every frame to every other: its time would grow with the square of a song.
PASS_SECONDS = 30
_BAR = "{desc:<24.24}{percentage:3.0f}%|{bar}| {n:.1f}/{total:.1f} s of audio [{elapsed}<{remaining}]"
_PIECE = 1 << 18


@dataclass(frozen=True)
class Cost:
    """What a system took.

    Attributes:
        seconds: from the first sample to the last on one CPU thread; starting and loading are not counted.
        cpu_seconds: those of them in which a processor worked for it; the rest went to others, or to waiting.
        start_memory: bytes resident at most before the model was loaded: the interpreter and the libraries.
        peak_memory: bytes resident at most to the end; None where the system does not tell.
        device_memory: bytes allocated at most on a CUDA device; None on others.
        weights: a checksum of the weights that ran; 0 without any.
    """

    seconds: float
    cpu_seconds: float
    start_memory: int | None
    peak_memory: int | None
    device_memory: int | None = None
    weights: int = 0


@dataclass(frozen=True)
class Task:
    """One system on one song.

    Attributes:
        out: raw float32 `[frames, S, 2]`, written whole or not at all.
        progress: show a bar on stderr.
    """

    system: System
    material: Material
    out: Path
    progress: bool = False

    @property
    def frames(self) -> int:
        """Samples that are separated: the whole song, but for a full pass."""
        whole, rate = self.material.frames, self.material.rate
        return min(whole, round(PASS_SECONDS * rate)) if self.system.way == "pass" else whole

    def stems(self) -> Waves:
        """The result `[frames, S, 2]`, mapped from its file."""
        shape = (self.frames, len(self.material.sources), 2)
        return np.memmap(self.out, np.float32, "r", shape=shape)


@dataclass(frozen=True)
class Ran:
    """What running a task told; `latency` is the algorithmic one by an impulse, in samples, where it can be heard."""

    cost: Cost
    latency: int | None = None


def separate(task: Task) -> Ran:
    """Run `task` in this process, on one CPU thread.

    Raises:
        StreamsepError: the model cannot be loaded, the device has too little memory, stems are missing, or the disk is
            full.
    """
    part = task.out.with_suffix(".part")
    try:
        ran = _separate(replace(task, out=part))
        part.replace(task.out)
    except OSError as error:
        reason = error.strerror or error
        raise StreamsepError(f"cannot write {task.out} ({reason}); choose another folder with -o") from None
    finally:
        part.unlink(missing_ok=True)
    return ran


def _separate(task: Task) -> Ran:
    torch.set_num_threads(1)
    start = peak_memory()
    system = task.system
    if system.way not in systems.MODEL_WAYS:
        seconds, cpu = _timed(lambda: _without_model(task))
        return Ran(Cost(seconds, cpu, start, peak_memory()))
    model: Any = systems.load(system)
    run = {"stream": _stream, "sliding": _stream, "pass": _pass, "offline": _offline}[system.way]
    with torch.inference_mode():
        if system.device != "cpu":
            _warm_up(model, system)
        try:
            seconds, cpu = _timed(lambda: run(model, task))
        except torch.OutOfMemoryError:
            raise StreamsepError(
                f"{system.device} has too little memory; try fewer --seconds or --device cpu"
            ) from None
        on_cuda = torch.device(system.device).type == "cuda"
        device_memory = torch.cuda.max_memory_allocated() if on_cuda else None
        cost = Cost(seconds, cpu, start, peak_memory(), device_memory, _checksum(model))
        latency = impulse_latency(model, 0.25, system.device) if system.way in ("stream", "sliding") else None
    return Ran(cost, latency)


def _timed(work: Callable[[], object]) -> tuple[float, float]:
    begin, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - begin, time.process_time() - cpu


def _without_model(task: Task) -> None:
    system, material = task.system, task.material
    mix, stems = material.mix(), len(material.sources)
    if system.way == "stems":
        _collect(task)
    elif not system.needs_truth:
        make = oracles.mixture if system.way == "mixture" else oracles.silence
        write_raw(task.out, make(mix, stems), None)
    else:
        truth = material.truth()
        if truth is None:
            raise StreamsepError(f"{system.name} is made from the true stems, and none are known; name them by --stems")
        if system.stft is None:
            write_raw(task.out, oracles.best_gain(truth, mix), None)
        else:
            write_raw(task.out, oracles.oracle(system.way, truth, mix, Transform(*system.stft)), None)


def _collect(task: Task) -> None:
    """Somebody else's stems, brought to the rate and length of the song."""
    folder = Path(task.system.what)
    files = [find_stem(folder, name) for name in task.material.sources]
    if absent := [name for name, file in zip(task.material.sources, files, strict=True) if file is None]:
        raise StreamsepError(
            f"there is no {absent[0]}.wav, .flac, .ogg or .mp3 in {folder}; correct {task.system.name}"
        )
    write_stems(files, task.material.rate, task.out, task.material.frames)


def _checksum(model: torch.nn.Module) -> int:
    total = 0
    for weight in model.state_dict().values():
        total = zlib.crc32(weight.cpu().contiguous().numpy().tobytes(), total)
    return total


def _stream(model: Any, task: Task) -> None:
    mix, rate, names = task.material.mix(), task.material.rate, tuple(model.sources)

    def read(start: int, frames: int) -> Tensor:
        return torch.from_numpy(np.array(mix[start : start + frames].T))[None]

    def pieces() -> Iterator[Waves]:
        with tqdm(desc=task.system.name, total=task.frames / rate, bar_format=_BAR, disable=not task.progress) as bar:
            for _, piece in stream_pieces(model, read, task.frames, task.system.chunk, task.system.device):
                yield arrange(piece[0].cpu(), names, task.material.sources).permute(2, 0, 1).numpy()
                bar.update(piece.shape[-1] / rate)

    write_raw(task.out, pieces(), None)


def _pass(model: Any, task: Task) -> None:
    if task.progress:
        print(f"{task.system.name}: all in one step, so without a bar", file=sys.stderr)
    total = -(-(task.frames + model.latency) // model.hop) * model.hop
    mix = F.pad(torch.from_numpy(np.array(task.material.mix()[: task.frames].T)), (0, total - task.frames))
    sources = model(mix[None].to(task.system.device))[0, ..., model.latency : model.latency + task.frames].cpu()
    write_raw(task.out, iter([arrange(sources, model.sources, task.material.sources).permute(2, 0, 1).numpy()]), None)


def _offline(model: Any, task: Task) -> None:
    """By segments, at zero mean and unit level of the mid channel as in training; mix and stems stay in files."""
    if task.progress:
        print(f"{task.system.name}: {task.system.what}", file=sys.stderr)
    mix, frames, names = task.material.mix(), task.frames, tuple(model.sources)
    mean, level = _mean_and_level(mix)
    levelled, answer = task.out.with_suffix(".in"), task.out.with_suffix(".answer")
    try:
        write_raw(levelled, ((mix[at : at + _PIECE] - mean) / level for at in range(0, frames, _PIECE)), None)
        song = torch.from_numpy(np.memmap(levelled, np.float32, "r+", shape=(frames, 2))).T[None]
        out = torch.from_numpy(reserved(answer, (frames, len(names), 2))).permute(1, 2, 0)[None]
        apply_model(model, song, out=out, device=task.system.device, progress=task.progress)
        stems = (out[0, ..., at : at + _PIECE] * level + mean for at in range(0, frames, _PIECE))
        arranged = (arrange(piece, names, task.material.sources).permute(2, 0, 1).numpy() for piece in stems)
        write_raw(task.out, arranged, None)
    finally:
        levelled.unlink(missing_ok=True)
        answer.unlink(missing_ok=True)


def _mean_and_level(mix: Waves) -> tuple[float, float]:
    """Mean and deviation of the mid channel, as `models.apply.mean_and_level`, piece by piece."""
    sums = np.zeros(2)
    for at in range(0, len(mix), _PIECE):
        mid = mix[at : at + _PIECE].mean(axis=1, dtype=np.float64)
        sums += mid.sum(), np.square(mid).sum()
    mean = sums[0] / len(mix)
    return float(mean), float(np.sqrt(max(sums[1] / len(mix) - mean**2, 0.0))) + 1e-8


def _warm_up(model: Any, system: System) -> None:
    """Accelerators load and choose their kernels in the first call, which is not the model's speed."""
    frames = model.max_length if system.way == "offline" else model.hop
    model(torch.zeros(1, 2, frames, device=system.device)).cpu()


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
