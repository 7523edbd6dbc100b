"""Offline separation beside demucs 4.1.0: the same random htdemucs, song, overlap and threads, taking turns.

    pip install --no-deps -r requirements-reference.txt
    python -m benchmarks.offline [--minutes 6] [--device cuda] [--json benchmarks/results/offline.json]

`whole`: a process from its start to the stems on disk, `streamsep separate` against demucs' Python interface (its
command knows no local weights). `segment`: one segment through a loaded model in a process that stays, which is also
measured with demucs on our setting of the allocator. Rounds go on while another fits into the time; ratios are medians
over the rounds of demucs' time by ours in the same round. On CUDA, songs through loaded models take their place.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.offline_sides import OVERLAP, SONG, SOURCES, read
from benchmarks.turns import write_result
from streamsep.errors import telling
from streamsep.models.checkpoint import save_checkpoint
from streamsep.models.htdemucs import HTDemucs, HTDemucsConfig

CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
DEMUCS, KEPT = "demucs", "demucs, memory kept"
Case = tuple[str, int]  # side, threads
WHOLE: list[Case] = [(DEMUCS, 1), ("fp32", 1), (DEMUCS, CORES), ("fp32", CORES), ("bf16", CORES), ("int8", CORES)]
SEGMENT: list[Case] = [(side, threads) for threads in dict.fromkeys((1, CORES)) for side in (DEMUCS, KEPT, "fp32")]
SEGMENT += [("bf16", CORES), ("int8", CORES)]
CUDA: list[Case] = [(side, CORES) for side in (DEMUCS, "fp32", "bf16", "bf16, compiled")]


def random_model(folder: Path) -> Path:
    """A checkpoint of an htdemucs as it is initialised, but with layer scales that let every branch be heard."""
    torch.manual_seed(0)
    model = HTDemucs(HTDemucsConfig())
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("scale"):
                parameter.uniform_(0.3, 1.0)
    save_checkpoint(model, folder / "random.safetensors", {})
    return folder / "random.safetensors"


def command(side: str, weights: Path, folder: Path) -> list[str]:
    """What puts stems of the song into a folder in `folder` that is called like the model."""
    if side == DEMUCS:
        target = folder / weights.stem
        return [sys.executable, "-m", "benchmarks.offline_sides", DEMUCS, str(weights), str(SONG), str(target)]
    flags = ["--mode", "offline", "--overlap", str(OVERLAP), "--precision", side, "-d", "cpu"]
    files = ["--float32", "--clip-mode", "none", "-o", str(folder), "--filename", "{stem}.{ext}"]
    return [sys.executable, "-m", "streamsep", "separate", str(SONG), "-n", str(weights), *flags, *files]


def whole(case: Case, weights: Path, folder: Path) -> dict[str, float]:
    """One process: seconds by the clock and of processors, and its peak memory in MB."""
    environment = os.environ | {"OMP_NUM_THREADS": str(case[1])}
    began = time.perf_counter()
    with subprocess.Popen(command(case[0], weights, folder), env=environment, stdout=subprocess.DEVNULL) as process:
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, process.args)
    seconds = time.perf_counter() - began
    return {"seconds": seconds, "cpu_seconds": used.ru_utime + used.ru_stime, "peak_mb": used.ru_maxrss / 1024}


class Server:
    """A loaded side that waits for tasks."""

    def __init__(self, side: str, weights: Path, device: str) -> None:
        line = [sys.executable, "-m", "benchmarks.offline_sides", "serve", side, str(weights), device]
        self.process = subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def seconds(self, task: str, threads: int) -> dict[str, float]:
        """Let it do the task."""
        assert self.process.stdin is not None and self.process.stdout is not None
        print(json.dumps({"task": task, "threads": threads}), file=self.process.stdin, flush=True)
        return {"seconds": float(self.process.stdout.readline())}

    def close(self) -> None:
        """End it."""
        self.process.communicate()


def rounds(cases: Sequence[Case], measure: Callable[[Case], dict[str, float]], seconds: float) -> list[list[Any]]:
    """What each case gives, in rounds of all cases that go on while another fits into `seconds`; one at least."""
    began = time.perf_counter()
    found: list[list[Any]] = []
    while not found or (time.perf_counter() - began) * (1 + 1 / len(found)) < seconds:
        found.append([])
        for case in cases:
            found[-1].append(measure(case))
            print(
                f"round {len(found)}: {case[0]}, {case[1]} threads: {found[-1][-1]['seconds']:.2f} s", file=sys.stderr
            )
    return found


def rows(cases: Sequence[Case], found: list[list[Any]]) -> list[dict[str, Any]]:
    """Medians of each case, and of demucs' time at the same threads by its own."""
    times = np.array([[each["seconds"] for each in one] for one in found])
    result = []
    for index, (side, threads) in enumerate(cases):
        medians = {key: float(np.median([one[index][key] for one in found])) for key in found[0][index]}
        ratio = np.median(times[:, cases.index((DEMUCS, threads))] / times[:, index])
        result.append({"side": side, "threads": threads, **medians, "ratio": float(ratio)})
    return result


