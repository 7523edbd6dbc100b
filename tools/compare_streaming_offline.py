"""One song through the streaming model and an offline one, side by side: tables, a JSON file and a picture."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from streamsep.cli.options import pick_device, positive_float, positive_int
from streamsep.errors import StreamsepError

if TYPE_CHECKING:
    from streamsep.evaluation.compare import Task, Waves
    from streamsep.evaluation.compare_report import Result

# A full pass attends from every frame to every other: its memory would grow with the square of a song.
PASS_SECONDS = 30
_SUFFIXES = (".wav", ".flac", ".ogg", ".mp3", ".aiff", ".m4a")
_HELP = f"""\
Separates SONG in up to three ways and tells them apart:

  stream     the causal model chunk by chunk, as it runs live
  full pass  the same model over the whole signal at once (at most its first {PASS_SECONDS} s); it must give the same
  offline    a bidirectional model that hears the whole song: what live separation is measured against

Each runs on one CPU thread in a process of its own, so that their speeds compare and their memory does not mix.

The first table (with true stems only) has SDR and SI-SDR in dB, higher is better. "best gain" is what the best volume
knob on the song itself would score: a separator is worth something where it is above. The second has RTF, the seconds
of work for a second of sound (live needs less than 1), CPU, the same without the time in which other programs had the
processor, the algorithmic latency, and the peak memory with and without model and sound. The third table tells
how near one way comes to another, as if the other were the truth: 100 dB is nothing but rounding.

