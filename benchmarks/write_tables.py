"""Write the measured tables into README.md and the weights' card, from the files in benchmarks/results.

    python -m benchmarks.write_tables [--check]

A table stands between `<!-- NAME -->` and `<!-- /NAME -->`; nothing between those marks is typed by hand.
`--check` changes nothing and fails if a table is not what its results say. The results come from:

    python -m tools.latency_quality, python -m tools.lookahead_quality, python -m benchmarks.waiting (docs/latency.md)
    python -m benchmarks.quality --real DIR/lithium DIR/mdn_funk --rendered DIR --json benchmarks/results/quality.json
    the same with -s of models trained alike and --json benchmarks/results/trained_alike.json (docs/quality.md),
    and of two of them trained for longer, trained_alike_longer.json
    streamsep stream examples/lithium/mix.ogg --stems examples/lithium --json benchmarks/results/live.json
    the same with --realtime --json benchmarks/results/realtime.json, and -n live-12-small, realtime_12.json
    python -m benchmarks.steps --json benchmarks/results/steps.json
    the same with live-12-small live-23-small live-23-bag --rounds 20 --json benchmarks/results/steps_weights.json
    and on a machine without AVX-512, --json benchmarks/results/steps_slower.json
    python -m benchmarks.peers --json benchmarks/results/peers.json
    python -m benchmarks.aging --json benchmarks/results/aging.json
    python -m benchmarks.sliding realtime --json benchmarks/results/sliding.json
    python benchmarks/gpu.py        (on a machine with a GPU)
    python benchmarks/streams.py    (on a machine with a GPU, and with --device cpu on one without)
    python -m benchmarks.offline --json benchmarks/results/offline.json
    python benchmarks/soak.py --compare 60 --json benchmarks/results/soak.json
    python -m benchmarks.songs SETS... --json benchmarks/results/songs.json

`make bench` runs all of them but quality, soak and songs, as far as the machine allows.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

from benchmarks import quality_tables
from benchmarks.gpu_tables import gpu, streams
from benchmarks.markdown import table
from benchmarks.offline_tables import offline, offline_line
from benchmarks.step_tables import RESULTS, fits, misses, models, steps
from streamsep.engine.timing import budget, queue_blocks

ROOT = RESULTS.parent.parent
CARDS = sorted((ROOT / "streamsep" / "weights").glob("*.md"))
DOCS = ("README.md", "benchmarks/README.md", "docs/quality.md", "docs/songs.md", "docs/latency.md")
PAGES = (*(ROOT / name for name in DOCS), *CARDS)


def live(result: dict[str, Any]) -> str:
    """The stems' scores, then latency and step times in a sentence."""
    rows = [[s["stem"], f"{s['sdr']:.2f}", f"{s['si_sdr']:.2f}", f"{s['baseline']:.2f}"] for s in result["scores"]]
    times, budget = result["times"], result["budget"]
    words = (
        f"Algorithmic latency {budget['algorithmic_ms']:.1f} ms; through the whole live path, queue and device "
        f"included, {budget['total_ms']:.1f} ms. Step times: p50 {1000 * times['p50']:.2f} ms, "
        f"p99 {1000 * times['p99']:.2f} ms of a {1000 * result['hop'] / 44100:.2f} ms hop (RTF {times['rtf']:.2f}, "
        f"executor {result['executor']}), {result['late_hops']} late of {times['steps']} steps."
    )
    return table(["stem", "SDR dB", "SI-SDR dB", "best constant gain dB"], rows) + "\n\n" + words


def realtime(result: dict[str, Any]) -> str:
    """What a run against the clock met, in a sentence."""
    times, hops = result["times"], round(result["seconds"] * 44100 / result["hop"])
    return (
        f"{result['late_hops']} of {hops} hops were late, heard as {result['fades']} fades to the mix; step times p50 "
        f"{1000 * times['p50']:.2f} ms, p99 {1000 * times['p99']:.2f} ms, p99.9 {1000 * times['p999']:.2f} ms; "
        f"end to end {result['budget']['total_ms']:.1f} ms, queue and device included; {result['xruns']} times the "
        f"machine itself woke the clock a block late."
    )


