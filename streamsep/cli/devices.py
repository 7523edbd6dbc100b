"""`streamsep devices`: the audio devices that `streamsep live` can open."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from streamsep.errors import StreamsepError

if TYPE_CHECKING:
    from streamsep.engine.backends.pa_devices import DeviceInfo


def add_parser(subparsers: Any) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser(
        "devices",
        help="list audio devices",
        description="List audio devices: number, name, host API, channels, default rate and default latencies in ms "
        "(low/high); > marks the default input, < the default output. Numbers change when devices come and go; a part "
        "of the name is safer.",
    )
    parser.add_argument("--json", action="store_true", help="as JSON, latencies in seconds")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the table."""
    from streamsep.engine.backends.pa_devices import list_devices, no_devices_cure

    devices = list_devices()
    if args.json:
        print(json.dumps([asdict(device) for device in devices], indent=2))
        return 0
    if not devices:
        raise StreamsepError(f"there are no audio devices; {no_devices_cure()}")
    print(table(devices))
    return 0


def table(devices: list[DeviceInfo]) -> str:
    """The devices, one a line, under a line of titles."""
    titles = ("", "no.", "name", "host API", "in", "out", "rate", "in ms", "out ms")
    rows = [titles, *(_row(device) for device in devices)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    left = {0, 2, 3}
    return "\n".join(
        "  ".join(
            cell.ljust(width) if number in left else cell.rjust(width)
            for number, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


def _row(device: DeviceInfo) -> tuple[str, ...]:
    marks = (">" if device.default_input else " ") + ("<" if device.default_output else " ")
    return (
        marks,
        str(device.number),
        device.name,
        device.hostapi,
        str(device.inputs),
        str(device.outputs),
        str(device.sample_rate),
        _latencies(device.inputs, device.input_latency),
        _latencies(device.outputs, device.output_latency),
    )


def _latencies(channels: int, seconds: tuple[float, float]) -> str:
    return "/".join(f"{1000 * each:.1f}" for each in seconds) if channels else "-"
