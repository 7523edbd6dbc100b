"""A comparison: every system on every song, each result a small file, so that a run that was killed goes on.

    OUT/songs/SONG/SYSTEM.json   what one system did on one song
    OUT/songs/SONG/SYSTEM/       its excerpts, of songs that the report lets one hear
    OUT/songs/SONG/song.json     the end of a song: differences between systems
    OUT/work/                    raw samples of the songs at work; gone when all is done

A result is taken over if it was made with the same settings from files of the same size and date.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import threading
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from tqdm import tqdm

from streamsep.errors import StreamsepError
from streamsep.evaluation import apart
from streamsep.evaluation.jobs import (
    Listening,
    SongJob,
    SystemJob,
    finish_song,
    prepare_song,
    read_result,
    run_system,
)
from streamsep.evaluation.material import Wanted
from streamsep.evaluation.songs import SongFiles, find_stem
from streamsep.evaluation.systems import MODEL_WAYS, Look, distinct_names, fingerprint

Facts = dict[str, Any]
FORMAT = 3  # of the results: another number, and all is measured anew


@dataclass(frozen=True)
class Plan:
    """What is compared.

    Attributes:
        listen: how many of the songs, from the first on, are heard and seen in the report.
        listening: what is shown of these.
        jobs: processes at a time.
        progress: bars on stderr.
        brief: measure only what adds up by second, which is a third of the work.
        differences: tell how the stems of models differ, for which all of them must be there at the end of a song.
    """

    out: Path
    looks: Sequence[Look]
    songs: Sequence[SongFiles]
    wanted: Wanted
    listen: int = 3
    listening: Listening = field(default_factory=Listening)
    jobs: int = 1
    progress: bool = False
    brief: bool = False
    differences: bool = True


@dataclass(frozen=True)
class Failure:
    """What did not work: a song, one of its systems or None, and why."""

    song: str
    system: str | None
    reason: str


@dataclass(frozen=True)
class Outcome:
    """What came of a plan.

    Attributes:
        songs: for each song that came to its end, its facts with `results`, those of its systems by name.
        failures: everything that did not work.
    """

    songs: list[Facts]
    failures: list[Failure]


def compare(plan: Plan) -> Outcome:
    """Do what is left of the plan, and gather all results.

    Raises:
        StreamsepError: nothing came of any song.
    """
    songs = _songs_jobs(plan)
    failures: list[Failure] = []
    left = sum(len(song.systems) + 1 for song in songs)
    with tqdm(total=left, desc="results", unit="result", disable=not plan.progress) as bar:
        lock = threading.Lock()

        def tick(failure: Failure | None = None) -> None:
            with lock:
                bar.update()
                if failure is not None:
                    failures.append(failure)
                    bar.write(f"failed: {failure.song}, {failure.system or 'the song'}: {failure.reason}")

        inner = max(1, plan.jobs // max(1, len(songs)))
        apart.in_parallel(min(plan.jobs, len(songs)), (_song_step(song, inner, tick) for song in songs))
    outcome = Outcome([_gather(song) for song in songs if song.done()], sorted(failures, key=_order(songs)))
    if not any(song["results"] for song in outcome.songs):
        raise StreamsepError(failures[0].reason if failures else "no song was given; name one")
    if not failures:
        _clear(plan.out / "work", songs)
    return outcome


def _clear(work: Path, songs: Sequence[SongJob]) -> None:
    """Remove these songs' raw samples; whatever else lies there belongs to somebody else, or to another run."""
    for song in songs:
        shutil.rmtree(song.systems[0].work, ignore_errors=True)
    with contextlib.suppress(OSError):
        work.rmdir()


def _order(songs: Sequence[SongJob]) -> Callable[[Failure], tuple[int, str]]:
    places = {song.song.name: index for index, song in enumerate(songs)}
    return lambda failure: (places[failure.song], failure.system or "")


def _songs_jobs(plan: Plan) -> list[SongJob]:
    return [_song_job(plan, song, heard=index < plan.listen) for index, song in enumerate(_distinct(plan.songs))]


def _distinct(songs: Sequence[SongFiles]) -> list[SongFiles]:
    names = distinct_names(song.name for song in songs)
    return [replace(song, name=name) for song, name in zip(songs, names, strict=True)]


