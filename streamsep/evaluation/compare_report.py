"""What a comparison found, as plain data and as tables to read."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from streamsep.evaluation.compare import Cost, Task, difference

_MIB = 1 << 20


@dataclass(frozen=True)
class Result:
    """One system that has run.

    Attributes:
        latency: algorithmic, in samples; None for one that needs the whole signal.
        scores: measures of `compare.score` by stem; empty without true stems, or where only a part was done.
    """

    task: Task
    cost: Cost
    latency: int | None
    scores: Mapping[str, Mapping[str, float]]


def system_facts(result: Result, rate: int) -> dict[str, Any]:
    """The figures of one system; ratios as they are, latency in ms, memory in MiB, scores in dB."""
    task, cost = result.task, result.cost
    memory = {"start": cost.start_memory, "peak": cost.peak_memory, "device_peak": cost.device_memory}
    facts = {
        "model": task.model,
        "seconds_of_sound": task.frames / rate,
        "seconds_of_work": cost.seconds,
        "real_time_factor": cost.seconds * rate / task.frames,
        "cpu_time_factor": cost.cpu_seconds * rate / task.frames,
        "algorithmic_latency_ms": None if result.latency is None else 1000 * result.latency / rate,
        "memory_mib": {name: size / _MIB for name, size in memory.items() if size is not None},
        "scores_db": {stem: dict(row) for stem, row in result.scores.items()},
    }
    return facts | {"chunk_hops": task.chunk} if task.way == "stream" else facts


def difference_facts(results: Sequence[Result], rate: int) -> list[dict[str, Any]]:
    """How far the first system is from each other one, stem by stem."""
    one = results[0].task
    return [
        {
            "of": one.way,
            "against": other.way,
            "seconds_of_sound": min(one.frames, other.frames) / rate,
            "stems": difference(one.stems(), other.stems(), one.sources),
        }
        for other in (result.task for result in results[1:])
    ]


def six_digits(value: float) -> float:
    """A measured number without digits that mean nothing."""
    return float(f"{value:.6g}")


def format_tables(facts: Mapping[str, Any]) -> str:
    """The tables of `facts`: `systems` by way as `system_facts` gives them, and `differences`."""
    systems: Mapping[str, Mapping[str, Any]] = facts["systems"]
    tables = [_format_costs(systems), _format_differences(facts["differences"])]
    if scored := {way: system["scores_db"] for way, system in systems.items() if system["scores_db"]}:
        tables.insert(0, _format_scores(scored))
    return "\n\n".join(tables)


def _format_scores(scored: Mapping[str, Mapping[str, Mapping[str, float]]]) -> str:
    heads = "".join(f"{way:>20}" for way in scored)
    below = f"{'SDR':>12}{'SI-SDR':>8}" * len(scored)
    lines = [f"{'':<12}{'best gain':>10}{heads}", f"{'stem':<12}{'SDR':>10}{below}"]
    first = next(iter(scored.values()))
    rows = {stem: [first[stem]["baseline_sdr"], *_pairs(scored, stem)] for stem in first}
    rows["mean"] = [sum(column) / len(rows) for column in zip(*rows.values(), strict=True)]
    for name, (baseline, *values) in rows.items():
        cells = zip(values[::2], values[1::2], strict=True)
        lines.append(f"{name:<12}{baseline:>10.2f}" + "".join(f"{sdr:>12.2f}{si_sdr:>8.2f}" for sdr, si_sdr in cells))
    return "\n".join(["against the true stems, dB", *lines])


def _pairs(scored: Mapping[str, Mapping[str, Mapping[str, float]]], stem: str) -> list[float]:
    return [scores[stem][measure] for scores in scored.values() for measure in ("sdr", "si_sdr")]


def _format_costs(systems: Mapping[str, Mapping[str, Any]]) -> str:
    lines = [f"{'system':<12}{'RTF':>10}{'CPU':>8}{'latency':>16}{'peak memory':>14}{'at start':>11}  model"]
    for way, system in systems.items():
        latency, memory = system["algorithmic_latency_ms"], system["memory_mib"]
        wait = f"{system['seconds_of_sound']:.1f} s (all)" if latency is None else f"{latency:.1f} ms"
        sizes = [f"{memory[key]:.0f} MiB" if key in memory else "unknown" for key in ("peak", "start")]
        speeds = f"{system['real_time_factor']:>10.2f}{system['cpu_time_factor']:>8.2f}"
        row = f"{way:<12}{speeds}{wait:>16}{sizes[0]:>14}{sizes[1]:>11}  {system['model']}"
        lines.append(row + (f", {memory['device_peak']:.0f} MiB on the device" if "device_peak" in memory else ""))
    return "\n".join(["cost, on one CPU thread, each in a process of its own (at start: Python and libraries)", *lines])


def _format_differences(differences: Sequence[Mapping[str, Any]]) -> str:
    lines = []
    for each in differences:
        stems, seconds = each["stems"], each["seconds_of_sound"]
        highest = max(row["max"] for row in stems.values())
        cells = ", ".join(f"{stem} {_decibels(row['sdr'])}" for stem, row in stems.items())
        head = f"{each['of']} against {each['against']} ({seconds:.1f} s)"
        lines.append(f"{head:<34}  SDR {cells}; largest difference {highest:.1e}")
    return "\n".join(["one system against another", *lines])


def _decibels(value: float) -> str:
    return "silent" if math.isnan(value) else "equal" if value == math.inf else f"{value:.1f} dB"
