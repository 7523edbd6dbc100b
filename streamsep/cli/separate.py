"""`streamsep separate`: whole songs to stems on disk."""

from __future__ import annotations

import argparse
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from streamsep.cli.options import (
    add_bits_flags,
    add_model_flags,
    add_waiting_flags,
    bits_of,
    output_name,
    pick_device,
    positive_int,
    refuse_bits_of_mp3,
    waiting_options,
)
from streamsep.errors import StreamsepError
from streamsep.models.defaults import FILE_DEFAULT, OFFLINE_DEFAULTS, STREAMED_FILE_DEFAULT

if TYPE_CHECKING:
    from streamsep.cli.songs import Job, Output, Report, TwoStems
    from streamsep.models.registry import Mode

_OFFLINE = ("shifts", "overlap", "segment", "split", "precision", "batch", "compile")


def add_parser(subparsers: Any) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser(
        "separate",
        help="separate songs into files",
        description="Separate songs into one file a stem, at each song's own rate and length (mono stays mono, 5.1 is "
        "mixed down to stereo), written to OUT/MODEL/SONG/STEM.wav.",
        epilog="With an offline model glibc is told to keep its memory, which is quicker; with STREAMSEP_MALLOC=system "
        "in the environment it is not.",
    )
    parser.add_argument("songs", nargs="+", type=Path, metavar="SONG", help="a file that libsndfile or ffmpeg reads")
    offline = f"offline {' or '.join(OFFLINE_DEFAULTS)}"
    add_model_flags(parser, f"{FILE_DEFAULT}; as a stream {STREAMED_FILE_DEFAULT}; {offline}")
    parser.add_argument(
        "--mode",
        choices=("stream", "offline"),
        help="as a stream, hop by hop, or over segments of the whole song (default: what the model is, and stream "
        "where there is a --lookahead)",
    )
    parser.add_argument(
        "-j", "--jobs", type=positive_int, default=1, metavar="N", help="songs at a time (default %(default)s)"
    )
    _add_stem_flags(parser.add_argument_group("stems"))
    _add_file_flags(parser.add_argument_group("files"))
    _add_offline_flags(parser.add_argument_group("offline models only"))
    add_waiting_flags(parser.add_argument_group("waiting for the future"))
    parser.set_defaults(run=run)


def _add_stem_flags(group: Any) -> None:
    group.add_argument("--two-stems", metavar="STEM", help="only this stem and the rest")
    group.add_argument(
        "--other-method",
        choices=("add", "minus", "none"),
        help="the rest is the sum of the other stems (no_STEM), the song minus the stem (minus_STEM), or left out "
        "(default add)",
    )


def _add_file_flags(group: Any) -> None:
    group.add_argument("-o", "--out", type=Path, default=Path("separated"), help="folder (default %(default)s)")
    group.add_argument(
        "--filename",
        default="{track}/{stem}.{ext}",
        metavar="TEMPLATE",
        help="path below OUT/MODEL, of {track}, {trackext}, {stem}, {ext} (default %(default)s)",
    )
    coding = group.add_mutually_exclusive_group()
    coding.add_argument("--mp3", action="store_true", help="mp3 (rates above 48 kHz become 48 kHz)")
    coding.add_argument("--flac", action="store_true", help="flac")
    group.add_argument("--mp3-bitrate", type=int, metavar="KBIT", help="in kbit/s (default 320)")
    add_bits_flags(group)
    group.add_argument(
        "--clip-mode",
        choices=("rescale", "clamp", "none"),
        default="rescale",
        help="a stem that peaks too high is turned down as a whole, cut off, or left (default %(default)s)",
    )


def _add_offline_flags(group: Any) -> None:
    group.add_argument("--shifts", type=int, metavar="N", help="average over N random shifts (default 0)")
    group.add_argument(
        "--overlap", type=float, metavar="F", help="share of a segment that the next repeats (default 0.25)"
    )
    group.add_argument("--segment", type=float, metavar="S", help="seconds of a segment (default: the model's)")
    group.add_argument(
        "--split", action=argparse.BooleanOptionalAction, default=None, help="cut the song into segments (default)"
    )
    group.add_argument(
        "--precision",
        choices=("fp32", "bf16", "int8"),
        help="fp32; bf16, quicker on GPUs and on CPUs that have it; or int8, on CPUs only (default fp32)",
    )
    group.add_argument(
        "--batch", type=positive_int, metavar="N", help="segments at once, by as much memory (default 1, on CUDA 4)"
    )
    group.add_argument(
        "--compile",
        action="store_true",
        default=None,
        help="compile the model first, which takes minutes and a C++ compiler (on CUDA also Triton): for many songs",
    )


def run(args: argparse.Namespace) -> int:
    """Separate each song; one that fails is told of, and the others go on."""
    from streamsep.cli.songs import refuse_collisions

    job, songs = _make_job(args), list(dict.fromkeys(args.songs))
    refuse_collisions(job, songs)
    failed = 0
    for song, outcome in _outcomes(job, songs, args.jobs):
        if not isinstance(outcome, StreamsepError):
            _tell(song, outcome)
        elif len(songs) == 1:
            raise outcome
        else:
            failed += 1
            print(f"streamsep: error: {outcome}", file=sys.stderr)
    if failed:
        raise StreamsepError(f"{failed} of {len(songs)} songs failed for the reasons above; the others are done")
    return 0