def _song_job(plan: Plan, song: SongFiles, heard: bool) -> SongJob:
    song_key = fingerprint([FORMAT, song.facts(), asdict(plan.wanted)])
    folder, work = plan.out / "songs" / slug(song.name), plan.out / "work" / fingerprint([song.name, song_key])
    listening = plan.listening if heard else None
    jobs = []
    for look in (_of_song(look, song, alone=len(plan.songs) == 1) for look in plan.looks):
        facts = [look.system.settings(), look.hop, look.latency, _folder_facts(look, plan.wanted.sources)]
        facts += [look.moves] * (look.moves is not None)
        key = fingerprint([song_key, *facts, listening and asdict(listening), plan.brief])
        jobs.append(
            SystemJob(
                look, song, plan.wanted, key, work, folder / f"{slug(look.system.name)}.json", listening,
                plan.progress and plan.jobs == 1, plan.brief,
                plan.differences and look.system.way in (*MODEL_WAYS, "stems"),
            )
        )  # fmt: skip
    key = fingerprint([song_key, [[job.look.system.name, job.key, job.compared] for job in jobs]])
    return SongJob(song, jobs, key, folder / "song.json")


def _of_song(look: Look, song: SongFiles, alone: bool) -> Look:
    """With the folder of this song's stems, where they were made elsewhere; those of a single song need none."""
    folder = Path(look.system.what)
    if look.system.way != "stems" or (alone and not (folder / song.name).is_dir()):
        return look
    return replace(look, system=replace(look.system, what=str(folder / song.name)))


def _folder_facts(look: Look, sources: Sequence[str]) -> Any:
    """Size and date of somebody else's stems."""
    if look.system.way != "stems":
        return None
    files = [path for name in sources if (path := find_stem(Path(look.system.what), name)) is not None]
    return [[str(path), path.stat().st_size, path.stat().st_mtime_ns] for path in files]


def slug(name: str) -> str:
    """A name fit for a file, different for different names, and never that of a song's own result."""
    plain = re.sub(r"[^A-Za-z0-9.-]+", "-", name).strip("-.")[:60]
    return plain if plain == name and name not in ("", "song") else f"{plain or 'x'}-{fingerprint(name)[:6]}"


def _song_step(job: SongJob, inner: int, tick: Callable[..., None]) -> Callable[[], None]:
    def step() -> None:
        if job.done() and all(system.done() for system in job.systems):
            for _ in range(len(job.systems) + 1):
                tick()
            return
        if reason := _attempt(prepare_song, job.song, job.systems[0].wanted, job.systems[0].work, name=job.song.name):
            tick(Failure(job.song.name, None, reason))
            return
        apart.in_parallel(inner, (_system_step(system, tick) for system in job.systems))
        reason = _attempt(finish_song, job, name=job.song.name)
        tick(Failure(job.song.name, None, reason) if reason else None)
        if not reason and all(system.done() for system in job.systems):
            shutil.rmtree(job.systems[0].work, ignore_errors=True)

    return step


def _system_step(job: SystemJob, tick: Callable[..., None]) -> Callable[[], None]:
    def step() -> None:
        name, reason = job.look.system.name, ""
        if not job.done() or (job.compared and not job.estimate.is_file()):
            reason = _attempt(run_system, job, name=f"{name} on {job.song.name}")
        tick(Failure(job.song.name, name, reason) if reason else None)

    return step


def _attempt(work: Callable[..., Any], *arguments: Any, name: str) -> str:
    """Do something in a process of its own; returns what went wrong, or nothing."""
    try:
        apart.run_apart(work, *arguments, name=name)
    except StreamsepError as error:
        return str(error)
    except Exception as error:  # a bug on one song must not cost the results of all others
        return f"{type(error).__name__}: {error}"
    return ""


def _gather(job: SongJob) -> Facts:
    results = {system.look.system.name: read_result(system.result) for system in job.systems if system.done()}
    for system in job.systems:
        if system.look.system.name in results:
            results[system.look.system.name]["folder"] = str(system.result.with_suffix(""))
    return read_result(job.result) | {"results": results, "folder": str(job.reference)}
