"""`streamsep evaluate`: a streaming model on songs with true stems, by SDR and SI-SDR beside the best constant gain.

With --out it compares any systems by all measures, writes a report, and goes on where a killed run was."""

from __future__ import annotations

import argparse
import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from streamsep.cli.comparing import SYSTEMS, add_flags, chosen_names, chosen_songs, flags_given, run_comparison
from streamsep.cli.options import file_name, pick_device, positive_float, positive_int
from streamsep.errors import StreamsepError
from streamsep.models.defaults import STREAM_DEFAULT

if TYPE_CHECKING:
    import torch

    from streamsep.evaluation.songs import SongFiles
    from streamsep.evaluation.systems import System
    from streamsep.models.separator import Separator
    from streamsep.training.data import Song

_CACHE = Path("runs/cache")
# What a comparison has no use for, and why.
_ALONE = {
    "json": "the figures go into compare.json in the folder of --out",
    "threads": "every system of a comparison runs on one thread",
    "cache": "a comparison keeps its sound in the folder of --out",
}


def add_parser(subparsers: Any) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser(
        "evaluate",
        help="measure a model on songs with true stems",
        description=__doc__,
        epilog=SYSTEMS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--model", "-n", help=f"name or checkpoint (default {STREAM_DEFAULT})")
    parser.add_argument("--data", type=Path, required=True, help="folder of songs, or a MUSDB18-HQ tree")
    parser.add_argument("--subset", choices=("train", "test"), help="the part of a MUSDB18-HQ tree to use")
    parser.add_argument("--songs", help="names of songs, separated by commas (default: all)")
    parser.add_argument("--seconds", type=positive_float, help="only the first seconds of each song")
    parser.add_argument("--chunk", type=positive_int, default=64, help="hops a step (default %(default)s)")
    parser.add_argument("--cache", type=Path, help=f"decoded audio (default {_CACHE})")
    parser.add_argument("--json", type=file_name, help="write the figures to this file")
    parser.add_argument("--device", default="cpu", help="cpu, cuda, ... (default %(default)s)")
    parser.add_argument("--threads", type=positive_int, help="CPU threads (default: PyTorch's choice)")
    parser.add_argument(
        "-o",
        "--out",
        type=Path,
        metavar="DIR",
        help="compare: all measures of --system, and a report, into this folder",
    )
    add_flags(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Compare into --out; without it evaluate song by song, and print a table for each and one of the means."""
    _refuse_ignored(args)
    if args.out is not None:
        return run_comparison(args, lambda: _one_system(args), lambda sources: _songs(args, sources))
    import torch

    from streamsep.evaluation.evaluate import format_table, mean_scores, results_text
    from streamsep.evaluation.songs import check_subset
    from streamsep.files import staged
    from streamsep.models.registry import load_model
    from streamsep.models.separator import Separator
    from streamsep.training.data import open_songs, song_folders

    if args.threads:
        torch.set_num_threads(args.threads)
    check_subset(args.data, args.subset)
    folders = song_folders(args.data, args.subset)
    names = list(folders) if args.songs is None else chosen_names(folders, args.songs, args.data)
    name = STREAM_DEFAULT if args.model is None else args.model
    model = load_model(name, device=pick_device(args.device))
    if not isinstance(model, Separator):
        raise StreamsepError(f"{name} is not a streaming model; choose one of the live presets")
    results = {}
    with contextlib.ExitStack() as stack:
        # Made first: a folder that cannot be written is better known before the work than after it.
        files = stack.enter_context(staged([args.json], "choose another --json")) if args.json else []
        for song in open_songs(args.data, {name: folders[name] for name in names}, args.cache or _CACHE):
            results[song.name] = _evaluate(model, song, args)
            print(f"\n{song.name}\n{format_table(results[song.name])}")
        means = mean_scores(results)
        print(f"\nmean of {len(results)} songs, dB\n{format_table(means)}")
        for path in files:
            figures = {"model": name, "seconds": args.seconds, "songs": results, "mean": means}
            path.write_text(results_text(figures), encoding="utf-8")
    return 0


def _refuse_ignored(args: argparse.Namespace) -> None:
    if args.out is None:
        for flag in flags_given(args):
            raise StreamsepError(f"{flag} is for a comparison, which is written into a folder; add --out DIR")
        return
    for name, reason in _ALONE.items():
        if getattr(args, name) is not None:
            raise StreamsepError(f"{reason}; leave out --{name}")


def _one_system(args: argparse.Namespace) -> list[System]:
    from streamsep.evaluation.systems import parse_systems

    name = STREAM_DEFAULT if args.model is None else args.model
    return parse_systems([name], args.chunk, args.device)


def _songs(args: argparse.Namespace, sources: tuple[str, ...]) -> list[SongFiles]:
    from streamsep.evaluation.songs import songs_in

    return chosen_songs(songs_in(args.data, sources, args.subset), args.songs, args.data)


def _evaluate(model: Separator, song: Song, args: argparse.Namespace) -> dict[str, dict[str, float]]:
    """Scores of the stems that the song's files keep apart."""
    from tqdm import tqdm

    from streamsep.evaluation.evaluate import evaluate_song
    from streamsep.training.validation import read_song

    class Reader:
        length = song.length

        def __call__(self, start: int, frames: int) -> torch.Tensor:
            return read_song(song, model.sources, start, frames)

    whole = song.length if args.seconds is None else min(song.length, round(args.seconds * model.sample_rate))
    with tqdm(total=whole, desc=song.name, unit="sample", unit_scale=True, leave=False, disable=None) as bar:
        scores = evaluate_song(
            model, Reader(), names=model.sources, seconds=args.seconds, chunk=args.chunk, device=args.device,
            progress=bar.update,
        )  # fmt: skip
    return {stem: row for stem, row in scores.items() if stem not in song.joined}