def _outcomes(job: Job, songs: list[Path], jobs: int) -> Iterator[tuple[Path, Report | StreamsepError]]:
    """Separate up to `jobs` songs at a time; what became of each, in their order."""
    from streamsep.cli.songs import separate_song

    cancel = threading.Event()

    def attempt(song: Path, row: int) -> Report | StreamsepError:
        try:
            return separate_song(job, song, cancel, row)
        except StreamsepError as error:
            return error

    if jobs == 1:
        yield from ((song, attempt(song, 0)) for song in songs)
        return
    with ThreadPoolExecutor(jobs) as pool:
        try:
            futures = [pool.submit(attempt, song, row % jobs) for row, song in enumerate(songs)]
            for song, future in zip(songs, futures, strict=True):
                yield song, future.result()
        finally:
            cancel.set()
            pool.shutdown(cancel_futures=True)


def _tell(song: Path, report: Report) -> None:
    if report.repaired:
        print(f"{song}: {report.repaired} samples are not finite numbers and count as silence", file=sys.stderr)
    if report.clamped:
        print(f"{song}: {report.clamped} samples are far over full scale and are limited", file=sys.stderr)
    speed = report.seconds / report.elapsed
    print(f"{song}: {report.seconds:.1f} s of music in {report.elapsed:.1f} s ({speed:.1f} times real time)")
    for path in report.files:
        print(f"  {path}")


def _make_job(args: argparse.Namespace) -> Job:
    """Load the model and gather the flags; StreamsepError where they contradict each other or the model."""
    from streamsep.cli.songs import Job
    from streamsep.models.load import as_separator, check_stereo
    from streamsep.models.registry import default_model, load_model

    _refuse_idle_flags(args)
    device = pick_device(args.device)
    name = default_model(_mode(args)) if args.model is None else args.model
    model: Any = load_model(name, device=device)
    streaming = _streams(args, model, name)
    if streaming:
        model = as_separator(model, name, **waiting_options(args))
        _tell_waiting(model, name)
    offline = {key: getattr(args, key) for key in _OFFLINE if getattr(args, key) is not None}
    if streaming and offline:
        kind = "a streaming one" if args.lookahead is None else "streaming with --lookahead"
        raise StreamsepError(f"--{next(iter(offline))} is for offline models, and {name} is {kind}; leave it out")
    stems = _two_stems(args, model.sources)
    if not streaming:
        check_stereo(model, name)
        model = _quickened(model, offline)
        if args.jobs > 1:
            offline["workers"] = 1  # songs take the place of segments
    return Job(model, streaming, device, _output(args, output_name(name)), stems, offline)


def _mode(args: argparse.Namespace) -> Mode:
    """How songs are separated where no model is named."""
    if args.mode == "offline":
        return "offline"
    waits = any(value is not None for value in waiting_options(args).values())
    return "streamed file" if waits or args.mode == "stream" else "file"


def _refuse_idle_flags(args: argparse.Namespace) -> None:
    """StreamsepError for a flag that nothing would come of."""
    if args.mp3:
        refuse_bits_of_mp3(args, "--mp3")
    if args.mp3_bitrate is not None and not args.mp3:
        raise StreamsepError("--mp3-bitrate is for mp3 files; add --mp3, or leave it out")
    if args.other_method is not None and args.two_stems is None:
        raise StreamsepError("--other-method is for one stem and the rest; add --two-stems STEM, or leave it out")


def _quickened(model: Any, offline: dict[str, Any]) -> Any:
    """The model as --precision and --compile want it; takes from `offline` what `apply_model` does not know."""
    from streamsep.cli.allocator import keep_memory
    from streamsep.models.precision import compile_networks, quantise

    keep_memory()
    if offline.get("precision") == "int8":
        model = quantise(model)
        del offline["precision"]
    if offline.pop("compile", False):
        compile_networks(model)
    return model


def _streams(args: argparse.Namespace, model: Any, name: str) -> bool:
    """Whether the model is to run as a stream; StreamsepError where the flags contradict each other or the model."""
    from streamsep.models.separator import Separator

    wish = next((key for key, value in waiting_options(args).items() if value is not None), None)
    if args.mode != "offline":
        return args.mode == "stream" or wish is not None or isinstance(model, Separator)
    if isinstance(model, Separator):
        raise StreamsepError(f"{name} is a streaming model; leave --mode offline out or choose another --model")
    if wish is not None:
        raise StreamsepError(f"--{wish} is for streams; leave it out, or --mode offline")
    return False


def _tell_waiting(model: Any, name: str) -> None:
    from streamsep.models.lookahead import longest_lookahead
    from streamsep.models.sliding import SlidingSeparator

    if isinstance(model, SlidingSeparator):
        print(f"{name}: {model.moves.text(model.sample_rate)}")
    elif longest_lookahead(model) and model.latency > model.hop:
        print(f"{name}: looks {1000 * (model.latency - model.hop) / model.sample_rate:.1f} ms ahead")


def _output(args: argparse.Namespace, model: str) -> Output:
    from streamsep.cli.songs import Output
    from streamsep.files import Codec

    form: Literal["wav", "flac", "mp3"] = "mp3" if args.mp3 else "flac" if args.flac else "wav"
    bitrate = Codec.bitrate if args.mp3_bitrate is None else args.mp3_bitrate
    codec = Codec(form, bits_of(args), bitrate)
    return Output(args.out / model, args.filename, codec, args.clip_mode)


def _two_stems(args: argparse.Namespace, sources: tuple[str, ...]) -> TwoStems | None:
    from streamsep.cli.songs import TwoStems

    if args.two_stems is None:
        return None
    if args.two_stems not in sources:
        raise StreamsepError(f"the model has no stem {args.two_stems!r}; choose --two-stems {', '.join(sources)}")
    return TwoStems(args.two_stems, args.other_method or "add")
