"""The singers of rendered songs: recordings and synthesised speech, decoded and analysed once into a cache."""

from __future__ import annotations

import hashlib
import io
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import soxr
from numpy.typing import NDArray
from tqdm import tqdm

from streamsep.config import from_dict, read_yaml
from streamsep.errors import StreamsepError
from streamsep.files import staged
from streamsep.training.clips import RATE, SUFFIXES, Samples, made_clip, read_recording
from streamsep.training.songs.resinging import Source
from streamsep.training.songs.speaking import Speaker
from streamsep.training.songs.voice_analysis import analyse

Kind = Literal["sung", "spoken"]
_RECIPE = 3  # raised whenever the same recording is analysed differently
_GAP = RATE // 5  # silent samples between takes
_LEVEL = 0.1  # RMS of every take where it sounds


@dataclass(frozen=True)
class VoicesConfig:
    """The singers, as written in `configs/songs/voices.yaml`.

    Attributes:
        recorded: folder of the voice data -> sung or spoken.
        synthesised: name -> program, its voice, and the language.
        words: language -> words, separated by white space.
        held_out: names that only test songs may use.
    """

    recorded: dict[str, Kind] = field(default_factory=dict)
    synthesised: dict[str, tuple[str, str, str]] = field(default_factory=dict)
    words: dict[str, str] = field(default_factory=dict)
    held_out: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        unknown = sorted(set(self.held_out) - set(self.recorded) - set(self.synthesised))
        if unknown:
            raise ValueError(f"held_out names the voice {unknown[0]!r}, which is not in the list")
        speechless = sorted({language for _, _, language in self.synthesised.values()} - set(self.words))
        if speechless:
            raise ValueError(f"words lacks the language {speechless[0]!r}")

    def names(self, *, test: bool) -> tuple[str, ...]:
        """The singers of test songs, or those of all others."""
        return tuple(name for name in (*self.recorded, *self.synthesised) if (name in self.held_out) == test)


@dataclass(frozen=True)
class Voice:
    """A singer ready to sing.

    Attributes:
        name: of the singer.
        kind: sung or spoken.
        source: all takes one after the other, with silence between them.
        syllables: `[N, 3]`, samples of the source: consonant, vowel, end.
        take: `[N]`, the take in which each syllable lies.
        bounds: `[K, 2]`, first and last + 1 sample of each take.
        pitch: `[K]`, median Hz of each take, 0 where nothing is voiced.
    """

    name: str
    kind: Kind
    source: Source
    syllables: NDArray[np.int64]
    take: NDArray[np.int64]
    bounds: NDArray[np.int64]
    pitch: Samples


def open_voice(name: str, config: VoicesConfig, folder: Path | None, cache: Path) -> Voice:
    """One singer; decoded or spoken, and analysed, on the first call.

    Args:
        name: a key of `recorded` or `synthesised`.
        config: the list.
        folder: of the voice data.
        cache: folder that is written.

    Raises:
        StreamsepError: the recordings, a speech program or an optional package is missing.
    """
    if name in config.recorded:
        files = _recordings(name, folder)
        stamp: Any = [[file.name, file.stat().st_size] for file in files]
        return made_voice(name, config.recorded[name], lambda: map(_decode, files), stamp, cache)
    program, voice, language = config.synthesised[name]
    speaker = Speaker(program, voice, language, tuple(config.words[language].split()))
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    return made_voice(name, "spoken", lambda: speaker.lines(rng), [program, voice, config.words[language]], cache)


def open_voices(
    names: Iterable[str], config: VoicesConfig, folder: Path | None, cache: Path, *, quiet: bool = False
) -> tuple[Voice, ...]:
    """Several singers, as `open_voice` gives them."""
    listed = tqdm(list(names), desc="voices", unit="voice", disable=quiet, leave=False)
    return tuple(open_voice(name, config, folder, cache) for name in listed)


def read_voices(path: Path) -> VoicesConfig:
    """The list of singers in a YAML file."""
    return from_dict(VoicesConfig, read_yaml(path), str(path))


def made_voice(name: str, kind: Kind, takes: Callable[[], Iterable[Samples]], stamp: Any, cache: Path) -> Voice:
    """The singer of recordings `[T]` that `takes` gives at 44.1 kHz; from the cache if its stamp is the same."""
    digest = hashlib.sha256(repr((_RECIPE, kind, stamp)).encode()).hexdigest()[:16]
    stem = cache / f"{name}-{digest}"
    notes = stem.with_name(stem.name + ".npz")
    sound: list[Samples] = []
    if not notes.exists():
        sound = [_levelled(take) for take in takes() if len(take) > RATE // 10]
        if not sound:
            raise StreamsepError(f"the voice {name} has no recordings; take it out of the list")
        with staged([notes], "choose another cache") as (partial,):
            partial.write_bytes(_packed(_annotated(sound)))
    clip = made_clip(
        lambda: _joined(sound or [_levelled(t) for t in takes() if len(t) > RATE // 10]), stem, {"voice": digest}
    )
    with np.load(notes) as known:
        if not len(known["syllables"]):
            raise StreamsepError(f"no syllable was found in the voice {name}; take it out of the list")
        source = Source(clip.samples[:, 0], clip.scale, known["marks"])
        rest = {key: known[key] for key in ("syllables", "take", "bounds", "pitch")}
    return Voice(name, kind, source, **rest)


def _recordings(name: str, folder: Path | None) -> list[Path]:
    if folder is None or not (folder / name).is_dir():
        raise StreamsepError(
            f"there is no folder of recordings {name} in {folder}, though configs/songs/voices.yaml names it; correct "
            "--voice, leave it out, or name your own singers there"
        )
    return sorted(path for path in (folder / name).iterdir() if path.suffix in SUFFIXES)


def _decode(path: Path) -> Samples:
    samples, rate = read_recording(path)
    mono = samples.mean(axis=1)
    return mono if rate == RATE else soxr.resample(mono, rate, RATE).astype(np.float32)


def _levelled(take: Samples) -> Samples:
    loud = np.abs(take) > 0.05 * np.abs(take).max(initial=1e-9)
    return take * np.float32(_LEVEL / max(float(np.sqrt(np.mean(np.square(take[loud])))), 1e-4)) if loud.any() else take


def _joined(takes: list[Samples]) -> Samples:
    silence = np.zeros(_GAP, np.float32)
    return np.concatenate([part for take in takes for part in (take, silence)])[:, None]


def _annotated(takes: list[Samples]) -> dict[str, NDArray[Any]]:
    start, marks, syllables, numbers, bounds, pitch = 0, [], [], [], [], []
    for number, take in enumerate(takes):
        found = analyse(take)
        marks.append(found.marks.astype(np.float64) + start)
        syllables += [[start + place for place in syllable] for syllable in found.syllables]
        numbers += [number] * len(found.syllables)
        bounds.append([start, start + len(take)])
        voiced = found.pitch[found.pitch > 0]
        pitch.append(float(np.median(voiced)) if len(voiced) else 0.0)
        start += len(take) + _GAP
    return {
        "marks": np.concatenate(marks),
        "syllables": np.array(syllables, np.int64).reshape(-1, 3),
        "take": np.array(numbers, np.int64),
        "bounds": np.array(bounds, np.int64),
        "pitch": np.array(pitch, np.float32),
    }


def _packed(arrays: dict[str, NDArray[Any]]) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)  # type: ignore[arg-type]
    return buffer.getvalue()
