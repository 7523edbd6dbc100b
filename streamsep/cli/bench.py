"""`streamsep bench`: how long the steps of a model take on this machine, and what they are made of."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from streamsep.cli.options import (
    add_executor_flag,
    add_model_flags,
    add_waiting_flags,
    pick_device,
    positive_float,
    positive_int,
)

TEXT = """\
Time the steps of one model on one executor, and say whether they end within a hop.

A stream is as good as its slowest step, so p99.9 counts and not the mean; it must stay below the hop. Beside every
step runs a loop of the same length that does nothing, the control: where that is late too, it was the machine and not
the model. Misses are given per million steps, with the range in which their true number lies (95 %). RTF is the median
step over the hop, and stands beside the model's SDR: a network that separates worse is not faster.

  streamsep bench                                          the default model on the best executor
  streamsep bench --model live-12-small --seconds 60       as many steps as fit into a minute
  streamsep bench --executor eager --core 1 --json         one row for a program, on one core
  streamsep bench --realtime --steps 2000                  a step a hop, asleep in between, as on stage
"""


def add_parser(subparsers: Any) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser(
        "bench",
        help="time a model's steps on this machine",
        description=TEXT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_model_flags(parser)
    add_executor_flag(parser)
    add_waiting_flags(parser.add_argument_group("waiting for the future"))
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--steps", type=positive_int, default=5000, metavar="N", help="to time (default %(default)s)")
    length.add_argument("--seconds", type=positive_float, metavar="S", help="time as many steps as fit into S seconds")
    parser.add_argument("--realtime", action="store_true", help="one step a hop; the control is the sleep before it")
    parser.add_argument("--batch", type=positive_int, default=1, metavar="N", help="streams in a step (default 1)")
    parser.add_argument("--precision", metavar="NAME", help="of cuda-graph: float32, tf32, bfloat16 or float16")
    parser.add_argument("--threads", type=positive_int, default=1, metavar="N", help="of the CPU (default 1)")
    parser.add_argument("--core", type=int, metavar="N", help="stay on core N (from 0; Linux)")
    parser.add_argument("--json", action="store_true", help="print one row as JSON")
    parser.add_argument("--histogram", type=Path, metavar="FILE.png", help="draw how long the steps took")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Measure, tell, draw."""
    from streamsep.bench.case import Case, pin
    from streamsep.bench.histogram import draw
    from streamsep.bench.measure import Plan, measure
    from streamsep.models.registry import default_model

    if args.core is not None:
        pin(args.core)
    device = str(pick_device(args.device))
    name = args.model or default_model("stream")
    sliding = (args.lookahead, args.window, args.hop)
    case = Case(name, args.executor, device, args.batch, args.threads, args.precision, *sliding)
    row = measure(case, Plan(args.steps, args.seconds, realtime=args.realtime)) | {"core": args.core}
    print(json.dumps(row) if args.json else to_text(row))
    if args.histogram:
        draw([row], args.histogram)
    return 0


def to_text(row: dict[str, Any]) -> str:
    """The row for people."""
    control = "sleep" if row["realtime"] else "nothing"
    lines = [
        f"{row['model']} on {row['executor']} ({row['device']}, {row['precision']}, {_many(row['batch'], 'stream')}, "
        f"{_many(row['threads'], 'thread')})",
        f"{row['machine']}; {row['system']}; Python {row['python']}, torch {row['torch']}, "
        f"onnxruntime {row['onnxruntime'] or 'none'}, streamsep {row['streamsep']}; load {row['load']}",
        "",
        f"latency     {row['latency_ms']:.1f} ms, algorithmic",
        f"weights     {row['parameters'] / 1e6:.2f} M, {row['weight_bytes'] / 1e6:.1f} MB; state "
        f"{row['state_bytes'] / 1e6:.2f} MB; SDR {sdr_text(row)}",
        f"a step      {row['mflop']:.1f} MFLOP and {row['transform_mflop']:.1f} of transforms; {_operators(row)}",
        f"memory      {_memory(row['memory'])}",
        "",
        f"{'ms':<10}{'p50':>9}{'p99':>9}{'p99.9':>9}{'longest':>9}   misses in a million",
        _times("steps", row),
        _times(control, row["control"]),
        "",
        f"RTF {row['rtf']:.3f}; p99.9 is {'below' if row['in_time'] else 'ABOVE'} the hop of {row['hop_ms']:.2f} ms",
    ]
    return "\n".join(lines)


def sdr_text(row: dict[str, Any]) -> str:
    """A model's SDR, or why there is none."""
    if not row["trained"]:
        return "none: untrained"
    return "unknown" if row["sdr"] is None else f"{row['sdr']:.2f} dB (validation excerpts)"


def _times(name: str, part: dict[str, Any]) -> str:
    figures = "".join(f"{part[key]:>9.2f}" for key in ("p50_ms", "p99_ms", "p999_ms", "longest_ms"))
    misses = part["misses_per_million"]
    seen = f"{part['late']} of {part['steps']}"
    return f"{name:<10}{figures}   {misses['rate']:.0f} ({misses['low']:.0f} to {misses['high']:.0f}; {seen})"


def _operators(row: dict[str, Any]) -> str:
    eager = f"{row['dispatches']} {'operators' if row['device'] == 'cpu' else 'kernels and copies'} of PyTorch"
    return f"{row['nodes']} nodes of ONNX ({eager})" if row["executor"] == "onnx" else eager


def _memory(memory: dict[str, Any]) -> str:
    if memory["peak_mb"] is None:
        return "unknown on this system"
    device = f"; {memory['device_mb']:.0f} MB on the device" if "device_mb" in memory else ""
    return f"{memory['peak_mb']:.0f} MB resident at most, {memory['start_mb']:.0f} MB of it before the model{device}"


def _many(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
