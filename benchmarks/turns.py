"""What the benchmarks share: steps that take turns in one run, so that a busy machine slows all of them alike."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from streamsep.engine.executor import Executor

Step = Callable[[], object]
Times = NDArray[np.float64]


def take_turns(steps: Mapping[str, Step], rounds: int, name: str, bout: int = 1, warm_up: int = 20) -> dict[str, Times]:
    """Seconds of each step, `bout` steps of one, then as many of the next, `rounds` times after a warm-up.

    Bouts of one let every step find the caches full of the others' data; longer ones are more like a stream alone.
    """
    for step in steps.values():
        for _ in range(warm_up):
            step()
    times: dict[str, list[float]] = {key: [] for key in steps}
    for _ in tqdm(range(rounds), desc=name, unit="round", leave=False):
        for key, step in steps.items():
            for _ in range(bout):
                began = time.perf_counter()
                step()
                times[key].append(time.perf_counter() - began)
    return {key: np.array(values) for key, values in times.items()}


def stepper(executor: Executor, state: Any = None) -> Step:
    """The next hop of a stream of noise through `executor`, each time it is called."""
    memory = [executor.init_state() if state is None else state]
    noise = 0.1 * torch.randn(64, executor.batch, 2, executor.separator.hop)
    turn = iter(range(1 << 62))

    def step() -> None:
        _, memory[0] = executor(noise[next(turn) % 64], memory[0])

    return step


def percentiles(times: Times, hop_seconds: float) -> dict[str, Any]:
    """In ms, the real-time factor of the median, and the steps that outlast their hop."""
    p50, p99, p999 = np.percentile(1000 * times, [50, 99, 99.9])
    late = int((times > hop_seconds).sum())
    return {"p50_ms": p50, "p99_ms": p99, "p999_ms": p999, "rtf": p50 / hop_seconds / 1000, "late": late} | {
        "steps": len(times)
    }


def write_result(path: Path | None, result: dict[str, Any]) -> None:
    """Print the result, and write it with the machine where it was measured."""
    from streamsep.models.tuning import this_place  # it reads sound files, which a machine with a GPU need not

    text = json.dumps({"machine": this_place().machine, "torch": torch.__version__} | result, indent=2)
    print(text)
    if path is not None:
        path.write_text(text + "\n", encoding="utf-8")
