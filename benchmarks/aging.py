"""What a step costs as things grow: the stream's age, memory, context, hop, stems, streams, width.

    python -m benchmarks.aging [--rounds 60] [--json benchmarks/results/aging.json]

One CPU core, ONNX Runtime. Age is simulated by the clock: real steps with rings full, at the position of minute 1 and
at that of hour 10, take turns. All other rows take turns with the shipped preset in the same run, and their ratio to it
is what counts. Random weights: times do not depend on them.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch

from benchmarks.turns import take_turns, write_result
from streamsep.bench.figures import percentiles
from streamsep.bench.steps import Step, stepper
from streamsep.engine.executor import inference_thread, make_executor
from streamsep.engine.onnx_executor import OnnxExecutor
from streamsep.errors import telling
from streamsep.models.causal_config import BranchConfig, CausalConfig
from streamsep.models.causal_htdemucs import CausalHTDemucs
from streamsep.models.registry import build_preset

BASE = "live-23-small"
BOUT = 16
Row = dict[str, Any]


def preset(name: str) -> CausalHTDemucs:
    """A preset with random weights."""
    model = build_preset(name)
    assert isinstance(model, CausalHTDemucs)
    return model.eval()


def aged_step(model: CausalHTDemucs, kind: str, seconds: float) -> Step:
    """Steps of a stream that has played for about `seconds`, its rings full."""
    executor = make_executor(kind, model)
    state = executor.init_state()
    capacity = model.config.context_frames + model.config.lookahead
    for _ in range(capacity + 1):
        _, state = executor(0.1 * torch.randn(1, 2, model.hop), state)
    hops = round(seconds * model.sample_rate / model.hop) // capacity * capacity
    if kind == "onnx":
        state["clock"][0, 0] += hops
    else:
        state.transformer.clock.position.add_(hops)
        state.transformer.clock.held.add_(hops)
    return stepper(executor, state)


def age(rounds: int) -> list[Row]:
    """Minute 1 against hour 10, of both executors."""
    model, rows = preset(BASE), []
    for kind in ("onnx", "eager"):
        steps = {f"{name}, {kind}": aged_step(model, kind, s) for name, s in (("minute 1", 60), ("hour 10", 36000))}
        rows += compare(steps, dict.fromkeys(steps, model), rounds)
    return rows


def memory(steps: int) -> list[Row]:
    """Resident memory of this process after a tenth, two tenths, ... of so many real steps."""
    step, process, rows = stepper(OnnxExecutor(preset(BASE))), psutil.Process(), []
    for done in range(1, steps + 1):
        step()
        if done % (steps // 10) == 0:
            rows.append({"steps": done, "rss_mb": process.memory_info().rss / 1e6})
    return rows


def compare(steps: dict[str, Step], models: dict[str, CausalHTDemucs], rounds: int) -> list[Row]:
    """Rows in one run, each with its ratio to the first by the medians over the bouts."""
    times = take_turns(steps, rounds, next(iter(steps)), bout=BOUT)
    bouts = {name: np.median(values.reshape(-1, BOUT), 1) for name, values in times.items()}
    first = bouts[next(iter(bouts))]
    rows = []
    for name, values in times.items():
        model, ratio = models[name], float(np.median(bouts[name] / first))
        parameters = sum(value.numel() for value in model.parameters())
        figures = percentiles(values, model.hop / model.sample_rate)
        rows.append({"what": name, "hop": model.hop, "parameters": parameters, "ratio": ratio} | figures)
    return rows


def variants(configs: dict[str, CausalConfig], rounds: int) -> list[Row]:
    """Models of other configurations beside the first."""
    torch.manual_seed(0)
    models = {name: CausalHTDemucs(config).eval() for name, config in configs.items()}
    return compare({name: stepper(OnnxExecutor(model)) for name, model in models.items()}, models, rounds)


def contexts(rounds: int) -> list[Row]:
    """Seconds that attention looks back; its rings are full from the start, for empty slots cost as much."""
    config = preset(BASE).config
    inner = config.transformer
    lengths = (inner.context, 0.75, 1.5, 6.0, 12.0, 24.0)
    return variants({f"{s:g} s": replace(config, transformer=replace(inner, context=s)) for s in lengths}, rounds)


def hops(rounds: int) -> list[Row]:
    """The small presets, by their hops."""
    names = (BASE, "live-6-small", "live-12-small", "live-93-small")
    return variants({name: preset(name).config for name in names}, rounds)


def stems(rounds: int) -> list[Row]:
    """Numbers of stems."""
    config = preset(BASE).config
    return variants({f"{n}": replace(config, sources=tuple(f"s{i}" for i in range(n))) for n in (4, 2, 6, 8)}, rounds)


def streams(rounds: int) -> list[Row]:
    """Streams on one core, a hop of each in turn: sessions of ONNX Runtime that share a graph, or rows of one batch."""
    model, steps = preset(BASE), dict[str, Step]()
    first = OnnxExecutor(model)
    for count in (1, 2, 4, 8):
        steps[f"{count}, onnx"] = all_of([stepper(first.fork()) for _ in range(count)])
    for count in (1, 2, 4, 8):
        steps[f"{count}, eager batch"] = stepper(make_executor("eager", model, batch=count))
    return compare(steps, dict.fromkeys(steps, model), rounds)


def all_of(steps: list[Step]) -> Step:
    """One after the other."""
    return lambda: [step() for step in steps]


def widths(rounds: int) -> list[Row]:
    """What fits a hop of 256: `live-12-small` as it is, wider, deeper, and with more bins."""
    return variants(sizes("live-12-small"), rounds)


def widths_of_512(rounds: int) -> list[Row]:
    """What fits a hop of 512: `live-23-small` likewise."""
    return variants(sizes("live-23-small"), rounds)


def sizes(name: str) -> dict[str, CausalConfig]:
    """Candidates for one core around a preset."""
    config = preset(name).config
    inner = config.transformer

    def wider(branch: BranchConfig, factor: float) -> BranchConfig:
        return replace(branch, channels=tuple(round(c * factor / 8) * 8 for c in branch.channels))

    def scaled(factor: float, dim: int) -> CausalConfig:
        return replace(
            config,
            waveform=wider(config.waveform, factor),
            spectrogram=wider(config.spectrogram, factor),
            transformer=replace(inner, dim=dim),
        )

    def fuller(branch: BranchConfig) -> BranchConfig:
        return replace(branch, encoder_rewrite=True, decoder_dconv=True)

    return {
        name: config,
        "width x 1.5, dim 144": scaled(1.5, 144),
        "width x 2, dim 192": scaled(2, 192),
        "width x 3, dim 288": scaled(3, 288),
        "4 transformer layers": replace(config, transformer=replace(inner, layers=4)),
        "window 4096": replace(config, window=4096),
        "width x 2, dim 192, window 4096": replace(scaled(2, 192), window=4096),
        "rewrites and blocks everywhere": replace(
            config, waveform=fuller(config.waveform), spectrogram=fuller(config.spectrogram)
        ),
        "complex masks": replace(config, complex_mask=True),
    }


PARTS: dict[str, Callable[[int], list[Row]]] = {
    "age": age,
    "context": contexts,
    "hop": hops,
    "stems": stems,
    "streams": streams,
    "width": widths,
    "width 512": widths_of_512,
}


@telling("aging")
def main() -> int:
    """Measure, print, and write where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join([*PARTS, 'memory'])} (default: all)")
    parser.add_argument("--rounds", type=int, default=60, help=f"bouts of {BOUT} steps of each (default %(default)s)")
    parser.add_argument("--steps", type=int, default=20000, help="steps of the memory part (default %(default)s)")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    args = parser.parse_args()
    chosen = args.parts or [*PARTS, "memory"]
    # Parts that are not measured now stay as they were.
    result: dict[str, Any] = {}
    if args.json and args.json.exists() and args.parts:
        result = json.loads(args.json.read_text(encoding="utf-8"))
    with inference_thread():
        result |= {part: PARTS[part](args.rounds) for part in chosen if part in PARTS}
        if "memory" in chosen:
            result["memory"] = memory(args.steps)
    write_result(args.json, result)
    return 0


if __name__ == "__main__":
    sys.exit(main())