def soak(result: dict[str, Any]) -> str:
    """A row a way of running on a real-time device, the longest run first."""
    heads = ["callback", "worker", "busy interface", "queue", "s", "hops", "late", "excused", "fades", "xruns"]
    heads += ["p50 ms", "p99 ms", "p99.9 ms", "memory MB, first and last"]
    rows = [
        [r["callback"], r["worker"], "yes" if r["busy"] else "no", str(r["queue"]), f"{r['seconds']:.0f}"]
        + [str(r[key]) for key in ("hops", "late", "excused", "fades", "xruns")]
        + [f"{r[key]:.2f}" for key in ("p50_ms", "p99_ms", "p999_ms")]
        + [f"{r['memory_first_mb']:.0f}, {r['memory_last_mb']:.0f}"]
        for r in result["rows"]
    ]
    first = result["rows"][0]
    words = (
        f"In the first run: a queue of {first['queue']} blocks, {first['total_ms']:.1f} ms from input to output; "
        f"results were {first['waiting_first']} frames ahead of the device in its first tenth and "
        f"{first['waiting_last']} in its last, so the delay did not grow; the control woke up to "
        f"{first['control_longest_ms']:.1f} ms late. Memory is that of all processes."
    )
    return table(heads, rows) + "\n\n" + words


def stage(result: dict[str, Any]) -> str:
    """The measured sum of delays, and those that follow for other blocks and models with three blocks in the device."""
    first = result["rows"][0]
    heads = ["block", "model", "collecting hops", "queue", "fade", "device", "sum, ms", ""]
    rows = [_stage(256, 512, first["queue"], "the run below")]
    slow = 1.5 * first["p99_ms"] / 1000
    for block in (64, 128, 512):
        rows.append(_stage(block, 512, queue_blocks(slow, 512, block, 44100), "computed: the same CPU"))
    for hop in (128, 256, 512):
        rows.append(_stage(hop, hop, 1, "computed: a GPU whose step ends within a block"))
    return table(heads, rows)


def _stage(block: int, hop: int, queue: int, words: str) -> list[str]:
    declared = budget(
        sample_rate=44100, hop=hop, model=hop, block=block, max_block=block, queue=queue, fade=64, device=3 * block
    )
    terms = (declared.model, declared.blocking, declared.queue, declared.fade, declared.device, declared.total)
    return [str(block), *(f"{declared.milliseconds(frames):.1f}" for frames in terms), words]


def peers(result: dict[str, Any]) -> str:
    """A row a system, then how many times the port takes what the shipped model takes."""
    rows = [
        [r["system"], f"{r['parameters'] / 1e6:.1f} M", *(f"{r[key]:.2f}" for key in ("p50_ms", "p99_ms", "rtf"))]
        for r in result["rows"]
    ]
    words = (
        f"For a second of sound HS-TasNet takes {result['ratio_by_bout']:.0f} times as long as `live-23-small` on ONNX "
        f"Runtime, the median over bouts of {result['bout']} hops in turn. One core of: {result['machine']}."
    )
    heads = ["system", "parameters", "p50 ms", "p99 ms", "seconds of a core for one of sound"]
    return table(heads, rows) + "\n\n" + words


def sliding(result: dict[str, Any]) -> str:
    """What a run of the sliding window against the clock met, in a sentence."""
    rate, parts = result["tuning"]["sample_rate"], ("window", "hop", "lookahead")
    window, hop, ahead = (result["chosen"][key] / rate for key in parts)
    return (
        f"`{result['model']}` with a look-ahead of {1000 * ahead:.0f} ms: the planner chose a window of {window:.2f} s "
        f"every {1000 * hop:.0f} ms. {result['misses']} of {result['steps']} steps were not done within their hop, "
        f"{result['excused']} of them for the machine; p50 {result['p50_ms']:.0f} ms, p99 {result['p99_ms']:.0f} ms; a "
        f"process that only sleeps woke up to {result['watcher_longest_ms']:.0f} ms late. One core of: "
        f"{result['machine']}."
    )


