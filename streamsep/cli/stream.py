"""`streamsep stream`: a song through the live path, as fast as possible or in real time, and what that measured."""

from __future__ import annotations

import argparse
import contextlib
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from streamsep.cli.live_config import parse_stem_gain
from streamsep.cli.options import (
    add_bits_flags,
    add_executor_flag,
    add_model_flags,
    add_waiting_flags,
    argument,
    bits_of,
    file_name,
    output_name,
    pick_device,
    positive_float,
    positive_int,
    refuse_bits_of_mp3,
    track_name,
    waiting_options,
)
from streamsep.errors import StreamsepError

if TYPE_CHECKING:
    from streamsep.cli.scores import Score
    from streamsep.engine.backends.file import FileDevice
    from streamsep.engine.stream import Stream
    from streamsep.files import Codec, Samples

_MEASURED = 200  # steps, where hops are short
_MAX_BLOCK = 65536
_BAR = "{desc} {percentage:3.0f}% |{bar}| {n:.1f}/{total:.1f} s of music [{elapsed}<{remaining}]"


def add_parser(subparsers: Any) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser(
        "stream",
        help="send a song through the live path and measure it",
        description="Send a song block by block through the path that live sound takes, write the stems (aligned with "
        "the song, at its rate and length) to OUT/MODEL/SONG/STEM.wav, and print latency, step times and misses.",
    )
    parser.add_argument("song", type=Path, metavar="SONG", help="a file that libsndfile or ffmpeg reads")
    add_model_flags(parser)
    parser.add_argument("--seconds", type=positive_float, metavar="N", help="only the first N seconds")
    add_waiting_flags(parser.add_argument_group("waiting for the future"))
    _add_engine_flags(parser.add_argument_group("engine"))
    _add_output_flags(parser.add_argument_group("output"))
    parser.set_defaults(run=run)


def _add_engine_flags(group: Any) -> None:
    group.add_argument("--realtime", action="store_true", help="clocked as by an audio interface")
    add_executor_flag(group)
    group.add_argument(
        "--block", type=_block, default=256, metavar="N", help="frames of a device block (default %(default)s)"
    )
    group.add_argument(
        "--queue",
        type=positive_int,
        metavar="N",
        help="blocks of delay granted to the model (default: 1, with --realtime as many as its step times need)",
    )
    group.add_argument(
        "--on-overload",
        choices=("dry", "mute"),
        default="dry",
        help="what sounds while stems are missing: the mix or nothing (default %(default)s)",
    )
    group.add_argument(
        "--gain",
        action="append",
        default=[],
        type=argument(parse_stem_gain),
        metavar="STEM=DB",
        help="level of a stem in dB, -inf to mute; then the remix is written too (may be repeated)",
    )


def _add_output_flags(group: Any) -> None:
    group.add_argument("-o", "--out", type=Path, default=Path("separated"), help="folder (default %(default)s)")
    group.add_argument("--format", choices=("wav", "flac", "mp3"), default="wav", help="(default %(default)s)")
    add_bits_flags(group)
    group.add_argument("--stems", type=Path, metavar="DIR", help="the true stems (DIR/vocals.wav, ...): prints SDRs")
    group.add_argument("--json", type=file_name, metavar="FILE", help="write all figures to FILE")


def _block(text: str) -> int:
    frames = positive_int(text)
    if frames > _MAX_BLOCK:
        raise argparse.ArgumentTypeError(f"{frames} is above {_MAX_BLOCK}")
    return frames


def run(args: argparse.Namespace) -> int:
    """Stream the song, then write and tell what came of it."""
    from streamsep.cli.scores import figures_text, find_stems, read_stems, refuse_overwriting, score_stems
    from streamsep.files import check_readable, staged

    check_readable(args.song)
    if args.stems and any(level for _, level in args.gain):
        raise StreamsepError("--stems scores the stems as the model gives them; leave out --gain, or --stems")
    codec = _codec(args)
    name, model = _load(args)
    places = find_stems(args.stems, model.sources) if args.stems else {}
    outputs = _outputs(args, output_name(name), model.sources)
    refuse_overwriting(outputs, args.json, args.song, places)
    truth, player = read_stems(places), _open(args, model)
    codec.check_rate(player.rate)
    stream = _make_stream(args, model, player)
    # The files are made first: a folder that cannot be written is better known before the song than after it.
    with contextlib.ExitStack() as late:
        cure = "choose another --json"
        figures = late.enter_context(staged([args.json], cure)) if args.json else []
        with staged(list(outputs.values())) as temporaries:
            _play(stream, player)
            stems = _split(player.recording(), model.sources)
            _encode(codec, player, stems, dict(zip(outputs, temporaries, strict=True)))
        scores = score_stems(truth, player, stems)
        about = {"model": name, "executor": stream.host.info.executor, "realtime": args.realtime, "block": args.block}
        for path in figures:
            path.write_text(figures_text(about | stream.report().to_dict(), scores, outputs), encoding="utf-8")
    _tell(stream, player, scores, outputs)
    return 0


