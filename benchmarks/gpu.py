"""Steps of one stream on a GPU: every way to run them, copies from and to the host included, taking turns in one run.

    python benchmarks/gpu.py [MODEL ...] [--steps 2000] [--json benchmarks/results/gpu.json]

Of each model: eager, the static executor without a graph, and the CUDA graph in every precision and with both branches
side by side; `--compiled` adds the step as torch.compile makes it, which takes minutes. Random weights, all branches
awake: times do not depend on them, and the difference from an eager float32 step on the CPU is that of a model that
sounds. Without CUDA the same ways run on the CPU, without graphs, and are only printed unless `--json` is given. It
needs numpy, torch, PyYAML, safetensors and tqdm.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.turns import Step, percentiles, take_turns  # noqa: E402
from streamsep.engine.executor import EagerExecutor, Executor, inference_thread  # noqa: E402
from streamsep.engine.operations import count_operations  # noqa: E402
from streamsep.engine.static_executor import NO_CUDA_GRAPH, StaticExecutor  # noqa: E402
from streamsep.engine.static_options import TOLERANCES, StaticOptions  # noqa: E402
from tests.models import preset  # noqa: E402

MODELS = ("live-12", "live-12-small", "live-6", "live-23", "live-23-small", "live-93")
BOUT, COMPARED = 100, 32
RESULT = ROOT / "benchmarks" / "results" / "gpu.json"


@dataclass(frozen=True)
class Way:
    """One way to run a step: as it is written, or on static memory with these options, with a graph or without."""

    name: str
    options: StaticOptions | None = None
    graph: bool = True

    def open(self, model: Any, device: str) -> Executor:
        """The executor."""
        if self.options is None:
            return EagerExecutor(model, device=device)
        with without_graph(not self.graph):
            return StaticExecutor(model, device=device, options=self.options)


def ways(cuda: bool, compiled: bool) -> list[Way]:
    """All that this machine can do: graphs and TF32 are a GPU's."""
    two = ("float32", "bfloat16")
    found = [Way("eager"), *(Way(f"static, {p}", StaticOptions(p), graph=False) for p in two)]
    if cuda:
        found += [Way(f"graph, {p}", StaticOptions(p)) for p in TOLERANCES]
        found += [
            Way(f"graph, {p}, side by side", StaticOptions(p, side_by_side=True)) for p in ("float32", "bfloat16")
        ]
    if compiled:
        found += [Way(f"compiled, {p}", StaticOptions(p, compiled=True)) for p in two]
    return found


@contextmanager
def without_graph(wanted: bool) -> Iterator[None]:
    """The kill switch, where it is wanted."""
    before = os.environ.pop(NO_CUDA_GRAPH, None)
    try:
        if wanted:
            os.environ[NO_CUDA_GRAPH] = "1"
        yield
    finally:
        os.environ.pop(NO_CUDA_GRAPH, None)
        if before is not None:
            os.environ[NO_CUDA_GRAPH] = before


def round_trip(executor: Executor) -> Step:
    """The next hop of a stream of noise, from the host's memory and back to it."""
    noise = 0.1 * torch.randn(64, executor.batch, 2, executor.separator.hop)
    memory, turn = [executor.init_state()], iter(range(1 << 62))

    def step() -> None:
        sources, memory[0] = executor(noise[next(turn) % 64].to(executor.home), memory[0])
        sources.cpu()

    return step


def answers(executor: Executor, mix: Tensor) -> Tensor:
    """The stems of `mix [1, 2, T]`, on the CPU."""
    state, parts = executor.init_state(), []
    for chunk in mix.split(executor.separator.hop, -1):
        sources, state = executor(chunk.to(executor.home), state)
        parts.append(sources.cpu().clone())
    return torch.cat(parts, -1)


def operations(executor: Executor) -> int:
    """Kernels and copies of a step, or operators on a CPU; see `engine.operations`."""
    if isinstance(executor, StaticExecutor):
        return executor.operations()
    state, hop = executor.init_state(), executor.separator.hop
    mix = torch.zeros(1, 2, hop, device=executor.device)
    return count_operations(lambda: executor(mix, state), executor.device)


def measure(name: str, model: Any, device: str, steps: int, compiled: bool) -> list[dict[str, Any]]:
    """One row a way."""
    mix = 0.2 * torch.randn(1, 2, COMPARED * model.hop, generator=torch.Generator().manual_seed(0))
    reference = answers(EagerExecutor(model), mix)
    model.to(device)
    executors = {way: way.open(model, device) for way in ways(device != "cpu", compiled)}
    off = {way: float((answers(executor, mix) - reference).abs().max()) for way, executor in executors.items()}
    steppers = {way.name: round_trip(executor) for way, executor in executors.items()}
    times = take_turns(steppers, -(-steps // BOUT), name, min(BOUT, steps))
    return [
        {"model": name, "way": way.name, "hop": model.hop, "hop_ms": 1000 * model.hop / model.sample_rate}
        | percentiles(times[way.name], model.hop / model.sample_rate)
        | {"operations": operations(executor), "difference": off[way]}
        for way, executor in executors.items()
    ]


def place(device: str) -> dict[str, Any]:
    """Where it was measured; `device` is the GPU's name, or None where there was none."""
    versions = {"python": platform.python_version(), "torch": torch.__version__}
    if device != "cpu":
        return {"device": torch.cuda.get_device_name(device)} | versions
    from streamsep.models.tuning import this_place  # it reads sound files, which a machine with a GPU need not

    return {"device": None, "machine": this_place().machine} | versions


def main() -> None:
    """Measure, print, and write where asked (by default on a GPU alone)."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=list(MODELS), metavar="MODEL")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--steps", type=int, default=2000, help="measured steps of each (default %(default)s)")
    parser.add_argument("--compiled", action="store_true", help="add steps compiled by torch.compile")
    parser.add_argument("--json", type=Path, help="write the rows to this file (on a GPU: benchmarks/results/gpu.json)")
    args = parser.parse_args()
    path = args.json or (RESULT if args.device != "cpu" else None)
    rows: list[dict[str, Any]] = []
    with inference_thread():
        for name in args.models:
            rows += measure(name, preset(name), args.device, args.steps, args.compiled)
            for row in rows[-len(ways(args.device != "cpu", args.compiled)) :]:
                print("  ".join(f"{k} {v:.3g}" if isinstance(v, float) else str(v) for k, v in row.items()), flush=True)
            if path is not None:  # after each model: a lease may end
                path.write_text(json.dumps(place(args.device) | {"rows": rows}, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
