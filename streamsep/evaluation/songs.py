"""Songs with or without true stems: finding their files, and bringing them into raw samples piece by piece."""

from __future__ import annotations

import errno
import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from streamsep.damage import has_length, is_cut, tell_damage
from streamsep.errors import StreamsepError
from streamsep.files import check_folder, check_readable, read_audio, resample, to_stereo

Waves = NDArray[np.float32]
SUFFIXES = (".wav", ".flac", ".ogg", ".mp3", ".aiff", ".m4a")
STEMS = ("drums", "bass", "other", "vocals")
# A file beside one stem -> the stem that it lacks.
REST_OF = {
    "instrumental": "vocals",
    "accompaniment": "vocals",
    **{f"{no}_{stem}": stem for stem in STEMS for no in ("no", "minus")},
}
MIX_NAMES = ("mixture", "mix")
_BLOCK = 1 << 18


@dataclass(frozen=True)
class SongFiles:
    """Where a song is.

    Attributes:
        name: unique in a comparison, and fit for a folder.
        mix: its file; None for the sum of the stems.
        stems: the file of each true stem that there is; one that is missing is silent. Empty if none is known.
        rest: a file that holds all other stems in one, where there is neither a mix nor another stem.
    """

    name: str
    mix: Path | None
    stems: dict[str, Path] = field(default_factory=dict)
    rest: Path | None = None

    def facts(self) -> dict[str, Any]:
        """What changes when a file does.

        Raises:
            StreamsepError: a file that is not there, or a name that the results cannot hold.
        """
        paths = [path for path in (self.mix, *self.stems.values(), self.rest) if path is not None]
        for text in (self.name, *map(str, paths)):
            check_utf8(text)
        try:
            return {str(path.resolve()): [path.stat().st_size, path.stat().st_mtime_ns] for path in paths}
        except OSError as error:
            raise StreamsepError(f"cannot read {error.filename} ({error.strerror}); check the path") from None


def check_utf8(text: str) -> None:
    """Raise StreamsepError where a name cannot be written into the results."""
    if any("\ud800" <= letter <= "\udfff" for letter in text):
        raise StreamsepError(f"the name {text!a} is not UTF-8, as the results are; rename it")


def find_stem(folder: Path, name: str, but: Path | None = None) -> Path | None:
    """The file of a stem in `folder`, other than `but`."""
    files = (folder / f"{name}{suffix}" for suffix in SUFFIXES)
    return next((file for file in files if file.is_file() and (but is None or file.resolve() != but)), None)


def single_song(song: Path, stems: Path | None, sources: Sequence[str]) -> SongFiles:
    """A song by its file, with the true stems in the folder `stems`, or those beside it if all are there.

    Raises:
        StreamsepError: no such file, or a stem is missing in `stems`.
    """
    check_readable(song)
    found = {name: find_stem(stems or song.parent, name, song.resolve()) for name in sources}
    if stems and (missing := [name for name, path in found.items() if path is None]):
        raise StreamsepError(f"there is no {missing[0]}.wav, .flac, .ogg or .mp3 in {stems}; check --stems")
    there = {name: path for name, path in found.items() if path is not None}
    name = song.parent.name if song.stem in MIX_NAMES and song.parent.name else song.stem
    return SongFiles(name, song, there if len(there) == len(found) else {})


def song_in_folder(folder: Path, sources: Sequence[str]) -> SongFiles | None:
    """A song by the folder of its stems, with the mixture if that is there; None where no stem is."""
    found = {name: path for name in sources if (path := find_stem(folder, name)) is not None}
    mixes = [path for name in MIX_NAMES if (path := find_stem(folder, name)) is not None]
    named = folder if folder.name.strip(".") else folder.resolve()
    rest = _rest(folder, *found) if len(found) == 1 and not mixes else None
    return SongFiles(named.name, mixes[0] if mixes else None, found, rest) if found else None


def _rest(folder: Path, stem: str) -> Path | None:
    """The file of all stems but this one."""
    names = (name for name, without in REST_OF.items() if without == stem)
    return next((path for name in names if (path := find_stem(folder, name)) is not None), None)


def songs_in(data: Path, sources: Sequence[str], subset: str | None = None) -> list[SongFiles]:
    """All songs of a data set: folders of stems, or those of a MUSDB18-HQ tree (`train` and `test`, or `subset`).

    Raises:
        StreamsepError: there is none, or no such subset.
    """
    check_subset(data, subset)
    roots = [data / part for part in ("train", "test") if (data / part).is_dir() and subset in (None, part)] or [data]
    places = [path for root in roots for path in sorted(root.iterdir()) if path.is_dir()]
    songs = [song for place in places if (song := song_in_folder(place, sources)) is not None]
    if not songs:
        raise StreamsepError(
            f"no song in {data}; a song is a folder with drums, bass, other, vocals as .wav/.flac/.ogg"
        )
    return songs