def growth(result: dict[str, Any]) -> str:
    """A row for everything that grows, with its ratio to the first of its kind; then memory in a sentence."""
    rows = [
        [
            part,
            r["what"],
            str(r["hop"]),
            f"{r['p50_ms']:.2f}",
            f"{r['p999_ms']:.2f}",
            f"{r['rtf']:.2f}",
            f"{r['ratio']:.2f}",
            fits(r) if part.startswith("width") else "",
        ]
        for part in ("age", "context", "hop", "stems", "streams", "width", "width 512")
        for r in result[part]
    ]
    first, last = result["memory"][0], result["memory"][-1]
    words = (
        f"Resident memory after {first['steps']} steps {first['rss_mb']:.1f} MB, after {last['steps']} "
        f"{last['rss_mb']:.1f} MB. One core of: {result['machine']}."
    )
    return table(["grows", "to", "hop", "p50 ms", "p99.9 ms", "RTF", "ratio", "fits a core"], rows) + "\n\n" + words


def songs(result: dict[str, Any]) -> str:
    """A row a set and stem: the median song, and in brackets what eight songs of ten lie between."""

    def span(values: dict[str, float], form: str) -> str:
        low, middle, high = (format(values[key], form) for key in ("p10", "p50", "p90"))
        return f"{middle} ({low} to {high})"

    rows = [
        [
            name, stem, str(m["songs"]), span(m["level_db"], ".1f"), span(m["centroid_hz"], ".0f"),
            span(m["lows_db"], ".0f"), span(m["sounding"], ".2f"), span(m["width_db"], ".0f"),
        ]
        for name, stems in result["sets"].items()
        for stem, m in stems.items()
    ]  # fmt: skip
    heads = ["set", "stem", "songs", "RMS beside the mix, dB", "spectral centroid, Hz", "below 80 Hz, dB"]
    return table([*heads, "share that sounds", "side beside middle, dB"], rows)


TABLES: dict[str, tuple[str, Callable[[dict[str, Any]], str]]] = {
    "quality": ("quality", quality_tables.by_group),
    "quality by song": ("quality", quality_tables.by_song),
    "leakage": ("quality", quality_tables.leakage),
    "trained alike": ("trained_alike", quality_tables.by_group),
    "trained alike longer": ("trained_alike_longer", quality_tables.by_group),
    "latency": ("latency", quality_tables.latency),
    "waiting": ("waiting", quality_tables.waiting),
    "look-ahead": ("lookahead", quality_tables.lookahead),
    **{f"quality of {card.stem}": ("quality", partial(quality_tables.card, system=card.stem)) for card in CARDS},
    "live": ("live", live),
    "realtime": ("realtime", realtime),
    "realtime of live-12-small": ("realtime_12", realtime),
    "steps": ("steps", steps),
    "steps of the weights": ("steps_weights", steps),
    "steps of a slower machine": ("steps_slower", steps),
    "misses": ("steps", misses),
    "models": ("steps", models),
    "soak": ("soak", soak),
    "stage": ("soak", stage),
    "peers": ("peers", peers),
    "growth": ("aging", growth),
    "sliding": ("sliding", sliding),
    "gpu": ("gpu", gpu),
    "streams": ("streams", streams),
    "songs": ("songs", songs),
    "offline": ("offline", offline),
    "offline-line": ("offline", offline_line),
}


def body(source: str, make: Callable[[dict[str, Any]], str]) -> str:
    """A table of a result file, or the word that there is none."""
    path = RESULTS / f"{source}.json"
    if path.exists():
        return make(json.loads(path.read_text(encoding="utf-8")))
    return make({}) if make in (gpu, streams, quality_tables.latency, quality_tables.lookahead) else "Not measured yet."


def fill(text: str) -> str:
    """The page with every marked table written anew."""
    for name, (source, make) in TABLES.items():
        marked = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
        if marked.search(text):
            made = body(source, make)
            text = marked.sub(lambda found, made=made: f"{found[1]}{made}\n{found[2]}", text)  # type: ignore[misc]
    return text


def main() -> int:
    """Write, or check."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="fail if a table is stale, change nothing")
    args = parser.parse_args()
    stale = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        if (filled := fill(text)) != text:
            stale.append(page.name)
            if not args.check:
                page.write_text(filled, encoding="utf-8")
    print(f"{'stale' if args.check else 'written'}: {', '.join(stale) or 'nothing'}")
    return 1 if args.check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
