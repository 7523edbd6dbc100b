"""What a process of a comparison does: one system on one song, or the end of a song. Its result is one small file."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from streamsep.errors import StreamsepError
from streamsep.evaluation.diagnosis import diagnose
from streamsep.evaluation.material import Material, Wanted, prepare
from streamsep.evaluation.measures.difference import difference
from streamsep.evaluation.measures.song import Sounds, measure, measure_briefly
from streamsep.evaluation.separation import Ran, Task, separate
from streamsep.evaluation.songs import SongFiles
from streamsep.evaluation.systems import MODEL_WAYS, Look
from streamsep.files import staged

Facts = dict[str, Any]
_MIB = 1 << 20


@dataclass(frozen=True)
class Listening:
    """What the report shows of a song in sound and picture.

    Attributes:
        heads: (layer, head) pairs whose attention is drawn; empty for none.
    """

    heads: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True)
class SystemJob:
    """One system on one song.

    Attributes:
        key: what the result depends on, in short; written into it.
        work: folder of the song's raw files.
        result: the file to be; excerpts go into the folder of the same name without its ending.
        listening: None for figures alone.
        brief: measure only what adds up by second (needs true stems).
        compared: whether its stems are held against other systems' at the end of the song.
    """

    look: Look
    song: SongFiles
    wanted: Wanted
    key: str
    work: Path
    result: Path
    listening: Listening | None = None
    progress: bool = False
    brief: bool = False
    compared: bool = True

    @property
    def estimate(self) -> Path:
        """The raw stems."""
        return self.work / f"{self.result.stem}.stems"

    def done(self) -> bool:
        """Whether the result is there, and of these settings."""
        return read_result(self.result).get("key") == self.key

    def material(self) -> Material:
        """The prepared song."""
        return prepare(self.song, self.wanted, self.work)

    def task(self, material: Material) -> Task:
        """The separation itself."""
        return Task(self.look.system, material, self.estimate, self.progress)


def prepare_song(song: SongFiles, wanted: Wanted, work: Path) -> Material:
    """Bring a song into raw files."""
    return prepare(song, wanted, work)


def run_system(job: SystemJob) -> None:
    """Separate, measure, and write the result."""
    material = job.material()
    task = job.task(material)
    ran = separate(task)
    whole = task.frames == material.frames
    facts: Facts = {
        "key": job.key,
        "system": job.look.system.name,
        "cost": cost_facts(task, ran),
        "latency_declared_ms": _milliseconds(job.look.latency, material.rate),
        "latency_heard_ms": _milliseconds(ran.latency, material.rate),
        "weights": ran.cost.weights,
        "stems": {},
        "warnings": [],
    }
    if job.brief:
        facts["stems"] = measure_briefly(_sounds(job.look, material, task))
    elif whole:
        facts["stems"] = measure(_sounds(job.look, material, task))
        facts["warnings"] = diagnose(facts["stems"], material.rate, material.frames) + _latency_warnings(facts)
    if job.listening is not None and whole:
        facts["excerpt"] = _excerpts(job, material, task)
    _write(job.result, facts)


def _sounds(look: Look, material: Material, task: Task) -> Sounds:
    hop = look.hop
    offset = hop - look.latency if hop is not None and look.latency is not None else 0
    return Sounds(material.sources, task.stems(), material.mix(), material.truth(), material.rate, hop, offset)


def _latency_warnings(facts: Facts) -> list[dict[str, str]]:
    heard, declared = facts["latency_heard_ms"], facts["latency_declared_ms"]
    if heard is None or declared is None or abs(heard - declared) < 0.01:
        return []
    return [{"stem": "", "kind": "latency", "text": f"an impulse comes {heard:.1f} ms late, not {declared:.1f} ms"}]


def _excerpts(job: SystemJob, material: Material, task: Task) -> Facts:
    from streamsep.evaluation.report.excerpts import write_excerpts

    assert job.listening is not None
    return write_excerpts(task, material, job.result.with_suffix(""), job.listening.heads)


def _milliseconds(samples: int | None, rate: int) -> float | None:
    return None if samples is None else 1000 * samples / rate


def cost_facts(task: Task, ran: Ran) -> Facts:
    """Costs: ratios as they are, memory in MiB."""
    cost, rate = ran.cost, task.material.rate
    memory = {"start": cost.start_memory, "peak": cost.peak_memory, "device_peak": cost.device_memory}
    return {
        "seconds_of_sound": task.frames / rate,
        "seconds_of_work": cost.seconds,
        "real_time_factor": cost.seconds * rate / task.frames,
        "cpu_time_factor": cost.cpu_seconds * rate / task.frames,
        "memory_mib": {name: size / _MIB for name, size in memory.items() if size is not None},
    }


@dataclass(frozen=True)
class SongJob:
    """The end of a song: its systems side by side, while their stems are still there."""

    song: SongFiles
    systems: Sequence[SystemJob]
    key: str
    result: Path

    @property
    def reference(self) -> Path:
        """Folder of the excerpts of mixture and truth."""
        return self.result.with_suffix("")

    def done(self) -> bool:
        """Whether the result is there, and of these settings."""
        return read_result(self.result).get("key") == self.key


def finish_song(job: SongJob) -> None:
    """Write what is known of the song itself, and the differences between its systems.

    Raises:
        StreamsepError: one model ran with two different sets of weights.
    """
    material = job.systems[0].material()
    done = [system for system in job.systems if system.done() and system.estimate.is_file()]
    _check_weights([system for system in job.systems if system.done()])
    start, length = material.excerpt
    facts = {
        "key": job.key,
        "name": job.song.name,
        "seconds": material.frames / material.rate,
        "true_stems": {name: str(path) for name, path in job.song.stems.items()} or None,
        "mix": str(job.song.mix) if job.song.mix else None,
        "excerpt": [start / material.rate, length / material.rate],
        "notes": list(material.notes),
        "differences": [_difference(*pair, material) for pair in _pairs(done)],
    }
    if job.systems[0].listening is not None:
        from streamsep.evaluation.report.excerpts import write_reference

        facts["reference"] = write_reference(material, job.reference)
    _write(job.result, facts)


def _check_weights(jobs: Sequence[SystemJob]) -> None:
    seen: dict[str, int] = {}
    for job in jobs:
        if job.look.system.way in MODEL_WAYS:
            weights = read_result(job.result)["weights"]
            if seen.setdefault(job.look.system.what, weights) != weights:
                raise StreamsepError(f"the weights of {job.look.system.what} changed meanwhile; compare a copy of them")


def _pairs(jobs: Sequence[SystemJob]) -> list[tuple[SystemJob, SystemJob]]:
    """The first model against each other one, and every other stream against the first offline model."""
    models = [job for job in jobs if job.compared]
    pairs = [(models[0], other) for other in models[1:]]
    offline = next((job for job in models if job.look.system.way == "offline"), None)
    streams = [job for job in models[1:] if job.look.system.way in ("stream", "sliding")]
    return pairs + [(job, offline) for job in streams if offline is not None]


def _difference(one: SystemJob, other: SystemJob, material: Material) -> Facts:
    tasks = one.task(material), other.task(material)
    return {
        "of": one.look.system.name,
        "against": other.look.system.name,
        "seconds_of_sound": min(task.frames for task in tasks) / material.rate,
        "stems": difference(tasks[0].stems(), tasks[1].stems(), material.sources, material.rate),
    }


def read_result(path: Path) -> Facts:
    """A result file; empty where there is none that is whole."""
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return facts if isinstance(facts, dict) else {}


def six_digits(value: Any) -> Any:
    """The same data with measured numbers cut to the digits that mean something."""
    if isinstance(value, float):
        return float(f"{value:.6g}")
    if isinstance(value, dict):
        return {key: six_digits(item) for key, item in value.items()}
    return [six_digits(item) for item in value] if isinstance(value, list | tuple) else value


def _write(path: Path, facts: Facts) -> None:
    """Infinite values stay what they are here: an SDR of inf is a perfect stem, and no missing one."""
    with staged([path]) as (temporary,):
        temporary.write_text(json.dumps(six_digits(facts), ensure_ascii=False), encoding="utf-8")
