"""One decoded recording in the cache: int16 samples that are read by memory map, and its loudness over time."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from streamsep.damage import has_length, is_cut, tell_damage
from streamsep.errors import StreamsepError
from streamsep.files import read_audio, staged
from streamsep.training.bandwidth import MEASURE, measure_bandwidth

RATE = 44100
BLOCK = RATE // 10  # samples a value of the loudness envelope
SUFFIXES = (".wav", ".flac", ".ogg")
_VERSION = 1
_CURE = "choose another cache"

Samples = NDArray[np.float32]
Generator = np.random.Generator


@dataclass(frozen=True)
class Clip:
    """A cached recording.

    Attributes:
        samples: int16 memory map `[T, C]`, C 1 or 2.
        scale: factor from int16 to amplitude.
        envelope: RMS of each tenth of a second, `[ceil(T / BLOCK)]`.
        level: RMS over the blocks in which something sounds; 0 for silence.
        band: frequency in Hz above which the recording holds nothing, as `measure_bandwidth` finds it.
    """

    samples: NDArray[np.int16]
    scale: float
    envelope: Samples
    level: float
    band: float = math.inf

    @property
    def length(self) -> int:
        """Samples at 44.1 kHz."""
        return len(self.samples)

    @property
    def active(self) -> NDArray[np.bool_]:
        """Blocks within 20 dB of the recording's level."""
        return self.envelope > max(0.1 * self.level, 1e-6)

    def read(self, start: int, frames: int) -> Samples:
        """Samples `[2, frames]` from `start` on; silence outside the recording, mono doubled."""
        out = np.zeros((2, frames), np.float32)
        first, last = max(start, 0), min(start + frames, self.length)
        if first < last:
            out[:, first - start : last - start] = self.samples[first:last].T
            out *= np.float32(self.scale)
        return out


def cached_clip(sources: Sequence[Path], stem: Path, gap: float = 0.3) -> Clip:
    """The clip of one file, or of many joined with `gap` seconds of silence; decoded on the first call only.

    Args:
        sources: audio files that soundfile reads, at any rate; all but the first two channels are dropped.
        stem: path in the cache, without suffix; `.npy`, `.env.npy` and `.json` are added.

    Raises:
        StreamsepError: a file that cannot be read.
    """
    stamp = {"gap": gap, "sources": [_stamp(path) for path in sources]}
    return made_clip(lambda: _decode_all(sources, gap), stem, stamp)


def cached_sum(sources: Sequence[Path], stem: Path) -> Clip:
    """The clip of one file, or of the sum of many, as `cached_clip`."""
    if len(sources) == 1:
        return cached_clip(sources, stem)
    return made_clip(lambda: _sum_all(sources), stem, {"sum": [_stamp(path) for path in sources]})


def made_clip(make: Callable[[], Samples], stem: Path, stamp: Mapping[str, Any]) -> Clip:
    """The clip that `make` gives as samples `[T, C]`, from the cache if one of the same stamp is there.

    Args:
        make: called only where the cache does not hold this clip.
        stem: path in the cache, without suffix.
        stamp: plain data that changes whenever `make` would give something else.

    Raises:
        StreamsepError: the cache cannot be written.
    """
    stamp = {"version": _VERSION, **stamp}
    record = _read_record(stem)
    if record is None or record["stamp"] != stamp:
        record = _store(make(), stem, stamp)
    samples = np.load(_name(stem, ".npy"), mmap_mode="r")
    if record.get("measure") != MEASURE:
        band = measure_bandwidth(samples, RATE)
        record |= {"band": band if math.isfinite(band) else None, "measure": MEASURE}
        _write_record(record, stem)
    return Clip(
        samples=samples,
        scale=float(record["scale"]),
        envelope=np.load(_name(stem, ".env.npy")),
        level=float(record["level"]),
        band=math.inf if record["band"] is None else float(record["band"]),
    )


def _stamp(path: Path) -> list[Any]:
    stat = path.stat()
    return [str(path.resolve()), stat.st_size, stat.st_mtime_ns]


