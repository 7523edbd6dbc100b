"""`streamsep export`: a streaming model as a file for other programs, complete: mix in, stems out, state by state.

The file is checked against the model before it is written. Its interface: docs/onnx.md.
"""

from __future__ import annotations

import argparse
from typing import Any

from streamsep.cli.options import file_name, waiting_time


def add_parser(subparsers: Any) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser("export", help="write a streaming model as an ONNX file", description=__doc__)
    kinds = parser.add_mutually_exclusive_group(required=True)
    kinds.add_argument("--onnx", action="store_true", help="as ONNX, for ONNX Runtime and others")
    parser.add_argument("-n", "--model", metavar="NAME|PATH", help="a live preset or a checkpoint (default: as stream)")
    parser.add_argument(
        "--lookahead", type=waiting_time, metavar="TIME", help="such as 100ms, if its weights learnt to wait"
    )
    parser.add_argument("-o", "--out", type=file_name, required=True, metavar="FILE", help="the file to write")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Write the file and say what it holds."""
    from streamsep.cli.options import output_name
    from streamsep.engine.onnx_export import export_onnx
    from streamsep.models.lookahead import waiting
    from streamsep.models.registry import default_model, load_model
    from streamsep.models.separator import Separator

    name = args.model or default_model("stream")
    model: Any = load_model(name)
    if args.lookahead is not None and isinstance(model, Separator):  # others are refused below
        model = waiting(model, name, args.lookahead)
    done = export_onnx(model, args.out, output_name(name))
    milliseconds = 1000 * (model.latency + model.hop) / model.sample_rate
    print(f"{done.path}: {done.size / 1e6:.1f} MB; {', '.join(model.sources)}")
    print(f"hop {model.hop} at {model.sample_rate} Hz, algorithmic latency {milliseconds:.1f} ms")
    print(f"state: {done.states} arrays, {done.state_bytes / 1e6:.1f} MB")
    print(f"differs from the model by {done.error:.1e} of its greatest output over {done.hops} hops")
    return 0
