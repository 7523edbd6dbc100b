"""What the benchmarks share: steps that take turns in one run, so that a busy machine slows all of them alike."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from streamsep.bench.figures import Times, percentiles
from streamsep.bench.steps import Step, seconds_of

__all__ = ["Step", "Times", "percentiles", "take_turns", "write_result"]


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
            times[key] += [seconds_of(step) for _ in range(bout)]
    return {key: np.array(values) for key, values in times.items()}


def write_result(path: Path | None, result: dict[str, Any], part: str | None = None) -> None:
    """Print the result, and write it with the machine where it was measured.

    Args:
        part: the one part of the result that was measured now; the machine is told within it, the rest stays as it is.
    """
    # These read sound files, which a machine that only steps on a GPU need not.
    from streamsep.bench.case import machine
    from streamsep.files import staged

    here = machine()
    whole = here | result | here if part is None else result | {part: here | result[part] | here}
    text = json.dumps(whole, indent=2)
    print(text)
    if path is not None:
        with staged([path], "choose another --json") as (temporary,):
            temporary.write_text(text + "\n", encoding="utf-8")