def check_subset(data: Path, subset: str | None) -> None:
    """Refuse what is no folder, or has no such part.

    Raises:
        StreamsepError: it is none, or is no MUSDB18-HQ tree with the `subset` that is wanted.
    """
    check_folder(data, "correct --data")
    if subset is not None:
        check_folder(data / subset, "correct --data, or leave out --subset, which is for a MUSDB18-HQ tree")


def read_pieces(path: Path, rate: int) -> Iterator[Waves]:
    """A file as pieces `[n, 2]` at `rate`, in bounded memory where libsndfile reads it; not-finite samples are silence.

    A file that is cut short is read as far as that goes, with a warning, as by `read_audio`.

    Raises:
        StreamsepError: as `read_audio`; or the file is damaged further on.
    """
    check_readable(path)
    name = os.fsencode(path)  # it need not be UTF-8
    try:
        with soundfile.SoundFile(name) as file:
            direct = file.channels <= 2 and file.frames > 0 and has_length(file, path)
    except (soundfile.LibsndfileError, TypeError):  # a TypeError is of names such as a.raw
        direct = False
    if not direct:
        samples, own = read_audio(path)
        yield np.ascontiguousarray(resample(to_stereo(_finite(samples)), own, rate).T)
        return
    with soundfile.SoundFile(name) as file:
        change = soxr.ResampleStream(file.samplerate, rate, 2, dtype="float32") if file.samplerate != rate else None
        for block in _blocks(file, path):
            stereo = np.ascontiguousarray(to_stereo(_finite(block.T)).T)
            yield stereo if change is None else change.resample_chunk(stereo)
        if change is not None:
            yield change.resample_chunk(np.zeros((0, 2), np.float32), last=True)


def _blocks(file: soundfile.SoundFile, path: Path) -> Iterator[Waves]:
    frames = 0
    try:
        while len(block := file.read(_BLOCK, dtype="float32", always_2d=True)):
            frames += len(block)
            yield block
    except soundfile.LibsndfileError as error:
        reason = error.error_string.removeprefix("Error : ").rstrip(".")
        raise StreamsepError(f"{path} is damaged ({reason}); replace it by a whole copy") from None
    if is_cut(file, path, frames):
        tell_damage(path)


def _finite(samples: Waves) -> Waves:
    return np.where(np.isfinite(samples), samples, np.float32(0))


def write_raw(path: Path, pieces: Iterator[Waves], limit: int | None) -> int:
    """Write pieces `[n, ...]` of float32 into a file, at most `limit` of the first axis; returns how many."""
    done = 0
    with path.open("wb") as file:
        for piece in pieces:
            part = piece if limit is None else piece[: limit - done]
            file.write(np.ascontiguousarray(part, np.float32).tobytes())
            done += len(part)
            if done == limit:
                break
    return done


def reserved(path: Path, shape: tuple[int, ...]) -> np.memmap[Any, np.dtype[np.float32]]:
    """A new raw file, mapped for writing. Where the system can, its room on the disk is taken at once: in a file of
    holes a full disk would end the process without a word.

    Raises:
        OSError: the disk is full.
    """
    with path.open("wb") as file:
        if hasattr(os, "posix_fallocate"):
            try:
                os.posix_fallocate(file.fileno(), 0, 4 * math.prod(shape))
            except OSError as error:
                if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP):  # of file systems that cannot reserve
                    raise
    return np.memmap(path, np.float32, "r+", shape=shape)


def write_stems(files: Sequence[Path | None], rate: int, path: Path, frames: int) -> None:
    """Write stems, one after the other, into the columns of a raw file `[frames, S, 2]`; None is a silent stem.

    A stem shorter than `frames` is filled with silence, a longer one is cut.
    """
    out = reserved(path, (frames, len(files), 2))
    for index, file in enumerate(files):
        at = 0
        for piece in read_pieces(file, rate) if file is not None else ():
            part = piece[: frames - at]
            out[at : at + len(part), index] = part
            at += len(part)
            if at == frames:
                break
    out.flush()


def length_of(files: Sequence[Path], rate: int) -> int:
    """Samples of the longest of some files at `rate`."""
    return max(sum(len(piece) for piece in read_pieces(file, rate)) for file in files)