def _name(stem: Path, suffix: str) -> Path:
    return stem.with_name(stem.name + suffix)


def _read_record(stem: Path) -> dict[str, Any] | None:
    try:
        record = json.loads(_name(stem, ".json").read_text())
    except (OSError, ValueError):
        return None
    complete = all(_name(stem, suffix).exists() for suffix in (".npy", ".env.npy"))
    return record if complete and isinstance(record, dict) and "stamp" in record else None


def _decode_all(sources: Sequence[Path], gap: float) -> Samples:
    parts = [_decode(path) for path in sources]
    if len(parts) == 1:
        return parts[0]
    channels = max(part.shape[1] for part in parts)
    silence = np.zeros((round(gap * RATE), channels), np.float32)
    joined = [piece for part in parts for piece in (np.broadcast_to(part, (len(part), channels)), silence)]
    return np.concatenate(joined)


def _sum_all(sources: Sequence[Path]) -> Samples:
    parts = [_decode(path) for path in sources]
    total = np.zeros((max(map(len, parts)), max(part.shape[1] for part in parts)), np.float32)
    for part in parts:
        total[: len(part)] += part
    return total


def read_recording(path: Path) -> tuple[Samples, int]:
    """All samples `[T, C]` of a file, and their rate; of one that is cut short what there is, with a warning.

    Raises:
        StreamsepError: it cannot be read, or holds samples that are no numbers.
    """
    cure = "replace it or take it out of the folder"
    try:
        with soundfile.SoundFile(os.fsencode(path)) as file:
            whole, rate = has_length(file, path), file.samplerate
            samples = file.read(dtype="float32", always_2d=True) if whole else np.zeros((0, 2), np.float32)
            if whole and is_cut(file, path, len(samples)):
                tell_damage(path)
        if not whole:
            turned, rate = read_audio(path)
            samples = turned.T
    except (OSError, RuntimeError) as error:
        raise StreamsepError(f"cannot read {path} ({error}); {cure}") from None
    if not np.isfinite(samples).all():
        raise StreamsepError(f"{path} holds samples that are no numbers; {cure}")
    return samples, int(rate)


def _decode(path: Path) -> Samples:
    samples, rate = read_recording(path)
    samples = samples[:, :2]
    return samples if rate == RATE else soxr.resample(samples, rate, RATE).astype(np.float32)


def _store(samples: Samples, stem: Path, stamp: Mapping[str, Any]) -> dict[str, Any]:
    """Write the record last, so that a cache cut short is seen as absent."""
    scale = max(1.0, float(np.abs(samples).max(initial=0.0))) / 32767
    envelope = _envelope(samples)
    arrays = {".npy": np.rint(samples / np.float32(scale)).astype(np.int16), ".env.npy": envelope}
    with staged([_name(stem, suffix) for suffix in arrays], _CURE) as paths:
        for path, array in zip(paths, arrays.values(), strict=True):
            with path.open("wb") as file:
                np.save(file, array)
    record = {"stamp": dict(stamp), "scale": scale, "level": _level(envelope)}
    _write_record(record, stem)
    return record


def _write_record(record: Mapping[str, Any], stem: Path) -> None:
    with staged([_name(stem, ".json")], _CURE) as (path,):
        path.write_text(json.dumps(record))


def _envelope(samples: Samples) -> Samples:
    blocks = range(0, len(samples), BLOCK)
    powers = [float(np.mean(np.square(samples[start : start + BLOCK], dtype=np.float64))) for start in blocks]
    return np.sqrt(np.array(powers, np.float64)).astype(np.float32)


def _level(envelope: Samples) -> float:
    """RMS over the blocks within 34 dB of the loudest."""
    if not len(envelope) or envelope.max() < 1e-5:
        return 0.0
    loud = envelope[envelope > 0.02 * envelope.max()].astype(np.float64)
    return float(np.sqrt(np.mean(np.square(loud))))
