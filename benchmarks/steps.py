"""Steps of the streaming models on one CPU core: every executor, taking turns, each beside a loop that does nothing.

    python -m benchmarks.steps [MODEL ...] [--rounds 30] [--core 1] [--json benchmarks/results/steps.json]

A row is what `streamsep bench --json` prints; here the executors of a model take turns in one run, so that a busy
machine slows them alike. Turns are long: a stream finds the caches full of its own. Memory is that of a process of its
own, which opens the model and steps. Random weights where a model has none: times do not depend on their values. Run
it alone: the control says what the machine did meanwhile.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tqdm import tqdm

from benchmarks.turns import write_result
from streamsep.bench.case import Case, load_or_build, pin
from streamsep.bench.counting import count
from streamsep.bench.measure import Plan, control_for, measure, row_of
from streamsep.bench.steps import Timed, in_a_row, joined, stepper
from streamsep.engine.executor import inference_thread
from streamsep.errors import telling

MODELS = ("live-6-small", "live-12-small", "live-23-small", "live-23-bag", "live-93-small")
LARGE = ("live-6", "live-12", "live-23", "live-93")
BOUTS = {"eager": 50, "onnx": 250}  # steps of a turn: about as much time for each
FEW = Plan(steps=50, warm_up=10)


def alone(case: Case) -> dict[str, Any]:
    """The memory of a process that does nothing else."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        memory: dict[str, Any] = pool.submit(measure, case, FEW).result()["memory"]
    return memory


def compare(name: str, rounds: int) -> list[dict[str, Any]]:
    """One row an executor."""
    cases = {kind: Case(name, kind) for kind in BOUTS}
    executors = {kind: case.open() for kind, case in cases.items()}
    bouts: dict[str, list[Timed]] = {kind: [] for kind in BOUTS}
    with inference_thread():
        steps = {kind: stepper(executor) for kind, executor in executors.items()}
        separator = executors["eager"].separator
        deadline = separator.hop / separator.sample_rate
        controls = {kind: control_for(step, deadline)[1] for kind, step in steps.items()}
        for _ in tqdm(range(rounds), desc=name, unit="round", leave=False):
            for kind, step in steps.items():
                bouts[kind].append(in_a_row(step, BOUTS[kind], deadline, controls[kind]))
    return [
        row_of(cases[kind], executors[kind], joined(bouts[kind])) | {"memory": alone(cases[kind])} for kind in BOUTS
    ]


def sizes(names: list[str]) -> list[dict[str, Any]]:
    """What a step of each model is made of."""
    models: list[Any] = [load_or_build(name) for name in tqdm(names, desc="counting", unit="model", leave=False)]
    facts = [{"model": name, "hop": model.hop} for name, model in zip(names, models, strict=True)]
    return [about | asdict(count(model)) for about, model in zip(facts, models, strict=True)]


@telling("steps")
def main() -> int:
    """Measure, print, and write where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=list(MODELS), metavar="MODEL")
    parser.add_argument("--rounds", type=int, default=30, help=f"turns of {BOUTS} steps (default %(default)s)")
    parser.add_argument("--core", type=int, help="stay on this core")
    parser.add_argument("--json", type=Path, help="write the rows to this file")
    args = parser.parse_args()
    if args.core is not None:
        pin(args.core)
    rows = [row for name in args.models for row in compare(name, args.rounds)]
    write_result(args.json, {"rows": rows, "models": sizes([*args.models, *LARGE])})
    return 0


if __name__ == "__main__":
    sys.exit(main())
