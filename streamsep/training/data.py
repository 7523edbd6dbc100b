"""Songs as folders of stems, and recordings of single stems beside them, made ready for reading at random."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tqdm import tqdm

from streamsep.errors import StreamsepError
from streamsep.training.clips import SUFFIXES, Clip, cached_clip
from streamsep.training.practice import open_practice

STEMS = ("drums", "bass", "other", "vocals")


@dataclass(frozen=True)
class DataConfig:
    """Which songs and voices are used.

    Attributes:
        exclude: songs that are never trained on, beside those of `validation`.
        validation: held-out songs on which progress is measured.
        joined: song -> stems that its files do not keep apart, the file that holds the rest last:
            `[bass, other]` where a bass line lives inside `other`.
        voices: folders of the voice directory to use; empty means all.
        practice: minutes of each of drums, bass and other to render from sampled instruments; 0 for none.
        subset: the part of a MUSDB18-HQ tree that is trained on.
    """

    exclude: tuple[str, ...] = ()
    validation: tuple[str, ...] = ()
    joined: dict[str, tuple[str, ...]] = field(default_factory=dict)
    voices: tuple[str, ...] = ()
    practice: float = 0.0
    subset: str = "train"

    def __post_init__(self) -> None:
        if not 0 <= self.practice < float("inf"):
            raise ValueError("practice must be a number of minutes, 0 for none")


@dataclass(frozen=True)
class Song:
    """One song; a stem without a clip is silent, unless it is `joined` with one that has a clip."""

    name: str
    clips: Mapping[str, Clip]
    joined: tuple[str, ...] = ()

    @property
    def length(self) -> int:
        """Samples of the longest stem."""
        return max(clip.length for clip in self.clips.values())


@dataclass(frozen=True)
class Library:
    """What is trained on, and the songs held out.

    Attributes:
        songs: trained on.
        extra: recordings of one stem alone, by stem.
        validation: held out.
        absent: songs that the configuration holds out or calls joined, and that are not there.
    """

    songs: tuple[Song, ...]
    extra: Mapping[str, tuple[Clip, ...]]
    validation: tuple[Song, ...]
    absent: tuple[str, ...] = ()


def open_library(
    data: Path,
    config: DataConfig,
    *,
    voice: Path | None = None,
    instruments: Path | None = None,
    cache: Path = Path("runs/cache"),
    quiet: bool = False,
) -> Library:
    """Open (and on the first call decode or render into `cache`) all that is trained on.

    Args:
        data: songs.
        config: which of them, and how much practice.
        voice: folder of folders of solo voices, extra vocals.
        instruments: sampled instruments, from which extra drums, bass and other are rendered.
        cache: decoded and rendered sound.
        quiet: no progress bars.

    Raises:
        StreamsepError: no song found, none left to train on, an unreadable file, or practice without instruments or
            the other way round.
    """
    folders = song_folders(data, config.subset)
    if (config.practice > 0) != (instruments is not None):
        raise StreamsepError("practice needs both `data: practice` (minutes) in the configuration and --instruments")
    _check_stems(config.joined)
    trained = [name for name in folders if name not in {*config.exclude, *config.validation}]
    if not trained:
        raise StreamsepError(f"every song of {data} is excluded from training; shorten `exclude` or `validation`")
    # A validation song may lie in another part of a MUSDB18-HQ tree than those trained on.
    everywhere = {**song_folders(data), **folders}
    held_out = [name for name in config.validation if name in everywhere]
    absent = [name for name in dict.fromkeys((*config.validation, *config.joined)) if name not in everywhere]
    songs = open_songs(data, {name: folders[name] for name in trained}, cache, config.joined, quiet=quiet)
    validation = open_songs(data, {name: everywhere[name] for name in held_out}, cache, {}, quiet=quiet)
    extra = {"vocals": _open_voices(voice, config.voices, cache, quiet)} if voice else {}
    if instruments is not None:
        extra |= open_practice(instruments, config.practice, _cache_folder(cache, instruments), quiet=quiet)
    return Library(songs=songs, extra=extra, validation=validation, absent=tuple(absent))


def song_folders(data: Path, subset: str | None = None) -> dict[str, Path]:
    """Name -> folder of every song below `data`: plain folders, or those of `data/subset` in MUSDB18-HQ's layout.

    Raises:
        StreamsepError: `data` holds no folder with a stem in it.
    """
    if not data.is_dir():
        raise StreamsepError(f"there is no folder {data}; correct --data")
    parts = [data / part for part in ("train", "test") if (data / part).is_dir() and subset in (None, part)]
    roots = parts or [data]
    places = [path for root in roots if root.is_dir() for path in sorted(root.iterdir())]
    folders = {path.name: path for path in places if _stem_files(path)}
    if not folders:
        raise StreamsepError(
            f"no song in {data}; a song is a folder with drums, bass, other, vocals as .wav/.flac/.ogg"
        )
    return folders


def open_songs(
    data: Path,
    folders: Mapping[str, Path],
    cache: Path,
    joined: Mapping[str, Sequence[str]] | None = None,
    *,
    quiet: bool = False,
) -> tuple[Song, ...]:
    """Open songs found by `song_folders`, decoding what the cache lacks, with a progress bar."""
    root = _cache_folder(cache, data)
    songs = []
    for name, folder in tqdm(folders.items(), desc="songs", unit="song", disable=quiet, leave=False):
        clips = {stem: cached_clip([path], root / name / stem) for stem, path in _stem_files(folder).items()}
        songs.append(Song(name=name, clips=clips, joined=tuple((joined or {}).get(name, ()))))
    return tuple(songs)


def _open_voices(voice: Path, names: Sequence[str], cache: Path, quiet: bool) -> tuple[Clip, ...]:
    root = _cache_folder(cache, voice)
    folders = [voice / name for name in names] or sorted(path for path in voice.iterdir() if path.is_dir())
    clips = []
    for folder in tqdm(folders, desc="voices", unit="voice", disable=quiet, leave=False):
        files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
        if not files:
            raise StreamsepError(f"no .wav, .flac or .ogg file in the voice folder {folder}")
        clips.append(cached_clip(files, root / folder.name))
    return tuple(clips)


def _stem_files(folder: Path) -> dict[str, Path]:
    candidates = ((stem, folder / f"{stem}{suffix}") for stem in STEMS for suffix in reversed(SUFFIXES))
    return {stem: path for stem, path in candidates if path.is_file()}


def _cache_folder(cache: Path, root: Path) -> Path:
    """Two trees of the same name must not share a folder."""
    digest = hashlib.sha256(str(root.resolve()).encode()).hexdigest()[:8]
    return cache / f"{root.resolve().name}-{digest}"


def _check_stems(joined: Mapping[str, Collection[str]]) -> None:
    for name, stems in joined.items():
        if len(stems) < 2 or not set(stems) <= set(STEMS):
            raise StreamsepError(f"`joined` of {name!r} must list at least two of {', '.join(STEMS)}")
