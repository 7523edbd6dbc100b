"""The summary of a comparison as tables to read in a terminal."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

Facts = Mapping[str, Any]


def format_tables(facts: Facts) -> str:
    """Scores (where true stems are known), costs, differences, warnings and failures of `summary.summarise`."""
    systems: Mapping[str, Facts] = facts["systems"]
    differences = [each for song in facts["songs"] for each in song["differences"]]
    warnings = [
        f"{song['name']}, {name}: {warning['text']}"
        for song in facts["songs"]
        for name, result in song["results"].items()
        for warning in result["warnings"]
    ]
    failures = [f"{each['song']}, {each['system'] or 'the song'}: {each['reason']}" for each in facts["failures"]]
    parts = [
        _scores(systems) if any(_is_scored(system) for system in systems.values()) else "",
        _costs(systems),
        _differences(differences) if len(facts["songs"]) == 1 and differences else "",
        "\n".join(["warnings", *warnings]) if warnings else "",
        "\n".join(["failed", *failures]) if failures else "",
    ]
    return "\n\n".join(part for part in parts if part)


def _scores(systems: Mapping[str, Facts]) -> str:
    scored = {name: system["scores"] for name, system in systems.items() if _is_scored(system)}
    stems = list(dict.fromkeys(stem for rows in scored.values() for stem in rows if stem != "mean"))
    width = max(12, *(len(name) for name in scored)) + 2
    baseline = next(iter(scored.values()))
    lines = [f"{'uSDR, dB':<{width}}" + "".join(f"{stem:>9}" for stem in (*stems, "mean")) + _heads()]
    lines.append(
        f"{'best gain':<{width}}" + "".join(_cell(baseline, stem, "baseline_sdr") for stem in (*stems, "mean"))
    )
    for name, rows in scored.items():
        cells = "".join(_cell(rows, stem, "usdr") for stem in (*stems, "mean"))
        means = "".join(_cell(rows, "mean", key, 8) for key in ("si_sdr", "sdr", "isr", "sir", "sar", "lsd"))
        lines.append(f"{name:<{width}}{cells} |{means}")
    return "\n".join(["against the true stems (right of the bar: means over the stems)", *lines])


def _is_scored(system: Facts) -> bool:
    return not math.isnan(system["scores"].get("mean", {}).get("usdr", math.nan))


def _heads() -> str:
    return " |" + "".join(f"{head:>8}" for head in ("SI-SDR", "SDR v4", "ISR", "SIR", "SAR", "LSD"))


def _cell(rows: Facts, stem: str, key: str, width: int = 9) -> str:
    value = rows.get(stem, {}).get(key, math.nan)
    return f"{'-' if math.isnan(value) else format(value, '.2f'):>{width}}"


def _costs(systems: Mapping[str, Facts]) -> str:
    width = max(12, *(len(name) for name in systems)) + 2
    lines = [f"{'system':<{width}}{'RTF':>8}{'CPU':>8}{'latency':>16}{'peak memory':>14}{'at start':>11}  model"]
    for name, system in systems.items():
        if not system["songs"]:
            continue
        latency, memory = system["algorithmic_latency_ms"], system["memory_mib"]
        wait = "all of it" if latency is None else f"{latency:.1f} ms"
        sizes = [f"{memory[key]:.0f} MiB" if key in memory else "unknown" for key in ("peak", "start")]
        speeds = f"{system['real_time_factor']:>8.2f}{system['cpu_time_factor']:>8.2f}"
        row = f"{name:<{width}}{speeds}{wait:>16}{sizes[0]:>14}{sizes[1]:>11}  {system['model']}"
        lines.append(row + (f", {memory['device_peak']:.0f} MiB on the device" if "device_peak" in memory else ""))
    return "\n".join(["cost, on one CPU thread, each in a process of its own (at start: Python and libraries)", *lines])


def _differences(differences: Sequence[Facts]) -> str:
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
