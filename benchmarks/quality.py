"""The quality of weights on held-out songs: every system on every song, its marks, and what leaks into the vocals.

    python -m benchmarks.quality --real DIR/lithium DIR/mdn_funk --rendered DIR/test -j 2 \\
        [-s peer=stream:runs/peer/last.safetensors] [--json benchmarks/results/quality.json]

A song is a folder of stems. Without -s the systems are all weights that ship, live and with the longest look-ahead that
they learnt; `gain` and `irm` are always measured, for each system's share of the way between them. Systems are written
as for `streamsep evaluate --out`. What is done is kept in --out: the same command goes on where it was stopped, and
measures only what changed. Where that folder is gone, `--only live-12-small` measures these weights alone, and takes
the figures of the others from --json.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.kept_figures import AND, of_weights, with_kept
from streamsep.cli.options import positive_float, positive_int
from streamsep.errors import StreamsepError, telling
from streamsep.evaluation.comparison import Plan, compare, slug
from streamsep.evaluation.leakage import VOICE, faint_voice, instrumental
from streamsep.evaluation.material import Wanted
from streamsep.evaluation.quality import GAIN, MASK, group_quality, leakage_into_voice, song_quality
from streamsep.evaluation.songs import STEMS, SongFiles, song_in_folder, songs_in
from streamsep.evaluation.systems import Look, fingerprint, load, look_at, parse_systems
from streamsep.files import plain, staged
from streamsep.models.lookahead import longest_lookahead
from streamsep.models.registry import load_model, weights_folder
from streamsep.models.tuning import this_place

Facts = dict[str, Any]
CHUNK = 64  # hops a step: the result is that of single hops, sooner


@dataclass(frozen=True)
class Measuring:
    """How it is measured.

    Attributes:
        out: folder in which what is done is kept.
        seconds: only the first of each song; None for all.
        jobs: processes at a time.
        leakage: whether to measure what leaks into the vocals.
        brief: leave out BSS eval, two thirds of the work.
    """

    out: Path
    seconds: float | None = None
    jobs: int = 1
    leakage: bool = True
    brief: bool = False

    def compare(self, looks: Sequence[Look], songs: Sequence[SongFiles], name: str, brief: bool = False) -> list[Facts]:
        """All systems on all songs; failures are told."""
        if not songs:
            return []
        wanted = Wanted(STEMS, 44100, self.seconds)
        plan = Plan(self.out / name, looks, songs, wanted, listen=0, jobs=self.jobs, progress=True)
        outcome = compare(replace(plan, brief=brief, differences=False))
        for failure in outcome.failures:
            print(f"failed: {failure.song}, {failure.system or 'the song'}: {failure.reason}", file=sys.stderr)
        return outcome.songs


def run(systems: Sequence[str], groups: Mapping[str, Sequence[SongFiles]], measuring: Measuring) -> Facts:
    """Everything about the systems on groups of songs, as plain data."""
    models = [look_at(system) for system in parse_systems(systems, CHUNK)]
    marks = [look_at(system) for system in parse_systems([GAIN, MASK])]
    result: Facts = {
        "systems": {look.system.name: about(look) for look in (*models, *marks)},
        "groups": {},
        "songs": {},
    }
    for name, files in groups.items():
        songs = measuring.compare([*models, *marks], files, name, measuring.brief)
        result["groups"][name] = {"songs": len(songs), "scores": group_quality(songs, STEMS)}
        if measuring.leakage:
            result["groups"][name]["leakage"] = leakage(models, files, measuring, name)
        for song in songs:
            facts = {"group": name, "seconds": song["seconds"], "scores": song_quality(song, STEMS)}
            result["songs"][song["name"]] = facts
    return {"machine": this_place().machine, "seconds": measuring.seconds, **result}


def about(look: Look) -> Facts:
    """A system in figures that do not depend on songs."""
    facts: Facts = {"way": look.system.way, "latency_ms": None, "parameters": None}
    if look.rate is not None:
        facts["parameters"] = sum(weight.numel() for weight in load(look.system).parameters())
        facts["latency_ms"] = None if look.latency is None else 1000 * look.latency / look.rate
    return facts


def leakage(looks: Sequence[Look], songs: Sequence[SongFiles], measuring: Measuring, name: str) -> Facts:
    """What leaks into the vocals, by system; the faint voices are those of the songs that have one."""
    without = derived(songs, instrumental, measuring.out / "songs")
    faint = derived([song for song in songs if VOICE in song.stems], faint_voice, measuring.out / "songs")
    parts = (without, f"{name}-band"), (faint, f"{name}-faint")
    return dict(leakage_into_voice(*(measuring.compare(looks, each, part, brief=True) for each, part in parts)))


def derived(songs: Sequence[SongFiles], make: Callable[[SongFiles, Path], SongFiles], out: Path) -> list[SongFiles]:
    """Songs made from others, once: what was made of the same files is taken over. A song that cannot be is told of."""
    made = []
    for song in songs:
        folder = out / make.__name__ / f"{slug(song.name)}-{fingerprint(song.facts())}"
        try:
            made.append(replace(song_in_folder(folder, STEMS) or make(song, folder), name=song.name))
        except StreamsepError as error:
            print(f"left out of the leakage: {song.name}: {error}", file=sys.stderr)
    return made


def add_song_flags(parser: argparse.ArgumentParser) -> None:
    """Flags that say which songs are measured."""
    parser.add_argument("--real", type=Path, nargs="*", default=[], metavar="SONG", help="folders of stems")
    parser.add_argument("--rendered", type=Path, metavar="DIR", help="folder of folders of stems")
    parser.add_argument("--seconds", type=positive_float, help="only the first seconds of each song")
    parser.add_argument("-j", "--jobs", type=positive_int, default=1, help="processes (default %(default)s)")
    parser.add_argument(
        "--only", nargs="+", metavar="WEIGHTS", help="measure these again; what --json has of others that ship stays"
    )


def find_songs(args: argparse.Namespace) -> dict[str, list[SongFiles]]:
    """Songs by group.

    Raises:
        StreamsepError: no songs, a folder without stems, or songs of one name in both groups.
    """
    real = [(folder, song_in_folder(folder, STEMS)) for folder in args.real]
    if absent := [folder for folder, song in real if song is None]:
        raise StreamsepError(f"there is no stem in the folder {absent[0]}; name folders of stems after --real")
    groups = {
        "real": [song for _, song in real if song is not None],
        "rendered": songs_in(args.rendered, STEMS) if args.rendered else [],
    }
    if not any(groups.values()):
        raise StreamsepError("no song is named; add --real SONG, --rendered DIR or both")
    if twice := {song.name for song in groups["real"]} & {song.name for song in groups["rendered"]}:
        raise StreamsepError(f"both a real song and a rendered one are called {min(twice)!r}; rename a folder")
    return {name: songs for name, songs in groups.items() if songs}


def shipped(ahead: Sequence[float] = ()) -> list[str]:
    """The systems of all weights that ship: live, and with the longest look-ahead that they learnt.

    Args:
        ahead: seconds of further look-aheads, for the weights that learnt to wait so long.
    """
    systems = []
    for name in sorted(path.stem for path in weights_folder().glob("*.safetensors")):
        longest = longest_lookahead(load_model(name))
        looks = [seconds for seconds in (*ahead, longest) if 0 < seconds <= longest]
        systems += [f"{name}={name}", *(f"{name}{AND}{look:.2g} s ahead=stream:{name}@{look}s" for look in looks)]
    return systems


def measured(systems: Sequence[str], args: argparse.Namespace, measuring: Measuring) -> Facts:
    """`run` on what ships, or on those of the weights that `--only` names, beside the figures that `--json` has.

    Raises:
        StreamsepError: weights that do not ship, or no figures to keep.
    """
    if args.only is None:
        return run(systems, find_songs(args), measuring)
    if args.json is None:
        raise StreamsepError("--only keeps the figures of a file; name it by --json")
    result = run(of_weights(systems, args.only), find_songs(args), measuring)
    return with_kept(result, args.json, [system.partition("=")[0] for system in systems])


def write(result: Facts, path: Path | None) -> None:
    """Print the figures, and write them where a path is given."""
    text = json.dumps(plain(result, lambda value: round(value, 3)), indent=1, ensure_ascii=False)
    print(text)
    if path is not None:
        with staged([path], "choose another --json") as (temporary,):
            temporary.write_text(text + "\n", encoding="utf-8")


@telling("quality")
def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print and write, or tell in one sentence what the user can mend."""
    parser = argparse.ArgumentParser(
        prog="quality", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_song_flags(parser)
    parser.add_argument("-s", "--system", action="append", default=[], metavar="SYSTEM", help="NAME=stream:PATH, ...")
    parser.add_argument("--no-leakage", action="store_true", help="leave out what leaks into the vocals")
    parser.add_argument("-o", "--out", type=Path, default=Path("runs/quality"), help="work (default %(default)s)")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    args = parser.parse_args(argv)
    measuring = Measuring(args.out, args.seconds, args.jobs, not args.no_leakage)
    write(measured(args.system or shipped(), args, measuring), args.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
