"""Step times of streaming models on one CPU core: every executor, hop after hop, taking turns in one run.

    python -m benchmarks.steps [MODEL ...] [--steps 2000] [--json benchmarks/results/steps.json]

Random weights where a model has none: the time of a step does not depend on their values. The core is
shared with whatever else runs on the machine; run it alone. Turns are long: a stream finds the caches full of its own.
"""

from __future__ import annotations

import argparse
import json
import platform
from pathlib import Path
from typing import Any

import torch

from benchmarks.turns import Times, percentiles, stepper, take_turns
from streamsep.engine.executor import Executor, inference_thread, make_executor
from streamsep.models.registry import build_preset

BOUT = 250
MODELS = ("live-6-small", "live-12-small", "live-23-small", "live-93-small")


def summary(name: str, executor: Executor, times: Times) -> dict[str, Any]:
    """Percentiles in ms, the real-time factor of the median, and the steps that outlast their hop."""
    deadline = executor.separator.hop / executor.separator.sample_rate
    about = {"model": name, "executor": executor.name, "hop_ms": 1000 * deadline}
    return about | percentiles(times, deadline)


def run(names: list[str], steps: int) -> list[dict[str, Any]]:
    """One row a model and executor."""
    rows = []
    for name in names:
        model = build_preset(name).eval()
        executors = {kind: make_executor(kind, model) for kind in ("eager", "onnx")}  # type: ignore[arg-type]
        with inference_thread():
            steppers = {kind: stepper(executor) for kind, executor in executors.items()}
            times = take_turns(steppers, -(-steps // BOUT), name, BOUT)
        rows += [summary(name, executor, times[kind]) for kind, executor in executors.items()]
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
