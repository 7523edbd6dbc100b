"""All results of a comparison as one set of plain data, and its table as csv."""

from __future__ import annotations

import csv
import io
import math
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from streamsep.evaluation.comparison import Outcome, Plan
from streamsep.evaluation.evaluate import mean
from streamsep.evaluation.systems import Look

Facts = dict[str, Any]
# Summaries over songs: BSS eval's are medians, as its campaigns give them; all others are means.
MEDIANS = ("sdr", "isr", "sir", "sar")
MEANS = ("usdr", "si_sdr", "baseline_sdr", "lsd", "leakage", "stereo_level", "stereo_correlation", "loudness_error",
         "seam")  # fmt: skip
MEASURES = (*MEDIANS, *MEANS)


def summarise(plan: Plan, outcome: Outcome) -> Facts:
    """Everything that is known, as data: systems with their summary, songs with their results, failures."""
    songs = [_with_loudness_error(song) for song in outcome.songs]
    return {
        "sample_rate": plan.wanted.rate,
        "sources": list(plan.wanted.sources),
        "seconds": plan.wanted.seconds,
        "device": plan.looks[0].system.device if plan.looks else "cpu",
        "cpu_threads": 1,
        "processes": plan.jobs,
        "machine": {"cpu": _processor(), "python": platform.python_version(), "torch": torch.__version__},
        "systems": {look.system.name: _system(look, songs, plan) for look in plan.looks},
        "songs": songs,
        "failures": [asdict(failure) for failure in outcome.failures],
    }


def _with_loudness_error(song: Facts) -> Facts:
    for result in song["results"].values():
        for facts in result["stems"].values():
            error = abs(facts["lufs"] - facts.get("lufs_true", math.nan))
            facts["loudness_error"] = error if math.isfinite(error) else math.nan  # silence has no loudness
    return song


def _system(look: Look, songs: Sequence[Facts], plan: Plan) -> Facts:
    system = look.system
    results = [song["results"][system.name] for song in songs if system.name in song["results"]]
    facts: Facts = {
        "way": system.way,
        "model": system.what,
        "lookahead_s": system.lookahead,
        "stft": system.stft,
        "algorithmic_latency_ms": None if look.latency is None else 1000 * look.latency / plan.wanted.rate,
        "latency_heard_ms": results[0]["latency_heard_ms"] if results else None,
        "songs": len(results),
        "scores": scores(results, plan.wanted.sources),
        "warnings": sum(len(result["warnings"]) for result in results),
    }
    if system.way in ("stream", "sliding"):
        facts["chunk_hops"] = system.chunk
    if results:
        facts |= _costs([result["cost"] for result in results])
    return facts


def _costs(costs: Sequence[Facts]) -> Facts:
    """Of all songs together; memory is the highest."""
    sound = sum(cost["seconds_of_sound"] for cost in costs)
    work = sum(cost["seconds_of_work"] for cost in costs)
    names = dict.fromkeys(name for cost in costs for name in cost["memory_mib"])
    return {
        "seconds_of_sound": sound,
        "seconds_of_work": work,
        "real_time_factor": work / sound,
        "cpu_time_factor": sum(cost["cpu_time_factor"] * cost["seconds_of_sound"] for cost in costs) / sound,
        "memory_mib": {name: max(cost["memory_mib"].get(name, 0) for cost in costs) for name in names},
    }


def scores(results: Sequence[Facts], sources: Sequence[str]) -> dict[str, dict[str, float]]:
    """Summary of each measure by stem over the songs in which that stem has a value, and `mean`, that of the stems."""
    table: dict[str, dict[str, float]] = {}
    for stem in sources:
        rows = [result["stems"][stem] for result in results if stem in result["stems"]]
        table[stem] = {name: _over(name, [row.get(name, math.nan) for row in rows]) for name in MEASURES}
        if all(math.isnan(value) for value in table[stem].values()):
            del table[stem]
    stems = list(table.values())
    if stems:
        table["mean"] = {name: mean(row[name] for row in stems) for name in MEASURES}
    return table


def _over(name: str, values: Sequence[float]) -> float:
    known = [value for value in values if not math.isnan(value)]
    return float(np.median(known)) if known and name in MEDIANS else mean(known)


def csv_text(facts: Mapping[str, Any]) -> str:
    """A row a song, system and stem; an empty cell where there is no value."""
    out = io.StringIO()
    columns = [*MEASURES, "lufs", "peak", "clipped", "delay", "drift"]
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["song", "system", "stem", *columns, "real_time_factor", "warnings"])
    for song in facts["songs"]:
        for system, result in song["results"].items():
            for stem, row in result["stems"].items():
                words = "; ".join(warning["text"] for warning in result["warnings"] if warning["stem"] == stem)
                cells = [_cell(row.get(name, math.nan)) for name in columns]
                writer.writerow([song["name"], system, stem, *cells, result["cost"]["real_time_factor"], words])
    return out.getvalue()


def _cell(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.6g}"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
