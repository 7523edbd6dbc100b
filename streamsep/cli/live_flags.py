"""The flags of `streamsep live`, and those of the device that it shares with `streamsep latency`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from streamsep.cli.live_config import (
    parse_channels,
    parse_device,
    parse_gain,
    parse_latency,
    parse_route,
    parse_stem_gain,
)
from streamsep.cli.options import (
    add_bits_flags,
    add_executor_flag,
    add_model_flags,
    add_waiting_flags,
    argument,
    positive_float,
    positive_int,
)

PRESETS = "drummer, karaoke, minus-bass, minus-drums, minus-other, minus-vocals, monitor"
EXAMPLES = (
    """\
examples:
  streamsep live -l                           the devices, and their numbers
  streamsep live                              the music, taken apart and put together again: turn its stems up and down
  streamsep live --preset karaoke             without the voice
  streamsep live -i Scarlett -o Scarlett --preset monitor
                                              each stem on its own two outputs of an interface
  streamsep live -o 4 --route vocals=1,2 --route drums=3 --gain bass=-6 --blocksize 128
  streamsep live --preset drummer --record takes --record-format flac
  ffmpeg -i song.mp3 -f wav - | streamsep live -i - -o - --mute vocals | ffplay -nodisp -i -
                                              a song through pipes, as fast as the model goes

keys while it plays: the number of a stem mutes it, ? shows all keys, q ends.
presets: """
    + PRESETS
    + "\n"
)


def add_live_flags(parser: argparse.ArgumentParser) -> None:
    """All flags of `streamsep live`; those that a preset can set are None unless given."""
    parser.add_argument("--preset", metavar="NAME|FILE", help="a rig: a name from below or a .yaml file")
    parser.add_argument("--seconds", type=positive_float, metavar="N", help="end after N seconds")
    parser.add_argument(
        "-l", "--list-devices", action="store_true", help="list the audio devices, as `streamsep devices` does, and end"
    )
    add_model_flags(parser)
    add_waiting_flags(parser)
    add_executor_flag(parser, None)
    device = parser.add_argument_group("audio device")
    add_device_flags(device)
    device.add_argument(
        "--pipe-format",
        choices=("wav", "s16le", "s24le", "s32le", "f32le"),
        help="what goes through a pipe (default wav)",
    )
    device.add_argument(
        "--pipe-channels", type=positive_int, metavar="N", help="channels of a raw pipe that comes in (default 2)"
    )
    _add_sound_flags(parser.add_argument_group("sound"))
    _add_recording_flags(parser.add_argument_group("recording"))
    _add_other_flags(parser.add_argument_group("display and trouble-shooting"))


def add_device_flags(group: Any, *, pipes: bool = True) -> None:
    """Device, rate, block and queue."""
    for letter, name, pipe in (("i", "input", "stdin"), ("o", "output", "stdout")):
        where = "number or part of the name" + (f"; - is a pipe on {pipe}" if pipes else "")
        group.add_argument(
            f"-{letter}",
            f"--{name}-device",
            type=parse_device,
            metavar="DEVICE",
            help=f"{where} (default: the system's)",
        )
    group.add_argument("--host-api", metavar="NAME", help="ALSA, JACK, ASIO, WASAPI, CoreAudio, ... (part of the name)")
    group.add_argument(
        "--samplerate",
        type=positive_int,
        metavar="HZ",
        help="of the device (default: its own; 44100 needs no resampling)",
    )
    group.add_argument(
        "--blocksize", type=positive_int, metavar="N", help="frames of a block (default 256, or JACK's period)"
    )
    group.add_argument(
        "--latency", type=argument(parse_latency), metavar="low|high|S", help="of the device, or seconds (default low)"
    )
    group.add_argument("--exclusive", action="store_true", default=None, help="WASAPI: the device for us alone")
    group.add_argument(
        "--queue",
        type=positive_int,
        metavar="N",
        help="blocks of delay granted to the model (default: as many as its measured steps need)",
    )


def _add_sound_flags(group: Any) -> None:
    group.add_argument(
        "--input-channels", type=argument(parse_channels), metavar="1,2", help="of the input device, or 3: one, as mono"
    )
    group.add_argument(
        "--route",
        dest="routes",
        action="append",
        type=argument(_route_text),
        metavar="STEM=1,2",
        help="a stem, or mix, to one or two outputs (may be repeated; default mix=1,2)",
    )
    group.add_argument(
        "--gain",
        action="append",
        type=argument(parse_stem_gain),
        metavar="STEM=DB",
        help="level of a stem, -inf for none (may be repeated)",
    )
    for name, meaning in (("mute", "start with a stem muted"), ("solo", "start with a stem alone")):
        group.add_argument(f"--{name}", action="append", metavar="STEM", help=f"{meaning} (may be repeated)")
    for name in ("input", "output"):
        group.add_argument(
            f"--{name}-gain", type=argument(parse_gain), metavar="DB", help=f"level of the {name} (default 0)"
        )
    group.add_argument(
        "--limiter",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="soft limit on the outputs (default: on where a mix is played, off for stems apart)",
    )
    group.add_argument(
        "--on-overload",
        choices=("dry", "mute"),
        help="what sounds while the model is late: the mix or nothing (default dry)",
    )


def _route_text(text: str) -> str:
    parse_route(text)
    return text


def _add_recording_flags(group: Any) -> None:
    group.add_argument(
        "--record",
        nargs="?",
        type=Path,
        const=Path("recordings"),
        metavar="DIR",
        help="record stems and mix from the start, into a folder named by the time in DIR (default recordings); "
        "without it the key R begins",
    )
    group.add_argument("--record-format", choices=("wav", "flac"), default="wav", help="(default %(default)s)")
    add_bits_flags(group)


def _add_other_flags(group: Any) -> None:
    group.add_argument(
        "--json",
        action="store_true",
        help="a line of JSON a second in place of the status line, on stdout, or on stderr where stdout is a pipe "
        "of sound",
    )
    group.add_argument(
        "--worker",
        choices=("process", "thread"),
        default="process",
        help="where the model runs (default %(default)s)",
    )
    group.add_argument(
        "--callback",
        choices=("auto", "compiled", "python"),
        default="auto",
        help="who serves the device: compiled needs numba (default %(default)s)",
    )
    # For devices without a clock, which outrun any model: the device waits for it.
    group.add_argument("--lock-step", action="store_true", help=argparse.SUPPRESS)