def _load(args: argparse.Namespace) -> tuple[str, Any]:
    from streamsep.models.load import load_separator
    from streamsep.models.registry import default_model

    name = default_model("stream") if args.model is None else args.model
    return name, load_separator(name, device=pick_device(args.device), **waiting_options(args))


def _open(args: argparse.Namespace, model: Any) -> FileDevice:
    from streamsep.engine.backends.clocked import Clocking
    from streamsep.engine.backends.file import FileDevice

    clocking = Clocking(args.block, args.realtime)
    outputs = 2 * len(model.sources)
    return FileDevice(args.song, outputs, sample_rate=model.sample_rate, seconds=args.seconds, clocking=clocking)


def _codec(args: argparse.Namespace) -> Codec:
    from streamsep.files import Codec

    if args.format == "mp3":
        refuse_bits_of_mp3(args, "--format mp3")
    return Codec(args.format, bits_of(args))


def _make_stream(args: argparse.Namespace, model: Any, player: FileDevice) -> Stream:
    from streamsep.cli.live_model import choose_queue
    from streamsep.engine.executor import make_executor
    from streamsep.engine.mixer import from_decibels
    from streamsep.engine.stream import Stream
    from streamsep.engine.stream_config import StreamConfig, check_queue
    from streamsep.engine.thread_host import ThreadHost

    check_queue(args.queue or 1, args.block, model.sample_rate)
    chunk = math.ceil(args.block / model.hop)
    executor = make_executor(args.executor, model, device=pick_device(args.device), max_chunk=chunk)
    host = ThreadHost(executor, measure=_MEASURED if args.realtime and not args.queue else 0)
    queue = choose_queue(args.queue, host.info, player)
    stream = Stream(host, player, StreamConfig(queue=queue, on_overload=args.on_overload, output="stems"))
    for stem, level in args.gain:
        stream.set_gain(stem, from_decibels(level))
    return stream


def _play(stream: Stream, player: FileDevice) -> None:
    """Run the stream to its end under a progress bar; Ctrl-C stops device and worker and tells the figures so far."""
    from tqdm import tqdm

    rate = player.sample_rate
    total = player.frames / rate
    with tqdm(desc=player.path.name, total=total, bar_format=_BAR, disable=None) as bar:
        try:
            stream.start()
            while not stream.wait(0.1) and stream.error is None:
                bar.update(min(stream.position / rate, total) - bar.n)
            if stream.error is None:
                bar.update(total - bar.n)
        except KeyboardInterrupt:
            bar.close()
            print(stream.report().to_text())
            raise
        finally:
            stream.close()
            stream.host.close()
    if stream.error is not None:
        raise StreamsepError(f"the model failed in the middle of the stream: {stream.error}")


def _split(recording: Samples, sources: tuple[str, ...]) -> dict[str, Samples]:
    return {name: recording[2 * i : 2 * i + 2] for i, name in enumerate(sources)}


def _outputs(args: argparse.Namespace, model: str, sources: tuple[str, ...]) -> dict[str, Path]:
    """The file of each stem, and with gains of the remix."""
    names = [*sources, "remix"] if args.gain else sources
    folder = args.out / model / track_name(args.song)
    return {name: folder / f"{name}.{args.format}" for name in names}


def _encode(codec: Codec, player: FileDevice, stems: dict[str, Samples], paths: dict[str, Path]) -> None:
    """Write the stems, and the remix where it is asked for; mono songs give mono files."""
    import numpy as np

    from streamsep.files import encode, from_stereo

    sounds = stems | ({"remix": np.stack(list(stems.values())).sum(axis=0)} if "remix" in paths else {})
    files = {name: from_stereo(samples, len(player.song)) for name, samples in sounds.items()}
    share = 1.0 if codec.bits == 32 else _fitting(files)
    for name, path in paths.items():
        encode(path, files[name] if share == 1 else files[name] * np.float32(share), player.rate, codec)


def _fitting(files: dict[str, Samples]) -> float:
    """What all files are turned down by, so that they still add up, for none to be cut off; told where it is not 1."""
    import numpy as np

    from streamsep.files import HEADROOM

    peak = max(float(np.abs(samples).max(initial=0)) for samples in files.values())
    if not peak > 1:
        return 1.0
    share = 1 / (HEADROOM * peak)
    quieter = f"a file would peak at {peak:.3g} times full scale, so all are {-20 * math.log10(share):.1f} dB quieter"
    print(f"streamsep: warning: {quieter}; keep the level with wav and --float32", file=sys.stderr)
    return share


def _tell(stream: Stream, player: FileDevice, scores: list[Score], outputs: dict[str, Path]) -> None:
    print(stream.report().to_text())
    if player.stalls:
        print(f"clock             {player.stalls} times this machine woke the device a block late or more")
    if scores:
        print(f"\n{'stem':<12}{'SDR':>9}{'SI-SDR':>9}{'best gain':>12}   (dB)")
    for s in scores:
        print(f"{s.stem:<12}{s.sdr:>9.2f}{s.si_sdr:>9.2f}{s.baseline:>12.2f}")
    print()
    for path in outputs.values():
        print(path)
