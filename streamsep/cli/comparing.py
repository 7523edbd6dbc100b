"""What `tools/compare_streaming_offline.py` and `streamsep evaluate --out` share: flags, and a comparison from them."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from streamsep.cli.options import pick_device, positive_float, positive_int, waiting_time
from streamsep.errors import StreamsepError

if TYPE_CHECKING:
    from streamsep.evaluation.comparison import Plan
    from streamsep.evaluation.songs import SongFiles
    from streamsep.evaluation.systems import Look, System

# What came to an end, but not without failures; they are listed.
WITH_FAILURES = 3
SYSTEMS = """\
systems (-s, as often as wanted; NAME=... gives a name of your own):
  stream:MODEL            a causal model chunk by chunk, as it runs live
  stream:MODEL@0.1s,0.5s  the same with so much of the future in view, if its weights learnt to wait
  pass:MODEL              the same model over the whole signal at once (at most 30 s); it must give the same
  sliding:MODEL@500ms,1s  an offline model on a moving window, a system for each look-ahead
  sliding:MODEL@1s/500ms  the same with a hop
  offline:MODEL           an offline model that hears the whole song
  stems:DIR               somebody else's stems: DIR/SONG/drums.wav, or DIR/drums.wav
  irm ibm psm magnitude mwf   oracle masks from the true stems; irm:2048/512 for another STFT than 4096/1024
  gain                    the mixture times the best constant gain for each stem
  mixture silence         the mixture, or nothing, in place of every stem"""


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Flags of a comparison."""
    parser.add_argument("-s", "--system", action="append", default=[], metavar="SYSTEM", help="see below")
    parser.add_argument("--listen", type=int, default=3, metavar="N", help="songs to hear in the report (default 3)")
    parser.add_argument(
        "--excerpt", type=positive_float, default=10, metavar="SECONDS", help="to hear of a song (default %(default)s)"
    )
    parser.add_argument("--at", type=waiting_time, metavar="TIME", help="its beginning (default: the busiest)")
    parser.add_argument(
        "--heads", type=_heads, default=((0, 0), (0, 1), (-1, 0), (-1, 1)), metavar="LAYER:HEAD,...",
        help="attention to draw, -1 being the last layer (default 0:0,0:1,-1:0,-1:1); none to leave it out",
    )  # fmt: skip
    parser.add_argument("-j", "--jobs", type=positive_int, default=1, metavar="N", help="processes (default 1)")
    parser.add_argument("--no-report", action="store_true", help="no report.html, which needs matplotlib")
    parser.add_argument(
        "--report-mb", type=positive_float, default=25, metavar="MB", help="size of report.html (default %(default)s)"
    )


def flags_given(args: argparse.Namespace) -> list[str]:
    """Those of `add_flags` that are not what they are by default."""
    parser = argparse.ArgumentParser()
    add_flags(parser)
    defaults = vars(parser.parse_args([]))
    return [f"--{name.replace('_', '-')}" for name, value in defaults.items() if getattr(args, name) != value]


def _heads(text: str) -> tuple[tuple[int, int], ...]:
    if text == "none":
        return ()
    try:
        pairs = [tuple(int(number) for number in each.split(":")) for each in text.split(",")]
        return tuple((layer, head) for layer, head in pairs)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no list of LAYER:HEAD such as 0:0,-1:1") from None