OUT/compare.json has all the figures, OUT/compare.png the stems of stream, offline and truth side by side."""
_EXAMPLES = """\
examples:
  python tools/compare_streaming_offline.py examples/lithium/mix.ogg
  python tools/compare_streaming_offline.py song.mp3 --stems stems/ --seconds 20
  streamsep models pull htdemucs, and then: python tools/compare_streaming_offline.py song.mp3 --offline htdemucs"""


@dataclass(frozen=True)
class Material:
    """What goes in: the song, its true stems if known, and the systems.

    Attributes:
        mix: `[T, 2]`.
        truth: `[T, S, 2]`, with the folder it is from; or None.
        tasks: stream, full pass, and offline where there is one.
        latency: of the stream, in samples.
    """

    song: Path
    rate: int
    mix: Waves
    truth: Waves | None
    folder: Path | None
    tasks: list[Task]
    latency: int


def build_parser() -> argparse.ArgumentParser:
    """The flags, and a description of what comes out."""
    parser = argparse.ArgumentParser(
        description=_HELP, epilog=_EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("song", type=Path, metavar="SONG", help="a file that libsndfile or ffmpeg reads")
    parser.add_argument(
        "--stems", type=Path, metavar="DIR", help="the true stems, DIR/drums.wav, ... (default: those beside SONG)"
    )
    parser.add_argument("--model", default="live-23-small", metavar="NAME|PATH", help="causal (default %(default)s)")
    offline = parser.add_mutually_exclusive_group()
    offline.add_argument("--offline", metavar="NAME|PATH", help="offline model (default: htdemucs, if it was pulled)")
    offline.add_argument("--no-offline", action="store_true", help="leave the offline model out")
    parser.add_argument(
        "-o", "--out", type=Path, default=Path("compared"), metavar="OUT", help="folder (default %(default)s)"
    )
    parser.add_argument("--seconds", type=positive_float, metavar="N", help="only the first N seconds")
    parser.add_argument(
        "--chunk", type=positive_int, default=1, metavar="N", help="hops a streaming step (default 1, as live)"
    )
    parser.add_argument("--device", default="cpu", help="cpu, cuda, ... (default %(default)s)")
    parser.add_argument("--no-picture", action="store_true", help="no compare.png, which needs matplotlib")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the comparison; returns 0, or 1 after telling in one sentence what the user can mend."""
    args = build_parser().parse_args(argv)
    try:
        compare(args)
    except StreamsepError as error:
        print(f"compare_streaming_offline: error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("compare_streaming_offline: interrupted", file=sys.stderr)
        return 130
    return 0


def compare(args: argparse.Namespace) -> None:
    """Run all systems, print the tables and write OUT/compare.json and OUT/compare.png, both or none."""
    from streamsep.evaluation.compare_report import format_tables, six_digits
    from streamsep.evaluation.pictures import require_matplotlib
    from streamsep.files import plain, staged

    if not args.no_picture:
        require_matplotlib()
    paths = [args.out / "compare.json"] + [args.out / "compare.png"] * (not args.no_picture)
    with tempfile.TemporaryDirectory(prefix="streamsep-") as scratch:
        material = _gather(args, Path(scratch))
        # The files are made first: a folder that cannot be written is better known before the work than after it.
        with staged(paths) as temporaries:
            results = [_run(task, material) for task in material.tasks]
            if results[0].cost.weights != results[1].cost.weights:
                raise StreamsepError(f"the weights of {args.model} changed meanwhile; compare a copy of them")
            facts = _facts(material, results)
            temporaries[0].write_text(
                json.dumps(plain(facts, six_digits), indent=2, ensure_ascii=False) + "\n", encoding="utf-8"
            )
            if not args.no_picture:
                _draw(material, results, temporaries[1])
    about = f"true stems from {material.folder}" if material.folder else "no true stems are known"
    print(f"{args.song}: {len(material.mix) / material.rate:.1f} s at {material.rate} Hz, {about}\n")
    print(format_tables(facts), "", *paths, sep="\n")


def _gather(args: argparse.Namespace, scratch: Path) -> Material:
    """Read the song and its stems, and look at the models, before any work is done."""
    from streamsep.evaluation.compare import Task

    device = str(pick_device(args.device))
    causal = _load(args.model, streaming=True)
    rate, sources = int(causal.sample_rate), tuple(causal.sources)
    offline = _find_offline(args, rate, sources)
    mix = _read(args.song, rate)
    mix = mix[: max(1, round(args.seconds * rate))] if args.seconds else mix
    stems = _find_stems(args, sources)
    truth = _read_stems(stems, rate, mix) if stems else None
    path = scratch / "mix"
    mix.tofile(path)
    stream = Task(
        "stream", args.model, sources, path, scratch / "stream", len(mix), args.chunk, device, sys.stderr.isatty()
    )
    short = min(len(mix), round(PASS_SECONDS * rate))
    tasks = [stream, replace(stream, way="full pass", out=scratch / "pass", frames=short)]
    if offline is not None:
        tasks.append(replace(stream, way="offline", model=offline, out=scratch / "offline"))
    folder = stems[0].parent if stems else None
    return Material(args.song, rate, mix, truth, folder, tasks, int(causal.latency + causal.hop))


def _load(name: str, streaming: bool) -> Any:
    from streamsep.models.registry import load_model
    from streamsep.models.separator import Separator

    model = load_model(name)
    if isinstance(model, Separator) != streaming:
        kind, flag = ("an offline", "--model") if streaming else ("a streaming", "--offline")
        raise StreamsepError(f"{name} is {kind} model; choose another {flag}")
    return model


def _find_offline(args: argparse.Namespace, rate: int, sources: tuple[str, ...]) -> str | None:
    """The offline model, if one is named or installed and not left out; it must fit the causal one."""
    from streamsep.models.registry import default_model

    name = args.offline
    if name is None:
        try:
            name = None if args.no_offline else default_model("offline")
        except StreamsepError as absent:
            print(f"without an offline model: {absent}", file=sys.stderr)
    if name is None:
        return None
    model = _load(name, streaming=False)
    if model.sample_rate != rate or not set(sources) <= set(model.sources):
        raise StreamsepError(
            f"{name} gives {', '.join(model.sources)} at {model.sample_rate} Hz and {args.model} "
            f"{', '.join(sources)} at {rate} Hz; choose models that agree"
        )
    return str(name)


def _find_stems(args: argparse.Namespace, sources: tuple[str, ...]) -> list[Path]:
    """The files of the true stems in the folder named or beside the song; none where the latter lacks one."""
    folder, song = args.stems or args.song.parent, args.song.resolve()
    found = []
    for name in sources:
        files = [folder / f"{name}{suffix}" for suffix in _SUFFIXES]
        files = [file for file in files if file.is_file() and file.resolve() != song]
        if files:
            found.append(files[0])
        elif args.stems:
            raise StreamsepError(f"there is no {name}.wav, .flac, .ogg or .mp3 in {folder}; check --stems")
        else:
            return []
    return found


def _read(path: Path, rate: int) -> Waves:
    """A file as `[T, 2]` at `rate`; what is not finite counts as silence."""
    import numpy as np

    from streamsep.files import read_audio, resample, to_stereo

    samples, own = read_audio(path)
    stereo = resample(to_stereo(np.where(np.isfinite(samples), samples, np.float32(0))), own, rate)
    return np.ascontiguousarray(stereo.T)


def _read_stems(files: list[Path], rate: int, mix: Waves) -> Waves:
    """The stems `[T, S, 2]`, cut or filled to the song; warns where they are not of this song."""
    import numpy as np
    import torch

    from streamsep.evaluation.metrics import sdr

    truth = np.zeros((len(mix), len(files), 2), np.float32)
    for index, file in enumerate(files):
        stem = _read(file, rate)[: len(mix)]
        truth[: len(stem), index] = stem
    near = sdr(torch.from_numpy(mix), torch.from_numpy(truth.sum(1)))
    if near < 10:
        print(f"warning: the true stems add up to the song only to {near:.1f} dB; are they its own?", file=sys.stderr)
    return truth


def _run(task: Task, material: Material) -> Result:
    from streamsep.evaluation.compare import run_apart, score
    from streamsep.evaluation.compare_report import Result

    cost = run_apart(task)
    scores: dict[str, dict[str, float]] = {}
    if material.truth is not None and task.frames == len(material.mix):
        scores = score(material.truth, task.stems(), material.mix, task.sources)
    return Result(task, cost, material.latency if task.way == "stream" else None, scores)


def _facts(material: Material, results: list[Result]) -> dict[str, Any]:
    from streamsep.evaluation.compare_report import difference_facts, system_facts

    return {
        "song": str(material.song),
        "true_stems": None if material.folder is None else str(material.folder),
        "sample_rate": material.rate,
        "sources": list(material.tasks[0].sources),
        "device": material.tasks[0].device,
        "cpu_threads": 1,
        "systems": {result.task.way: system_facts(result, material.rate) for result in results},
        "differences": difference_facts(results, material.rate),
    }


def _draw(material: Material, results: list[Result], path: Path) -> None:
    """Stream, offline and truth; the full pass would look like the stream."""
    from streamsep.evaluation.pictures import Column, draw

    columns = []
    for result in (each for each in results if each.task.way != "full pass"):
        notes = {stem: f"SDR {row['sdr']:.1f} dB" for stem, row in result.scores.items()}
        wait = "hears it all" if result.latency is None else f"{1000 * result.latency / material.rate:.1f} ms"
        columns.append(Column(f"{result.task.way}: {_short(result.task.model)} ({wait})", result.task.stems(), notes))
    sources = material.tasks[0].sources
    if material.truth is not None:
        columns.append(Column("truth", material.truth))
    draw(columns, sources, material.rate, _short(material.song.resolve()), path)


def _short(path: str | Path) -> str:
    """The last folder and the name: a checkpoint called `last` and a song called `mix` say little alone."""
    path = Path(path)
    return str(Path(path.parent.name) / path.stem)


if __name__ == "__main__":
    sys.exit(main())
