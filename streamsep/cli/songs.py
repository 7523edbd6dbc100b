"""One song to its stems on disk: what `streamsep separate` does for each of its files."""

from __future__ import annotations

import string
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NoReturn

import numpy as np
import torch
from tqdm import tqdm

from streamsep.cli.options import track_name
from streamsep.engine.session import INPUT_LIMIT
from streamsep.errors import StreamsepError
from streamsep.files import (
    ClipMode,
    Codec,
    Samples,
    encode,
    from_stereo,
    prevent_clipping,
    read_audio,
    real_path,
    resample,
    staged,
    to_stereo,
)
from streamsep.models.apply import apply_levelled
from streamsep.models.streaming import separate_stream

_BAR = "{desc} {percentage:3.0f}% |{bar}| {n:.1f}/{total:.1f} s of music [{elapsed}<{remaining}]"


@dataclass(frozen=True)
class Output:
    """Where stems go and how they are coded; `template` knows {track}, {trackext}, {stem} and {ext}."""

    folder: Path
    template: str = "{track}/{stem}.{ext}"
    codec: Codec = field(default_factory=Codec)
    clip: ClipMode = "rescale"

    def path(self, song: Path, stem: str) -> Path:
        """The file of one stem.

        Raises:
            StreamsepError: the template has an unknown field.
        """
        fields = {"track": track_name(song), "trackext": song.suffix[1:], "stem": stem, "ext": self.codec.format}
        try:
            # Plain fields only: a width could ask for any amount of memory.
            parts = list(string.Formatter().parse(self.template))
            plain = all(name is None or (name in fields and not spec and not turn) for _, name, spec, turn in parts)
        except ValueError:
            plain = False
        if not plain:
            known = ", ".join(f"{{{key}}}" for key in fields)
            raise StreamsepError(f"--filename {self.template!r} is not a template; its fields are {known}")
        return self.folder / self.template.format(**fields)


@dataclass(frozen=True)
class TwoStems:
    """One stem and the rest: `minus` subtracts it from the song, `add` sums the other stems, `none` leaves it out."""

    stem: str
    rest: Literal["minus", "add", "none"] = "add"

    def names(self) -> list[str]:
        """The names of the files, the chosen stem first."""
        return [self.stem] + {"minus": [f"minus_{self.stem}"], "add": [f"no_{self.stem}"], "none": []}[self.rest]

    def choose(self, stems: dict[str, Samples], song: Samples) -> list[Samples]:
        """What goes into the files of `names`."""
        chosen = stems[self.stem]
        if self.rest == "none":
            return [chosen]
        others = [stem for name, stem in stems.items() if name != self.stem]
        return [chosen, song - chosen if self.rest == "minus" else np.sum(others, axis=0, dtype=np.float32)]


@dataclass(frozen=True)
class Job:
    """What is the same for all songs of one run.

    Attributes:
        model: a streaming separator, or an offline model.
        streaming: which of the two it is.
        two_stems: None for a file for each of the model's stems.
        offline: what goes on to `apply_model`: shifts, overlap, segment, split, precision, batch, workers.
    """

    model: Any
    streaming: bool
    device: torch.device
    output: Output
    two_stems: TwoStems | None = None
    offline: dict[str, Any] = field(default_factory=dict)

    def names(self) -> list[str]:
        """The names of the stems that are written."""
        return self.two_stems.names() if self.two_stems else list(self.model.sources)

    def paths(self, song: Path) -> list[Path]:
        """The files of one song, in the order of `names`."""
        return [self.output.path(song, name) for name in self.names()]


class Cancelled(Exception):
    """The run was interrupted while this song was being separated."""


@dataclass(frozen=True)
class Report:
    """What became of one song.

    Attributes:
        files: the stems on disk.
        seconds: length of the song.
        elapsed: seconds it took, reading and writing included.
        repaired: samples of the song that were not finite and count as silence.
        clamped: samples beyond `INPUT_LIMIT`, brought down to it.
    """

    files: list[Path]
    seconds: float
    elapsed: float
    repaired: int
    clamped: int


def refuse_collisions(job: Job, songs: Sequence[Path]) -> None:
    """Raise StreamsepError where two stems would go to one file, or a stem over one of the songs."""
    inputs = {real_path(song) for song in songs}
    taken: set[Path] = set()
    for song in dict.fromkeys(songs):
        for path in job.paths(song):
            place = real_path(path)
            if place in inputs:
                raise StreamsepError(f"{path} is one of the songs and would be overwritten; choose another -o")
            if place in taken:
                raise StreamsepError(f"{path} would be written twice; tell songs and stems apart with --filename")
            taken.add(place)


def separate_song(job: Job, song: Path, cancel: threading.Event, position: int = 0) -> Report:
    """Read, separate and write one song.

    The stems have the song's rate, length and, for mono, its one channel; a song in 5.1 gives stereo stems.

    Args:
        cancel: when set from another thread, the song is given up after the chunk or segment in work.
        position: row of the progress bar.

    Raises:
        StreamsepError: the song cannot be read, or its stems cannot be written.
        Cancelled: `cancel` was set meanwhile.
    """
    started = time.perf_counter()
    samples, rate = read_audio(song)
    job.output.codec.check_rate(rate)
    finite = np.isfinite(samples)
    stereo = to_stereo(np.where(finite, samples, np.float32(0)))
    clamped = int((np.abs(stereo) > INPUT_LIMIT).any(axis=0).sum())
    stereo = stereo.clip(-INPUT_LIMIT, INPUT_LIMIT)
    paths = job.paths(song)
    # The files are made first: a folder that cannot be written is better known before the work than after it.
    with staged(paths) as temporaries:
        bar = tqdm(desc=song.name, total=stereo.shape[1] / rate, bar_format=_BAR, position=position, disable=None)
        with bar:
            stems = _separate(job, stereo, rate, _follow(bar, cancel))
        chosen = job.two_stems.choose(stems, stereo) if job.two_stems else list(stems.values())
        for path, stem in zip(temporaries, chosen, strict=True):
            fitting = prevent_clipping(from_stereo(stem, len(samples)), job.output.clip)
            encode(path, fitting, rate, job.output.codec)
    repaired = int(finite.size - finite.sum())
    return Report(paths, stereo.shape[1] / rate, time.perf_counter() - started, repaired, clamped)


def _separate(job: Job, stereo: Samples, rate: int, progress: Callable[[float], None]) -> dict[str, Samples]:
    """Stems of `stereo [2, T]` by name, each `[2, T]` at `rate`, by way of the model's own rate."""
    own = job.model.sample_rate
    mix = torch.from_numpy(resample(stereo, rate, own))[None]

    def follow(samples: int) -> None:
        progress(samples / own)

    try:
        if job.streaming:
            sources = separate_stream(job.model, mix, progress=follow, device=job.device)
        else:
            sources = apply_levelled(job.model, mix, device=job.device, follow=follow, **job.offline)
    except torch.OutOfMemoryError:
        raise StreamsepError(
            f"{job.device} has too little memory; try --batch 1, a shorter --segment or --device cpu"
        ) from None
    return {
        name: resample(stem.numpy(), own, rate, stereo.shape[1])
        for name, stem in zip(job.model.sources, sources[0], strict=True)
    }


def _follow(bar: tqdm[NoReturn], cancel: threading.Event) -> Callable[[float], None]:
    """A function that moves the bar to a number of seconds, and gives up when `cancel` is set."""

    def follow(seconds: float) -> None:
        if cancel.is_set():
            raise Cancelled
        bar.update(seconds - bar.n)

    return follow
