"""Records the mix and the stems to disk while they play.

A thread takes from two rings what callback and worker have written, so the audio never waits for the disk. A ring that
overflows is its writer's affair, who drops the sound and writes silence for it later: positions stay true.
"""

from __future__ import annotations

import contextlib
import itertools
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from streamsep.engine.ring import Audio, Ring
from streamsep.engine.tracks import Track, open_track
from streamsep.errors import StreamsepError
from streamsep.files import Codec

# Left free on the disk: a machine without any space fails in more places than here.
RESERVE = 64 << 20
_PAUSE = 0.05
_CHUNK_SECONDS = 0.1
_AWAY = 1.0  # seconds of the mix that wait for their stems when the worker is away, and not merely late
_CURE = "free some space or record into another folder"


class Recorder:
    """Writes FOLDER/DATE_TIME/{mix and every source}.{wav or flac}, all aligned to the sample and equally long.

    Args:
        mix: ring `[2]`, written by the audio callback: the input.
        stems: ring `[2 * S]`, written by the worker: a pair of channels for each source.
        sources: names of the stems.
        sample_rate: of both rings, in Hz.
        latency: frame i of the mix belongs to frame i + latency of the stems.
        folder: where the recording's own folder is made.
        codec: wav or flac.
        reserve: bytes that stay free on the disk.

    Attributes:
        error: why the recording ended by itself, as a sentence, or None.

    Raises:
        StreamsepError: a codec that cannot grow while it is written.
        ValueError: rings that do not fit, or that are shorter than the latency and two chunks of a tenth of a second.
    """

    def __init__(
        self,
        mix: Ring,
        stems: Ring,
        *,
        sources: tuple[str, ...],
        sample_rate: int,
        latency: int,
        folder: Path,
        codec: Codec,
        reserve: int = RESERVE,
    ) -> None:
        if codec.format == "mp3":
            raise StreamsepError("a recording is wav or flac, not mp3; choose one of them")
        codec.check_rate(sample_rate)
        self._chunk = max(1, round(_CHUNK_SECONDS * sample_rate))
        if (mix.channels, stems.channels) != (2, 2 * len(sources)):
            raise ValueError(f"{len(sources)} stems need rings of 2 and {2 * len(sources)} channels")
        if min(mix.capacity - latency, stems.capacity) < 2 * self._chunk:
            raise ValueError(f"the rings hold less than the latency and two chunks of {self._chunk} frames")
        self.error: str | None = None
        self._rings, self._names, self._latency = (mix, stems), ("mix", *sources), latency
        self._sample_rate, self._parent, self._codec, self._reserve = sample_rate, folder, codec, reserve
        self._block: Audio = np.zeros((2 + stems.channels, self._chunk), dtype=np.float32)
        self._first, self._frames = (0, 0), 0
        self._folder, self._tracks, self._paths = folder, list[Track](), list[Path]()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def seconds(self) -> float:
        """Recorded so far."""
        return self._frames / self._sample_rate

    @property
    def busy(self) -> bool:
        """Whether it still reads the rings."""
        return self._thread is not None and self._thread.is_alive()

    def start(self, mix: int = 0, stems: int = 0) -> None:
        """Make the files and begin; a recorder runs once.

        Args:
            mix: index in the mix ring of the first frame to record.
            stems: index in the stems ring that is as old: `stems + latency` holds the same sound as `mix`. Where a ring
                no longer holds the frame, both sides begin later by the same length.

        Raises:
            StreamsepError: the folder or the disk does not take the files.
        """
        late = max(0, self._rings[0].consumed - mix, self._rings[1].consumed - stems - self._latency)
        self._first = (mix + late, stems + self._latency + late)
        try:
            self._folder = _fresh_folder(self._parent)
            # In their final place at once: the folder is new, so there is nothing to overwrite, and a recording that
            # is cut short by whatever happens is found under the name that it was promised.
            for name in self._names:
                self._paths.append(self._folder / f"{name}.{self._codec.format}")
                self._tracks.append(open_track(self._paths[-1], self._sample_rate, self._codec))
            self._check_space()
        except OSError as error:
            self._finish()
            raise StreamsepError(f"cannot record into {self._parent} ({_reason(error)}); {_CURE}") from None
        self._thread = threading.Thread(target=self._run, name="streamsep-recorder", daemon=True)
        self._thread.start()

    def stop(self, timeout: float = 0.5) -> list[Path]:
        """Write what both rings hold by now and end, in at most `timeout` seconds; may be called again.

        Returns:
            The files: mix, then the stems; none where there was no sound to record. If the disk did not answer in time,
            `error` says so, and the files are readable up to what it took.
        """
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(timeout)
            if self.busy:
                self.error = f"the disk of {self._folder} does not keep up, so the end is missing; choose a faster one"
        return list(self._paths)

    def _run(self) -> None:
        try:
            self._try(self._record)
        except Exception as error:  # a thread has nobody to raise to
            self.error = f"the recording ended ({type(error).__name__}: {error}) and is readable; start another"
        self._finish()

    def _record(self) -> None:
        while not self._stopping.wait(_PAUSE):
            while self._ready() >= self._chunk and not self._stopping.is_set():
                self._write(self._chunk)
        left = self._ready()  # counted once: the writers may go on for ever
        while left > 0:
            count = min(left, self._chunk)
            self._write(count)
            left -= count
        self._write_mix_alone()

    def _write_mix_alone(self) -> None:
        """What is left of the mix where no stems come any more, for want of a worker: with silence beside it."""
        mix, stems = self._rings
        left = 0 if mix.consumed < self._first[0] else mix.readable - self._latency - stems.readable
        if left < _AWAY * self._sample_rate:  # it waits for its stems, as always
            return
        for start in range(0, left, self._chunk):
            self._write(min(self._chunk, left - start), stems=False)
        self.error = f"the stems of the last {left / self._sample_rate:.1f} s are silent: none came any more"

    def _ready(self) -> int:
        """Frames that both rings hold, behind the first to record."""
        for ring, first in zip(self._rings, self._first, strict=True):
            ring.skip(first - ring.consumed)
            if ring.consumed < first:  # whatever is written from here on, it is not looked at yet
                return 0
        return min(ring.readable for ring in self._rings)

    def _write(self, frames: int, stems: bool = True) -> None:
        """Move `frames` frames from the rings to all files, and only then look for errors: so all have the same."""
        block = self._block[:, :frames]
        self._rings[0].read(block[:2])
        if stems:
            self._rings[1].read(block[2:])
        else:
            block[2:] = 0
        self._check_space()
        for track, pair in zip(self._tracks, block.reshape(-1, 2, frames), strict=True):
            track.write(pair)
        self._raise_errors()
        self._frames += frames

    def _check_space(self) -> None:
        free = shutil.disk_usage(self._folder).free
        if free < self._reserve:
            raise OSError(None, f"{free >> 20} MB are free and {self._reserve >> 20} MB are kept")

    def _raise_errors(self) -> None:
        for track in self._tracks:
            if track.file.error is not None:
                raise track.file.error

    def _try(self, action: Callable[..., None], *arguments: int) -> None:
        try:
            action(*arguments)
        except OSError as error:
            self._fail(error)

    def _fail(self, error: OSError) -> None:
        told = f"cannot record into {self._folder} any longer ({_reason(error)})"
        self.error = self.error or f"{told}, what was recorded until now can be read; {_CURE}"

    def _finish(self) -> None:
        """Bring all files to the same length; an empty recording goes away."""
        for track in self._tracks:
            track.end()
        self._frames = min((track.frames for track in self._tracks), default=0)
        for track in self._tracks:
            if track.file.error is not None or track.frames != self._frames:
                self._try(track.cut, self._frames)
            track.file.close()
        self._try(self._raise_errors)
        if self._frames == 0:
            self._remove()

    def _remove(self) -> None:
        with contextlib.suppress(OSError):
            for path in self._paths:
                path.unlink(missing_ok=True)
            if self._folder != self._parent:
                self._folder.rmdir()
        self._paths.clear()


def why_gaps(stems: Ring) -> str:
    """Why a recording has gaps, in a sentence: its disk takes nothing, or no stems come to go with the mix."""
    if stems.readable < stems.capacity // 2:
        return "no stems came for longer than a recording waits, so it has silent gaps; choose a smaller model"
    return "the disk does not keep up, the recording has silent gaps; choose a faster one"


def _fresh_folder(parent: Path) -> Path:
    """A new folder in `parent`, named after the time; a second one of the same second gets a number."""
    parent.mkdir(parents=True, exist_ok=True)
    moment = time.strftime("%Y-%m-%d_%H-%M-%S")
    for number in itertools.count(1):
        folder = parent / (moment if number == 1 else f"{moment}_{number}")
        with contextlib.suppress(FileExistsError):
            folder.mkdir()
            return folder
    raise AssertionError("there is always another number")


def _reason(error: OSError) -> str:
    return error.strerror or str(error)
