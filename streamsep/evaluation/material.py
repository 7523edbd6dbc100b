"""A song made ready: its mixture and true stems as raw samples in a folder, and the excerpt that is to be heard."""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from streamsep.errors import StreamsepError
from streamsep.evaluation.metrics import StemTotals
from streamsep.evaluation.songs import SongFiles, length_of, read_pieces, write_raw, write_stems

Waves = NDArray[np.float32]
_PIECE = 1 << 18


@dataclass(frozen=True)
class Material:
    """A prepared song.

    Attributes:
        frames: samples.
        sources: the stems, in their order.
        has_truth: whether true stems are known.
        excerpt: (first sample, samples) of what the report lets one hear.
        notes: what is odd about the song, in words.
    """

    folder: Path
    frames: int
    rate: int
    sources: tuple[str, ...]
    has_truth: bool
    excerpt: tuple[int, int] = (0, 0)
    notes: tuple[str, ...] = ()

    def mix(self) -> Waves:
        """`[T, 2]`, mapped from its file."""
        return np.memmap(self.folder / "mix", np.float32, "r", shape=(self.frames, 2))

    def truth(self) -> Waves | None:
        """`[T, S, 2]`, mapped from its file."""
        shape = (self.frames, len(self.sources), 2)
        return np.memmap(self.folder / "truth", np.float32, "r", shape=shape) if self.has_truth else None


@dataclass(frozen=True)
class Wanted:
    """How songs are made ready.

    Attributes:
        sources, rate: of the models.
        seconds: only the first of a song; None for all.
        excerpt: seconds to hear; where they begin, or None for where most is going on.
    """

    sources: tuple[str, ...]
    rate: int
    seconds: float | None = None
    excerpt: float = 10.0
    start: float | None = None


def prepare(song: SongFiles, wanted: Wanted, folder: Path) -> Material:
    """Write the raw files of a song into `folder`, unless they are there already.

    Raises:
        StreamsepError: a file that cannot be read, or the disk is full.
    """
    done = folder / "material.json"
    if done.is_file():
        facts = json.loads(done.read_text(encoding="utf-8"))
        return Material(folder, facts["frames"], wanted.rate, wanted.sources, facts["has_truth"],
                        tuple(facts["excerpt"]), tuple(facts["notes"]))  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    limit = None if wanted.seconds is None else max(1, round(wanted.seconds * wanted.rate))
    try:
        with _told() as told:
            material = _write(song, wanted, folder, limit)
        material = replace(material, notes=(*material.notes, *told))
        facts = {key: value for key, value in asdict(material).items() if key != "folder"}
        part = done.with_suffix(".part")
        part.write_text(json.dumps(facts), encoding="utf-8")
        part.replace(done)
    except OSError as error:
        raise StreamsepError(f"cannot write into {folder} ({error.strerror}); choose another folder with -o") from None
    return material


@contextlib.contextmanager
def _told() -> Iterator[dict[str, None]]:
    """What the package warns of meanwhile, as of a file that is cut short; each sentence once."""
    texts: dict[str, None] = {}
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: texts.update({record.getMessage(): None})  # type: ignore[method-assign]
    logger = logging.getLogger("streamsep")
    logger.addHandler(handler)
    try:
        yield texts
    finally:
        logger.removeHandler(handler)


def _write(song: SongFiles, wanted: Wanted, folder: Path, limit: int | None) -> Material:
    files = [song.stems.get(name) for name in wanted.sources]
    if song.rest is not None:
        raise StreamsepError(
            f"{song.rest} holds several stems in one, and a comparison needs each by itself; leave {song.name} out, or "
            "use streamsep evaluate without --out"
        )
    rate, notes = wanted.rate, []
    if song.mix is not None:
        frames = write_raw(folder / "mix", read_pieces(song.mix, rate), limit)
    else:
        frames = min(length_of(list(song.stems.values()), rate), limit or 1 << 62)
    if not frames:
        raise StreamsepError(f"{song.name} holds no sound; leave it out")
    material = Material(folder, frames, rate, wanted.sources, bool(song.stems))
    if song.stems:
        write_stems(files, rate, folder / "truth", frames)
        if song.mix is None:
            write_raw(folder / "mix", (piece for piece, _ in _sums(material)), None)
        elif (near := _nearness(material)) < 10:
            notes.append(f"the true stems add up to the song only to {near:.1f} dB; are they its own?")
    length = min(frames, round(wanted.excerpt * rate))
    start = _busiest(material, length) if wanted.start is None else round(wanted.start * rate)
    excerpt = (max(0, min(start, frames - length)), length)
    return Material(folder, frames, rate, wanted.sources, bool(song.stems), excerpt, tuple(notes))


def _sums(material: Material) -> Iterator[tuple[Waves, slice]]:
    """The sum of the true stems, piece by piece, and its place."""
    truth = material.truth()
    assert truth is not None
    for start in range(0, material.frames, _PIECE):
        place = slice(start, start + _PIECE)
        yield truth[place].sum(1), place


def _nearness(material: Material) -> float:
    import torch

    mix, totals = material.mix(), StemTotals()
    for total, place in _sums(material):
        song = torch.from_numpy(mix[place].T.copy())
        totals.update(song, torch.from_numpy(total.T.copy()), song)
    return totals.sdr


def _busiest(material: Material, length: int) -> int:
    """Start of the excerpt in which as many stems as possible are as loud as they get, to half a second."""
    truth, step = material.truth(), max(1, material.rate // 2)
    sound = material.mix()[:, None] if truth is None else truth
    energy = np.stack([np.square(sound[at : at + step], dtype=np.float64).sum((0, 2))
                       for at in range(0, material.frames, step)])  # fmt: skip
    span = max(1, min(length // step, len(energy)))
    sums = np.cumsum(np.concatenate([np.zeros((1, energy.shape[1])), energy]), axis=0)
    windows = sums[span:] - sums[:-span]
    score = np.log10(windows / np.maximum(windows.max(axis=0), 1e-12) + 1e-3).sum(axis=1)
    return int(score.argmax()) * step
