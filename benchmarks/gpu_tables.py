"""The tables of one stream and of many on a GPU, or that there was none."""

from __future__ import annotations

from typing import Any

from benchmarks.markdown import table

UNMEASURED = "not measured: no CUDA device"


def gpu(result: dict[str, Any]) -> str:
    """A row a model and way to run it; without a device only that."""
    if not result.get("device"):
        return UNMEASURED
    heads = ["model", "way", "hop ms", "p50 ms", "p99 ms", "p99.9 ms", "kernels and copies", "difference", "late steps"]
    rows = [
        [
            *(r["model"], r["way"]),
            *(f"{r[key]:.2f}" for key in ("hop_ms", "p50_ms", "p99_ms", "p999_ms")),
            *(str(r["operations"]), f"{r['difference']:.0e}", f"{r['late']} of {r['steps']}"),
        ]
        for r in result["rows"]
    ]
    words = f"On: {result['device']}; Python {result['python']}, torch {result['torch']}."
    return table(heads, rows) + "\n\n" + words


def streams(result: dict[str, Any]) -> str:
    """For each kind of device the number of streams a model, then the curve over the batch."""
    parts = [_streams(result["cuda"]) if "cuda" in result else f"On a GPU: {UNMEASURED}"]
    return "\n\n".join([*parts, *([_streams(result["cpu"])] if "cpu" in result else [])])


def _streams(found: dict[str, Any]) -> str:
    heads = ["model", "precision", "streams", "hop ms", "p50 ms", "p99 ms", "p50 of a stream, ms", "late ticks"]
    rows = [
        [
            *(r["model"], r["precision"], str(r["streams"])),
            *(f"{r[key]:.2f}" for key in ("hop_ms", "p50_ms", "p99_ms")),
            *(f"{r['p50_ms'] / r['streams']:.3f}", f"{r['late']} of {r['steps']}"),
        ]
        for r in found["rows"]
        if "p50_ms" in r
    ]
    most = ", ".join(f"{count} of `{name}`" for name, count in found["most"].items())
    place = found["device"] or f"one core of: {found['machine']}"
    words = f"On {place}: {most} with p99 below the hop; Python {found['python']}, torch {found['torch']}."
    return words + "\n\n" + table(heads, rows)