def place(folder: Path, case: Case) -> Path:
    """Where the stems of a case lie, in a folder that is called like the model."""
    return folder / f"{case[0]}-{case[1]}"


def errors(folder: Path, cases: Sequence[Case]) -> dict[Case, dict[str, float]]:
    """Of each case's stems against demucs' on one thread: the norm of the difference over the norm, and the largest.

    Demucs on more threads is among the cases: how far rounding alone drives this network apart.
    """

    def stems(case: Case) -> torch.Tensor:
        (made,) = place(folder, case).iterdir()
        return torch.stack([read(made / f"{name}.wav")[0] for name in SOURCES])

    reference = stems((DEMUCS, 1))
    found = {}
    for case in cases:
        difference = stems(case) - reference
        relative, largest = difference.norm() / reference.norm(), difference.abs().max() / reference.abs().max()
        found[case] = {"error": float(relative), "largest": float(largest)}
    return found


def served(cases: Sequence[Case], task: str, weights: Path, device: str, seconds: float) -> dict[str, Any]:
    """Rounds of one task on servers, after one task that does not count."""
    servers = {side: Server(side, weights, device) for side in dict.fromkeys(side for side, _ in cases)}
    try:
        for server in servers.values():
            server.seconds(task, CORES)
        found = rounds(cases, lambda case: servers[case[0]].seconds(task, case[1]), seconds)
    finally:
        for server in servers.values():
            server.close()
    return {"rounds": len(found), "rows": rows(cases, found)}


def on_cpu(minutes: float) -> dict[str, Any]:
    """Whole processes in three quarters of the time, segments in the rest."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        weights = random_model(folder)
        segment = served(SEGMENT, "segment", weights, "cpu", 15 * minutes)
        found = rounds(WHOLE, lambda case: whole(case, weights, place(folder, case)), 45 * minutes)
        differences = errors(folder, [case for case in WHOLE if case != (DEMUCS, 1)])
    made = [row | differences.get((row["side"], row["threads"]), {}) for row in rows(WHOLE, found)]
    samples, rate = read(SONG)
    return {"seconds": samples.shape[1] / rate, "whole": {"rounds": len(found), "rows": made}, "segment": segment}


def on_cuda(device: str, minutes: float) -> dict[str, Any]:
    """Songs through loaded models on a GPU."""
    with tempfile.TemporaryDirectory() as name:
        return {"song": served(CUDA, "song", random_model(Path(name)), device, 60 * minutes)}


@telling("offline")
def main() -> int:
    """Measure, print, and write where asked; results of the other device that the file holds stay."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=6, help="about as long as it takes (default %(default)s)")
    parser.add_argument("--device", default="cpu", help="cpu, or cuda (default %(default)s)")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    args = parser.parse_args()
    before = json.loads(args.json.read_text(encoding="utf-8")) if args.json and args.json.exists() else {}
    if args.device == "cpu":
        result = {"gpu": before.get("gpu"), **on_cpu(args.minutes)}
    else:
        gpu = {"device": torch.cuda.get_device_name(args.device), **on_cuda(args.device, args.minutes)}
        result = before | {"gpu": gpu}
    write_result(args.json, result, None if args.device == "cpu" else "gpu")
    return 0


if __name__ == "__main__":
    sys.exit(main())
