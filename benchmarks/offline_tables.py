"""The tables of offline separation beside demucs."""

from __future__ import annotations

from typing import Any

from benchmarks.markdown import table


def offline(result: dict[str, Any]) -> str:
    """Whole processes, then a segment; then songs on a GPU, or that there was none."""
    heads = ["what", "side", "threads", "s", "processor s", "peak MB", "times demucs' speed"]
    heads += ["relative error", "largest difference"]
    parts = [("whole process", result["whole"]), ("a segment", result["segment"])]
    gpu = result["gpu"]
    if gpu is not None:
        parts.append(("a song on a GPU", gpu["song"]))
    rows = [_offline_row(what, r) for what, part in parts for r in part["rows"]]
    words = (
        f"A song of {result['seconds']:.1f} s; medians of {result['whole']['rounds']} rounds of processes and "
        f"{result['segment']['rounds']} of segments. Errors are of the stems on disk against demucs' on one "
        f"thread, the largest difference by their peak. {result['machine']}, torch {result['torch']}. "
    )
    words += "On a GPU: not measured." if gpu is None else f"GPU: {gpu['device']}{_beside(gpu)}."
    return table(heads, rows) + "\n\n" + words


def _beside(gpu: dict[str, Any]) -> str:
    """The machine of the GPU; results did not always tell it."""
    return f" in {gpu['machine']}, torch {gpu['torch']}" if "machine" in gpu else ""


def _offline_row(what: str, r: dict[str, Any]) -> list[str]:
    side = f"ours, {r['side']}" if not r["side"].startswith("demucs") else r["side"]
    more = [f"{r[key]:.{places}f}" if key in r else "" for key, places in (("cpu_seconds", 1), ("peak_mb", 0))]
    errors = [f"{r[key]:.1e}" if key in r else "" for key in ("error", "largest")]
    return [what, side, str(r["threads"]), f"{r['seconds']:.2f}", *more, f"{r['ratio']:.2f}", *errors]


def offline_line(result: dict[str, Any]) -> str:
    """The whole process in fp32 in a sentence, for each number of threads."""
    rows = result["whole"]["rows"]
    ours = [r for r in rows if r["side"] == "fp32"]
    itself = [f" (demucs' own on {r['threads']} threads: {r['error']:.1e})" for r in rows if _differs(r)]
    speeds = " and ".join(f"{r['ratio']:.2f} times as fast with {r['threads']} thread(s)" for r in ours)
    gpu = "not measured" if result["gpu"] is None else f"{result['gpu']['song']['rows'][-1]['ratio']:.1f} times as fast"
    return (
        f"`streamsep separate` was {speeds} on a CPU, its stems {ours[0]['error']:.1e} from demucs' by RMS"
        f"{''.join(itself[:1])}; on a GPU: {gpu}."
    )


def _differs(row: dict[str, Any]) -> bool:
    return row["side"] == "demucs" and "error" in row
