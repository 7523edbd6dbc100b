"""Measures one case, and makes a row of it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from streamsep.bench.case import Case, is_trained, machine, recorded_sdr
from streamsep.bench.counting import count
from streamsep.bench.figures import histogram, per_million, percentiles
from streamsep.bench.steps import Step, Timed, idle_step, in_a_row, in_real_time, joined, stepper
from streamsep.engine.executor import Executor, inference_thread
from streamsep.engine.static_executor import StaticExecutor
from streamsep.evaluation.separation import peak_memory

Row = dict[str, Any]
BOUT = 50  # steps between two looks at the progress bar


@dataclass(frozen=True)
class Plan:
    """How long to measure.

    Attributes:
        steps: how many are timed; or seconds: as many as fit into so many, the control included.
        warm_up: steps before.
        realtime: one step a hop, rather than as fast as they go.
    """

    steps: int = 5000
    seconds: float | None = None
    warm_up: int = 100
    realtime: bool = False


def measure(case: Case, plan: Plan) -> Row:
    """Steps and control, memory, then what is counted; see `row_of` for what comes back.

    Raises:
        StreamsepError: as `Case.open`.
    """
    before = peak_memory()
    executor = case.open()
    with inference_thread(case.threads):
        timed = _run(executor, plan)
    memory = {"start_mb": _mb(before), "peak_mb": _mb(peak_memory())}
    if executor.device.type == "cuda":
        memory["device_mb"] = torch.cuda.max_memory_allocated(executor.device) / 1e6
    return row_of(case, executor, timed) | {"realtime": plan.realtime, "memory": memory} | machine(case.device)


def row_of(case: Case, executor: Executor, timed: Timed) -> Row:
    """What was run, what it is made of (`Work`), and how long it took; times in ms."""
    separator = executor.separator
    deadline = separator.hop / separator.sample_rate
    about: Row = {
        "model": case.model,
        "executor": executor.name,
        "device": case.device,
        "precision": executor.options.precision if isinstance(executor, StaticExecutor) else "float32",
        "batch": case.batch,
        "threads": case.threads,
        "trained": is_trained(case.model),
        "sdr": recorded_sdr(case.model),
        "hop": separator.hop,
        "hop_ms": 1000 * deadline,
        "latency_ms": 1000 * (separator.latency + separator.hop) / separator.sample_rate,
    }
    steps = percentiles(timed.steps, deadline) | {"late": int(timed.late.sum())}
    row = about | asdict(count(separator)) | steps
    if isinstance(executor, StaticExecutor):
        row["dispatches"] = executor.operations()
    row["misses_per_million"] = per_million(row["late"], row["steps"])
    row["in_time"] = row["p999_ms"] < row["hop_ms"]
    row["histogram"] = histogram(timed.steps)
    return row | {"control": _control(timed, deadline)}


def _control(timed: Timed, deadline: float) -> Row:
    control = percentiles(timed.control, deadline)
    del control["rtf"]
    misses = per_million(control["late"], control["steps"])
    return control | {"misses_per_million": misses, "histogram": histogram(timed.control)}


def control_for(step: Step, deadline: float, warm_up: int = 100) -> tuple[float, Step]:
    """Warm `step` up; its usual seconds, and the loop that stands beside it, half a hop long at most."""
    usual = float(np.percentile(in_a_row(step, warm_up, deadline).steps, 25))
    return usual, idle_step(min(usual, deadline / 2))


def _run(executor: Executor, plan: Plan) -> Timed:
    step, separator = stepper(executor), executor.separator
    deadline = separator.hop / separator.sample_rate
    usual, control = control_for(step, deadline, plan.warm_up)
    count = plan.steps
    if plan.seconds is not None:
        count = max(1, round(plan.seconds / (deadline if plan.realtime else 2 * usual)))
    bouts = []
    with tqdm(total=count, desc="steps", unit="step", disable=None) as bar:
        for begin in range(0, count, BOUT):
            some = min(BOUT, count - begin)
            bout = in_real_time(step, some, deadline) if plan.realtime else in_a_row(step, some, deadline, control)
            bouts.append(bout)
            bar.update(some)
    return joined(bouts)


def _mb(size: int | None) -> float | None:
    return None if size is None else size / 1e6
