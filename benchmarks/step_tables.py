"""The tables of steps and sizes, and what was wanted of one core."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.markdown import table

RESULTS = Path(__file__).resolve().parent / "results"
# What the small presets are meant to hold on one core: RTF at most, and p99.9 below the hop.
WANTED = {"live-23-small": 0.35, "live-12-small": 0.6}
Row = dict[str, Any]
Columns = dict[str, Callable[[Row], str]]


def steps(result: Row) -> str:
    """A row a model and executor, with the model's SDR, then what was wanted, and the machine."""
    columns: Columns = {
        "model": lambda r: r["model"],
        "executor": lambda r: r["executor"],
        "SDR dB": sdr,
        "hop ms": lambda r: f"{r['hop_ms']:.2f}",
        "p50 ms": lambda r: f"{r['p50_ms']:.2f}",
        "p99 ms": lambda r: f"{r['p99_ms']:.2f}",
        "p99.9 ms": lambda r: f"{r['p999_ms']:.2f}",
        "p99.9 of the control": lambda r: f"{r['control']['p999_ms']:.2f}",
        "RTF": lambda r: f"{r['rtf']:.2f}",
        "p99.9 below the hop": lambda r: "yes" if r["in_time"] else "no",
    }
    return "\n\n".join([_table(columns, result["rows"]), *verdicts(result), f"One core of: {place(result)}."])


def misses(result: Row) -> str:
    """A row a model and executor: misses, their uncertainty, memory, and what a step is made of."""
    columns: Columns = {
        "model": lambda r: r["model"],
        "executor": lambda r: r["executor"],
        "late": lambda r: f"{r['late']} of {r['steps']}",
        "in a million (95 %)": _per_million,
        "control in a million (95 %)": lambda r: _per_million(r["control"]),
        "longest ms": lambda r: f"{r['longest_ms']:.1f}",
        "control's longest ms": lambda r: f"{r['control']['longest_ms']:.1f}",
        "memory MB": lambda r: _megabytes(r["memory"]["peak_mb"]),
        "without the model MB": lambda r: _megabytes(r["memory"]["start_mb"]),
    }
    return _table(columns, result["rows"])


def models(result: Row) -> str:
    """A row a model: how large it is, and a step of it."""
    columns: Columns = {
        "model": lambda r: r["model"],
        "hop": lambda r: str(r["hop"]),
        "parameters": lambda r: f"{r['parameters'] / 1e6:.2f} M",
        "weights MB": lambda r: f"{r['weight_bytes'] / 1e6:.1f}",
        "state MB": lambda r: f"{r['state_bytes'] / 1e6:.1f}",
        "MFLOP a step": lambda r: f"{r['mflop']:.1f}",
        "and of transforms": lambda r: f"{r['transform_mflop']:.1f}",
        "GFLOP a second": lambda r: f"{(r['mflop'] + r['transform_mflop']) * 44.1 / r['hop']:.2f}",
        "dispatches, eager": lambda r: str(r["dispatches"]),
        "nodes, onnx": lambda r: str(r["nodes"] or "-"),
    }
    return _table(columns, result["models"])


def verdicts(result: Row) -> list[str]:
    """A sentence for each model of which something is wanted, by its quickest executor."""
    told = []
    for name, most in WANTED.items():
        rows = [r for r in result["rows"] if r["model"] == name]
        if not rows:
            continue
        best = min(rows, key=lambda r: r["rtf"])
        reached = best["rtf"] <= most and best["in_time"]
        told.append(
            f"`{name}` on {best['executor']}: RTF {best['rtf']:.2f} where at most {most} is wanted, p99.9 "
            f"{best['p999_ms']:.2f} of {best['hop_ms']:.2f} ms: {'reached' if reached else 'not reached'}."
        )
    return told


def fits(row: Row) -> str:
    """Whether a candidate of a hop of 512 or 256 holds what is wanted of the small preset there."""
    most = WANTED["live-23-small" if row["hop"] == 512 else "live-12-small"]
    return "yes" if row["rtf"] <= most and row["p999_ms"] < row["hop"] / 44.1 else "no"


def sdr(row: Row) -> str:
    """The model's SDR: on the held-out songs where that was measured, else by the record of its weights."""
    measured = held_out(json.loads((RESULTS / "quality.json").read_text(encoding="utf-8")), row["model"])
    if measured is None and not row["trained"]:
        return "untrained"
    found = row["sdr"] if measured is None else measured
    return "unknown" if found is None else f"{found:.2f}"


def held_out(quality: Row, model: str) -> float | None:
    """Mean SDR over the stems of the real songs that were held out; None where the model was not measured."""
    scores = quality["groups"].get("real", {}).get("scores", {})
    return float(scores[model]["mean"]["usdr"]) if model in scores else None


def place(result: Row) -> str:
    """Machine and versions."""
    return (
        f"{result['machine']}, {result['system']}; Python {result['python']}, torch {result['torch']}, ONNX Runtime "
        f"{result['onnxruntime']}, streamsep {result['streamsep']}; load when it ended {result['load']}"
    )


def _per_million(part: Row) -> str:
    found = part["misses_per_million"]
    return f"{found['rate']:.0f} ({found['low']:.0f} to {found['high']:.0f})"


def _table(columns: Columns, rows: list[Row]) -> str:
    return table(list(columns), [[cell(row) for cell in columns.values()] for row in rows])


def _megabytes(size: float | None) -> str:
    return "unknown" if size is None else f"{size:.0f}"
