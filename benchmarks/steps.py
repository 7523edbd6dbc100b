"""Step times of streaming models on one CPU core: every executor, hop after hop, taking turns in one run.

    python benchmarks/steps.py [MODEL ...] [--steps 2000] [--json benchmarks/results/steps.json]

Random weights where a model has none: the time of a step does not depend on their values. The core is
shared with whatever else runs on the machine; run it alone.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from streamsep.engine.executor import Executor, inference_thread, make_executor
from streamsep.models.registry import build_preset

MODELS = ("live-6-small", "live-12-small", "live-23-small", "live-93-small")


def measure(executors: list[Executor], steps: int, name: str) -> list[list[float]]:
    """Seconds of each step of each executor, `steps` of them after a warm-up of a tenth."""
    states = [executor.init_state() for executor in executors]
    times: list[list[float]] = [[] for _ in executors]
    hop, warm_up = executors[0].separator.hop, steps // 10
    for step in tqdm(range(steps + warm_up), desc=name, unit="step", leave=False):
        mix = 0.1 * torch.randn(1, 2, hop)
        for i, executor in enumerate(executors):
            began = time.perf_counter()
            _, states[i] = executor(mix, states[i])
            if step >= warm_up:
                times[i].append(time.perf_counter() - began)
    return times


def summary(name: str, executor: Executor, times: list[float]) -> dict[str, Any]:
    """Percentiles in ms, the real-time factor of the median, and the steps that outlast their hop."""
    separator = executor.separator
    deadline = separator.hop / separator.sample_rate
    p50, p99, p999 = np.percentile(times, [50, 99, 99.9])
    return {
        "model": name,
        "executor": executor.name,
        "hop_ms": 1000 * deadline,
        "p50_ms": 1000 * p50,
        "p99_ms": 1000 * p99,
        "p999_ms": 1000 * p999,
        "rtf": p50 / deadline,
        "late": int(np.sum(np.array(times) > deadline)),
        "steps": len(times),
    }


def run(names: list[str], steps: int) -> list[dict[str, Any]]:
    """One row a model and executor."""
    rows = []
    for name in names:
        model = build_preset(name).eval()
        executors = [make_executor(kind, model) for kind in ("eager", "onnx")]  # type: ignore[arg-type]
        with inference_thread():
            times = measure(executors, steps, name)
        rows += [summary(name, executor, t) for executor, t in zip(executors, times, strict=True)]
    return rows


def main() -> None:
    """Measure, print, and write where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=list(MODELS), metavar="MODEL")
    parser.add_argument("--steps", type=int, default=2000, help="measured steps of each (default %(default)s)")
    parser.add_argument("--json", type=Path, help="write the rows to this file")
    args = parser.parse_args()
    rows = run(args.models, args.steps)
    for row in rows:
        print("  ".join(f"{key} {value:.3g}" if isinstance(value, float) else str(value) for key, value in row.items()))
    if args.json:
        machine = {"cpu": _cpu(), "python": platform.python_version(), "torch": torch.__version__}
        args.json.write_text(json.dumps({"machine": machine, "rows": rows}, indent=2) + "\n", encoding="utf-8")


def _cpu() -> str:
    """The processor's name, where the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(": ", 1)[1] for line in lines if line.startswith("model name")), platform.machine())


if __name__ == "__main__":
    main()