def run_comparison(
    args: argparse.Namespace,
    default: Callable[[], Sequence[System]],
    find: Callable[[tuple[str, ...]], Sequence[SongFiles]],
) -> int:
    """Compare, print the tables, write OUT/compare.json, compare.csv and report.html; 0, or WITH_FAILURES.

    Args:
        default: the systems where none is named.
        find: the songs, given the stems.

    Raises:
        StreamsepError: nothing could be compared.
    """
    from streamsep.evaluation.comparison import Listening, Plan, compare
    from streamsep.evaluation.material import Wanted
    from streamsep.evaluation.songs import STEMS, check_utf8
    from streamsep.evaluation.systems import common_ground, look_at, parse_systems

    _refuse_idle_flags(args)
    _require_packages(report=not args.no_report)
    device = str(pick_device(args.device))
    systems = parse_systems(args.system, args.chunk, device) or list(default())
    for text in (str(args.out), *(text for system in systems for text in (system.name, system.what))):
        check_utf8(text)
    looks: list[Look] = [look_at(system) for system in systems]
    sources, rate = common_ground(looks, STEMS)
    wanted = Wanted(sources, rate, args.seconds, args.excerpt, args.at)
    listen = 0 if args.no_report else args.listen
    shown = Listening(args.heads)
    plan = Plan(args.out, looks, find(sources), wanted, listen, shown, args.jobs, sys.stderr.isatty())
    names = ["compare.json", "compare.csv"] + ["report.html"] * (not args.no_report)
    facts = _write(plan, [args.out / name for name in names], args.report_mb, compare)
    return WITH_FAILURES if facts["failures"] else 0


def _refuse_idle_flags(args: argparse.Namespace) -> None:
    """StreamsepError for a flag that chooses among the usual systems, beside systems that are named."""
    for name in ("model", "offline", "no_offline"):
        if args.system and getattr(args, name, None) not in (None, False):
            flag = f"--{name.replace('_', '-')}"
            raise StreamsepError(f"{flag} has no effect beside --system; name that model by -s too, or leave it out")


def _write(plan: Plan, paths: list[Path], megabytes: float, compare: Callable[[Plan], Any]) -> dict[str, Any]:
    import json

    from streamsep.evaluation.jobs import six_digits
    from streamsep.evaluation.summary import csv_text, summarise
    from streamsep.evaluation.tables import format_tables
    from streamsep.files import plain, staged

    # The files are made first: a folder that cannot be written is better known before the work than after it.
    with staged(paths) as temporaries:
        facts = summarise(plan, compare(plan))
        text = json.dumps(plain(six_digits(facts)), indent=1, ensure_ascii=False)
        temporaries[0].write_text(text + "\n", encoding="utf-8")
        temporaries[1].write_text(csv_text(facts), encoding="utf-8")
        if len(paths) > 2:
            from streamsep.evaluation.report.page import page

            temporaries[2].write_text(page(facts, megabytes), encoding="utf-8")
    _print_head(facts)
    print(format_tables(facts), "", *paths, sep="\n")
    return facts


def _print_head(facts: dict[str, Any]) -> None:
    for song in facts["songs"][:5]:
        known = song["true_stems"]
        folder = Path(next(iter(known.values()))).parent if known else None
        about = f"true stems from {folder}" if folder else "no true stems are known"
        print(f"{song['name']}: {song['seconds']:.1f} s at {facts['sample_rate']} Hz, {about}")
        for note in song["notes"]:
            print(f"warning: {song['name']}: {note}", file=sys.stderr)
    if (more := len(facts["songs"]) - 5) > 0:
        print(f"and {more} more songs")
    print()


def _require_packages(report: bool) -> None:
    from importlib.util import find_spec

    from streamsep.errors import missing

    for module, package in [("pyloudnorm", "pyloudnorm")] + [("matplotlib", "matplotlib"), ("PIL", "pillow")] * report:
        if find_spec(module) is None:
            raise missing(package, "evaluation")


def chosen_songs(songs: Sequence[SongFiles], names: str | None, data: Path) -> list[SongFiles]:
    """The songs named in a list with commas, in that order; all without a list.

    Raises:
        StreamsepError: a name that is not there.
    """
    if names is None:
        return list(songs)
    known = {song.name: song for song in songs}
    return [known[name] for name in chosen_names(known, names, data)]


def chosen_names(known: Collection[str], names: str, data: Path) -> list[str]:
    """The names in a list with commas; a name may itself have commas if it stands alone.

    Raises:
        StreamsepError: a name that is not known.
    """
    chosen = [names] if names in known else names.split(",")
    for name in chosen:
        if name not in known:
            raise StreamsepError(f"no song {name!r} in {data}; there are {', '.join(sorted(known))}")
    return chosen
