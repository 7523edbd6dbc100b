"""Render songs to train on: `python tools/render_songs.py --out songs --count 100 --instruments ... --voice ...`.

Each song becomes a folder `NNNNNN` of drums, bass, other and vocals (Ogg Vorbis) with its record, song.json; a song
that is there is not made again, so an interrupted run goes on where it was. `streamsep train --data` reads the folder.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from streamsep.cli.options import positive_float, positive_int
from streamsep.config import config_folder
from streamsep.errors import StreamsepError, telling
from streamsep.files import check_folder
from streamsep.training.songs.midi_songs import midi_files
from streamsep.training.songs.rendering import RECORD, Maker, write_song
from streamsep.training.songs.singing import Singers
from streamsep.training.songs.sources import open_studio, read_songs_config
from streamsep.training.songs.voices import open_voices, read_voices


@dataclass(frozen=True)
class Order:
    """What is asked for: plain data, so that it reaches other processes."""

    config: Path
    out: Path
    instruments: Path | None
    voice: Path | None
    midi: Path | None
    soundfont: Path
    cache: Path
    length: float
    sung: bool


_makers: dict[Order, Maker] = {}


def open_maker(order: Order) -> Maker:
    """All that the songs are made from, opened once a process."""
    if order not in _makers:
        config = read_songs_config(order.config)
        studio = open_studio(config, order.instruments, order.soundfont)
        singers = None
        if order.sung:
            voices = read_voices(config_folder("songs") / "voices.yaml")
            names = [name for name in voices.names(test=config.test) if order.voice or name not in voices.recorded]
            singers = Singers(open_voices(names, voices, order.voice, order.cache, quiet=True))
        midi = midi_files(order.midi, config.midi) if order.midi else ()
        if order.midi and not midi:
            raise StreamsepError(
                f"{order.midi} holds none of the MIDI songs that {order.config} names; list yours there, or leave out "
                "--midi"
            )
        _makers[order] = Maker(config, studio, singers, midi, order.length)
    return _makers[order]


def check_records(out: Path, wanted: Iterable[int], material: str) -> None:
    """Refuse to go on with a folder of songs that would be others now.

    Raises:
        StreamsepError: a song in `out` was made from something else, or its record cannot be read.
    """
    for record in (out / f"{index:06d}" / RECORD for index in wanted):
        try:
            known = json.loads(record.read_text(encoding="utf-8")) if record.exists() else {"material": material}
        except ValueError:
            raise StreamsepError(f"{record} is damaged; remove {record.parent}") from None
        if not isinstance(known, dict) or known.get("material") != material:
            raise StreamsepError(
                f"{record.parent} was made by other settings, of other material or by another version; "
                "choose another --out"
            )


def render(job: tuple[Order, int]) -> tuple[int, float, str]:
    """Make one song; returns its number, its seconds, and what went wrong or ""."""
    order, index = job
    try:
        stems, record = open_maker(order).make(index)
        write_song(stems, record, order.out / f"{index:06d}")
    except Exception as error:  # one song of thousands must not end a night's run; it is listed
        return index, 0.0, f"{type(error).__name__}: {error}"
    return index, float(record["length"]), ""


def rendered(jobs: list[tuple[Order, int]], processes: int) -> Iterator[tuple[int, float, str]]:
    """What `render` gives, as the songs are finished.

    Raises:
        StreamsepError: the system ended one of the processes.
    """
    if processes == 1:
        yield from map(render, jobs)
        return
    # Spawned, so that no process shares a synthesiser with another.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, context, _obey_parent) as pool:
        try:
            for done in as_completed([pool.submit(render, job) for job in jobs]):
                yield done.result()
        except BrokenProcessPool:
            raise StreamsepError(
                "a process was ended by the system, as when memory is short; the same command with fewer --jobs goes on"
            ) from None
        except BaseException:  # an interruption; the songs at work are made anew by the next run
            for process in multiprocessing.active_children():
                process.terminate()
            raise


def _obey_parent() -> None:
    """Ctrl-C ends a process without a word, and so does the end of the one that started it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    parent = multiprocessing.parent_process()

    def wait_and_end() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=wait_and_end, daemon=True).start()


@telling("render_songs")
def main() -> int:
    """Render what is missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    songs = config_folder("songs")
    parser.add_argument(
        "--config", type=Path, default=songs / "train.yaml", help="what may be used (default train.yaml)"
    )
    parser.add_argument("--out", type=Path, required=True, help="folder that the songs are written into")
    parser.add_argument("--count", type=positive_int, default=10, help="songs (default %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="number of the first song (default %(default)s)")
    parser.add_argument(
        "--length", type=positive_float, default=45.0, help="seconds of a song, about (default %(default)s)"
    )
    parser.add_argument("--jobs", type=positive_int, default=1, help="processes (default %(default)s)")
    parser.add_argument("--instruments", type=Path, help="folder of sampled instruments and kits")
    parser.add_argument("--voice", type=Path, help="folder whose folders hold solo voice recordings")
    parser.add_argument("--midi", type=Path, help="folder of MIDI songs")
    parser.add_argument(
        "--soundfont", type=Path, default=Path("/usr/share/sounds"), help="a soundfont, or their folder"
    )
    parser.add_argument("--cache", type=Path, default=Path("runs/voices"), help="analysed voices (default %(default)s)")
    parser.add_argument("--instrumental", action="store_true", help="no vocals")
    args = parser.parse_args()
    for flag in ("instruments", "voice", "midi"):
        folder = getattr(args, flag)
        if folder is not None:
            check_folder(folder, f"correct --{flag}, or leave it out")
    order = Order(args.config, args.out, args.instruments, args.voice, args.midi, args.soundfont, args.cache,
    args.length,
                  not args.instrumental)  # fmt: skip
    wanted = range(args.seed, args.seed + args.count)
    jobs = [(order, index) for index in wanted if not (args.out / f"{index:06d}" / RECORD).exists()]
    if args.seed < 0:
        parser.error(f"--seed {args.seed} must be 0 or more")
    try:
        args.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StreamsepError(f"cannot write into {args.out} ({error.strerror}); choose another --out") from None
    # What is missing is told once, and before any process starts.
    check_records(args.out, wanted, open_maker(order).material)
    results = list(tqdm(rendered(jobs, args.jobs), total=len(jobs), desc="songs", unit="song"))
    failed = [(index, problem) for index, _, problem in results if problem]
    for index, problem in failed:
        print(f"render_songs: song {index:06d} failed: {problem}", file=sys.stderr)
    minutes = sum(seconds for _, seconds, _ in results) / 60
    print(f"{len(jobs) - len(failed)} songs, {minutes:.1f} minutes, in {args.out}")
    return 1 if failed else 0


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    sys.exit(main())
