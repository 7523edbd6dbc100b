"""`streamsep latency`: where every millisecond of delay comes from, declared, and measured through a cable."""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import sys
from typing import TYPE_CHECKING, Any

from streamsep.cli.live_config import LiveConfig, settings
from streamsep.cli.live_flags import add_device_flags
from streamsep.cli.options import (
    add_executor_flag,
    add_model_flags,
    add_waiting_flags,
    pick_device,
    waiting_options,
)
from streamsep.errors import StreamsepError

if TYPE_CHECKING:
    from streamsep.engine.backends.base import AudioBackend
    from streamsep.engine.backends.loopback import RoundTrip
    from streamsep.engine.host import Host
    from streamsep.engine.stream import Stream

_EXAMPLES = """\
examples:
  streamsep latency                              the default model and device
  streamsep latency -i Scarlett -o Scarlett --blocksize 128
  streamsep latency -n live-12 --no-device --samplerate 48000 --queue 1
  streamsep latency --loopback                   with a cable from an output to an input: what the device does not tell
"""


def add_parser(subparsers: Any) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser(
        "latency",
        help="add up the latency of a model on a device, and measure it",
        description="Print what each part of the way adds to the delay between a sound at the input and its stems at "
        "the output, and the sum. Nothing is heard, except with --loopback.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--preset", metavar="NAME|FILE", help="a rig of `streamsep live`, for its model and devices")
    add_model_flags(parser)
    add_waiting_flags(parser)
    add_executor_flag(parser, None)
    device = parser.add_argument_group("audio device")
    add_device_flags(device, pipes=False)
    device.add_argument(
        "--no-device", action="store_true", help="a device that adds nothing but its own block, for plans on paper"
    )
    parser.add_argument(
        "--loopback",
        action="store_true",
        help="play bursts of noise on all outputs, and measure when they come back through a cable to an input",
    )
    parser.add_argument("--json", action="store_true", help="print one object of JSON in place of the table")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Open the device, look at the model, add up, and measure."""
    from streamsep.cli.latency_table import Finding

    config = settings(args)
    if not args.no_device and "-" in (config.input_device, config.output_device):
        raise StreamsepError("a pipe has no latency of its own; choose a device, or --no-device")
    if args.loopback and args.no_device:
        raise StreamsepError(
            "there is nothing to measure with --no-device; leave out one of --loopback and --no-device"
        )
    device = _device(args, config)
    host = _host(args, config, device)
    try:
        stream = _stream(host, device, config)
        trip = _measure(stream, config) if args.loopback else None
        name = config.model or _default()
        finding = Finding(name, host.info, device, stream.config.queue, stream.budget, trip)
    finally:
        host.close()
    print(json.dumps(finding.to_dict()) if args.json else finding.to_text())
    return 0


def _default() -> str:
    from streamsep.models.registry import default_model

    return default_model("stream")


def _device(args: argparse.Namespace, config: LiveConfig) -> AudioBackend:
    from streamsep.cli.live_device import BLOCK, open_device

    if not args.no_device:
        return open_device(config)
    import numpy as np

    from streamsep.engine.backends.clocked import Clocking
    from streamsep.engine.backends.fake import FakeDevice

    nothing = np.zeros((2, 0), dtype=np.float32)
    clocking = Clocking(config.blocksize or BLOCK, realtime=True)
    return FakeDevice(nothing, config.outputs, sample_rate=config.samplerate or 44100, clocking=clocking)


def _host(args: argparse.Namespace, config: LiveConfig, device: AudioBackend) -> Host:
    """The model; its steps are measured unless the queue is given. A preset needs no weights for that."""
    import torch

    from streamsep.cli.live_model import ModelChoice, steps_to_measure
    from streamsep.engine.executor import check_executor
    from streamsep.engine.thread_host import ThreadHost
    from streamsep.models.registry import build_preset, preset_names

    check_executor(config.executor)
    name = config.model or _default()
    choice = ModelChoice(
        name, args.device, config.executor, device.max_block, device.sample_rate, **waiting_options(args)
    )
    if name not in preset_names() or args.lookahead is not None:
        executor = choice()
    elif config.queue and not args.loopback:
        with torch.device("meta"):
            executor = dataclasses.replace(choice, device="cpu", executor="eager").wrap(build_preset(name))
    else:
        executor = choice.wrap(build_preset(name).eval().to(pick_device(args.device)))
    return ThreadHost(executor, steps_to_measure(config, device))


def _stream(host: Host, device: AudioBackend, config: LiveConfig) -> Stream:
    from streamsep.cli.live_model import choose_queue
    from streamsep.engine.routing import Route
    from streamsep.engine.stream import Stream
    from streamsep.engine.stream_config import StreamConfig

    queue = choose_queue(config.queue, host.info, device)
    routes = tuple(Route(*route) for route in config.parsed_routes)
    return Stream(host, device, StreamConfig(queue=queue, routes=routes, input_channels=config.input_channels))


def _measure(stream: Stream, config: LiveConfig) -> RoundTrip:
    """The round trip of one device, or of two devices with the engine between them, which alone knows their clocks."""
    from streamsep.engine.backends.loopback import LoopbackDevice, measure_round_trip

    device = stream.backend
    print("streamsep: playing bursts of noise on all outputs, a few seconds", file=sys.stderr)
    if not device.separate:
        return measure_round_trip(device)
    # Bursts are alike: each must have come back before the next.
    whole_way = stream.budget.total / stream.budget_rate
    loop = LoopbackDevice(device, seconds=1.0 + math.ceil(whole_way))
    whole = _stream(stream.host, loop, dataclasses.replace(config, queue=stream.config.queue))
    whole.set_bypass(True)  # the mix as it came in, as late as the stems would be
    try:
        whole.start()
        while not whole.wait(0.1):
            pass
        if loop.lost is not None:
            raise StreamsepError(loop.lost)
    finally:
        whole.close()
    return loop.result()
