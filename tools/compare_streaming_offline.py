"""Songs through any number of systems, side by side: tables, json, csv, and a report to look at and listen to."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from streamsep.cli.comparing import SYSTEMS, add_flags, chosen_songs, run_comparison
from streamsep.cli.options import positive_float, positive_int
from streamsep.errors import StreamsepError, telling
from streamsep.models.defaults import STREAM_DEFAULT

if TYPE_CHECKING:
    from streamsep.evaluation.songs import SongFiles
    from streamsep.evaluation.systems import System

_HELP = f"""\
Separates songs in several ways and tells them apart. Without -s the ways are up to three:

  stream     the causal model chunk by chunk, as it runs live
  full pass  the same model over the whole signal at once (at most its first 30 s); it must give the same
  offline    a bidirectional model that hears the whole song: what live separation is measured against

Each runs on one CPU thread in a process of its own, so that their speeds compare and their memory does not mix.

{SYSTEMS}

The first table (with true stems only) has whole-song SDR by stem, then means of other measures; higher is better but
for LSD. "best gain" is what the best volume knob on the song itself would score: a separator is worth something where
it is above. The second has RTF, the seconds of work for a second of sound (live needs less than 1), CPU, the same
without the time in which other programs had the processor, the algorithmic latency, and the peak memory with and
without model and sound. The third tells how near one way comes to another, as if the other were the truth: 100 dB is
nothing but rounding. Faults that a score hides (a delay, a swap, a seam) follow as warnings.

OUT/report.html shows and plays it all (docs/report.md says how to read it), OUT/compare.json and .csv have the figures.
A run that was stopped goes on where it was; a song that fails is listed, and the exit code is 3."""
_EXAMPLES = """\
examples:
  python tools/compare_streaming_offline.py examples/lithium/mix.ogg
  python tools/compare_streaming_offline.py song.mp3 --stems stems/ --seconds 20
  python tools/compare_streaming_offline.py --data musdb18hq --subset test -j 4 -s stream:live-23-small -s irm -s mwf
  streamsep models pull htdemucs, and then: ... song.mp3 -s stream:live-23-small -s sliding:htdemucs@250ms,1s -s
  offline:htdemucs"""


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="compare_streaming_offline.py",
        description=_HELP,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("song", type=Path, nargs="*", metavar="SONG", help="files, or folders of true stems")
    parser.add_argument(
        "--stems", type=Path, metavar="DIR", help="the true stems of a single SONG (default: those beside each)"
    )
    parser.add_argument("--data", type=Path, help="a folder of songs, or a MUSDB18-HQ tree")
    parser.add_argument("--subset", choices=("train", "test"), help="the part of a MUSDB18-HQ tree to use")
    parser.add_argument("--songs", help="names of songs in --data, separated by commas (default: all)")
    parser.add_argument("--model", metavar="NAME|PATH", help=f"causal (default {STREAM_DEFAULT})")
    offline = parser.add_mutually_exclusive_group()
    offline.add_argument(
        "--offline",
        metavar="NAME|PATH",
        help="offline model (default: htdemucs if it was pulled, else bidirectional-small)",
    )
    offline.add_argument("--no-offline", action="store_true", help="leave the offline model out")
    parser.add_argument(
        "-o", "--out", type=Path, default=Path("compared"), metavar="OUT", help="folder (default %(default)s)"
    )
    parser.add_argument("--seconds", type=positive_float, metavar="N", help="only the first N seconds of a song")
    parser.add_argument(
        "--chunk", type=positive_int, default=1, metavar="N", help="hops a streaming step (default 1, as live)"
    )
    parser.add_argument("--device", default="cpu", help="cpu, cuda, ... (default %(default)s)")
    add_flags(parser)
    return parser


@telling("compare_streaming_offline")
def main(argv: Sequence[str] | None = None) -> int:
    """Run the comparison: 0, 3 if parts of it failed, or 1 after telling in one sentence what the user can mend."""
    args = build_parser().parse_intermixed_args(argv)
    try:
        return run_comparison(args, lambda: _usual_systems(args), lambda sources: _songs(args, sources))
    except KeyboardInterrupt:
        print("compare_streaming_offline: interrupted; the same command goes on from here", file=sys.stderr)
        return 130


def _usual_systems(args: argparse.Namespace) -> list[System]:
    """Stream, full pass, and the offline model that is named or installed and not left out."""
    from streamsep.evaluation.systems import parse_systems
    from streamsep.models.registry import default_model

    offline = args.offline
    if offline is None and not args.no_offline:
        try:
            offline = default_model("offline")
        except StreamsepError as absent:
            print(f"without an offline model: {absent}", file=sys.stderr)
    model = STREAM_DEFAULT if args.model is None else args.model
    texts = [f"stream=stream:{model}", f"full pass=pass:{model}"]
    return parse_systems(texts + [f"offline=offline:{offline}"] * (offline is not None), args.chunk, args.device)


def _songs(args: argparse.Namespace, sources: tuple[str, ...]) -> list[SongFiles]:
    from streamsep.evaluation.songs import single_song, song_in_folder, songs_in

    if args.stems and len(args.song) != 1:
        raise StreamsepError("--stems is for a single SONG; for several, put each song's stems beside it")
    if args.stems and args.song[0].is_dir():
        raise StreamsepError(f"the folder {args.song[0]} has stems of its own; leave out --stems")
    for name in ("songs", "subset"):
        if getattr(args, name) is not None and not args.data:
            raise StreamsepError(f"--{name} is for a folder of songs; add --data DIR")
    songs = []
    for path in args.song:
        song = song_in_folder(path, sources) if path.is_dir() else single_song(path, args.stems, sources)
        if song is None:
            raise StreamsepError(f"there is no stem in the folder {path}; name a sound file, or a folder of stems")
        songs.append(song)
    if args.data:
        songs += chosen_songs(songs_in(args.data, sources, args.subset), args.songs, args.data)
    if not songs:
        raise StreamsepError("no song is named; give files, folders of stems, or --data")
    return songs


if __name__ == "__main__":
    sys.exit(main())
