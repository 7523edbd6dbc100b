"""`streamsep live`: music from an input device, taken apart while it plays, to an output device."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from streamsep.cli.live_config import LiveConfig, settings
from streamsep.cli.live_flags import EXAMPLES, add_live_flags
from streamsep.cli.options import bits_of, waiting_options

if TYPE_CHECKING:
    from streamsep.control.actions import Recording
    from streamsep.engine.backends.base import AudioBackend
    from streamsep.engine.host import Host
    from streamsep.engine.stream import Stream

_RECORD_SECONDS = 10.0  # that a recording may wait for the disk: 18 MB of memory


def add_parser(subparsers: Any) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser(
        "live",
        help="separate what an audio device hears, while it plays",
        description="Take the music that comes into an audio device apart while it plays, and play its stems: mixed "
        "anew, or each on outputs of its own.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_live_flags(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Open the device, load the model, and play until someone ends it."""
    if args.list_devices:
        return _list_devices(args)
    from streamsep.cli.live_device import PIPE, PipeForm, check_flags, open_device
    from streamsep.cli.live_display import make_display
    from streamsep.cli.live_loop import play
    from streamsep.cli.live_model import ModelChoice, make_host, start_compiling, steps_to_measure
    from streamsep.control.actions import Actions

    config, recording = settings(args), _recording(args)
    check_flags(args, piped=config.output_device == PIPE)
    # What fails quickly comes first: loading a model takes seconds.
    display = make_display(args.json, sound_on_stdout=config.output_device == PIPE)
    device = open_device(config, PipeForm(args.pipe_format or "wav", args.pipe_channels), args.lock_step)
    choice = ModelChoice(
        config.model, args.device, config.executor, device.max_block, device.sample_rate, **waiting_options(args)
    )
    display.tell("loading the model ...")
    compiling = start_compiling(device, args.callback)
    host = make_host(choice, args.worker, steps_to_measure(config, device))
    try:
        if compiling.is_alive():
            display.tell("compiling the audio callback, once on this machine ...")
        while compiling.is_alive():
            compiling.join(0.1)
        stream = make_stream(host, device, config, args)
        actions = Actions(stream, host.info.sources, recording)
        display.tell(describe(stream))
        play(stream, actions, display, record=args.record is not None, keys=config.input_device != PIPE)
    finally:
        host.close()
    return 0


def make_stream(host: Host, device: AudioBackend, config: LiveConfig, args: argparse.Namespace) -> Stream:
    """The stream that `config` describes, its knobs where they are to start."""
    from streamsep.cli.live_device import PIPE
    from streamsep.cli.live_model import choose_queue
    from streamsep.engine.mixer import from_decibels
    from streamsep.engine.routing import Route
    from streamsep.engine.stream import Stream
    from streamsep.engine.stream_config import StreamConfig

    config.check_stems(host.info.sources)
    stream = Stream(
        host,
        device,
        StreamConfig(
            queue=choose_queue(config.queue, host.info, device),
            on_overload=config.on_overload,
            routes=tuple(Route(stem, channels) for stem, channels in config.parsed_routes),
            input_channels=config.input_channels,
            input_gain=from_decibels(config.input_gain),
            output_gain=from_decibels(config.output_gain),
            limiter=config.limited,
            # A pipe would not wait: the rest of the song would rush past while the model comes back.
            restart=config.output_device != PIPE,
            record_seconds=_RECORD_SECONDS,
            callback=args.callback,
            frames=None if args.seconds is None else round(args.seconds * device.sample_rate),
        ),
    )
    for stem, level in config.gain.items():
        stream.set_gain(stem, from_decibels(level))
    for stem in config.mute:
        stream.set_mute(stem, True)
    for stem in config.solo:
        stream.set_solo(stem, True)
    return stream


def describe(stream: Stream) -> str:
    """What is about to play, in a line."""
    device, info, budget = stream.backend, stream.host.info, stream.budget
    block = f"blocks of {device.block}" if device.block else f"blocks of up to {device.max_block}"
    queue = f"a queue of {stream.config.queue}"
    latency = f"{budget.milliseconds(budget.total):.1f} ms"
    where = f"{device.inputs} in, {device.outputs} out at {device.sample_rate} Hz"
    return f"{where}, {block}, {queue}; {info.executor}; {latency} from input to output"


def _list_devices(args: argparse.Namespace) -> int:
    from streamsep.cli.devices import run as list_devices

    return list_devices(args)


def _recording(args: argparse.Namespace) -> Recording:
    from pathlib import Path

    from streamsep.control.actions import Recording
    from streamsep.files import Codec

    codec = Codec(args.record_format, bits_of(args))
    return Recording(args.record or Path("recordings"), codec)
