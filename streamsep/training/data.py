"""Songs as folders of stems, and recordings of single stems beside them, made ready for reading at random."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from tqdm import tqdm

from streamsep.errors import StreamsepError
from streamsep.files import check_folder
from streamsep.training.clips import SUFFIXES, Clip, cached_clip, cached_sum
from streamsep.training.in_time import Tempo, tempo_of
from streamsep.training.layouts import STEMS, song_files, song_folders
from streamsep.training.practice import open_practice

__all__ = ["STEMS", "DataConfig", "Library", "Root", "Song", "open_library", "open_songs", "song_folders"]


@dataclass(frozen=True)
class Root:
    """A folder of songs.

    Attributes:
        path: the folder.
        share: how often its songs are drawn, against those of the other roots; by their length alone if no root has
            a share, and 1 where only others have.
    """

    path: str
    share: float | None = None

    def __post_init__(self) -> None:
        if self.share is not None and not 0 < self.share < float("inf"):
            raise ValueError("the share of a root must be above 0")


@dataclass(frozen=True)
class DataConfig:
    """Which songs and voices are used.

    Attributes:
        roots: folders of songs, where the command line names none.
        exclude: songs that are never trained on, beside those of `validation`.
        validation: held-out songs on which progress is measured.
        joined: song -> stems that its files do not keep apart, the file that holds the rest last:
            `[bass, other]` where a bass line lives inside `other`; the last must have a recording if any has.
        voices: folders of the voice directory to use; empty means all.
        practice: minutes of each of drums, bass and other to render from sampled instruments; 0 for none.
        subset: the part of a MUSDB18-HQ tree that is trained on.
    """

    roots: tuple[Root, ...] = ()
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
    """One song; a stem without a clip is silent, unless it is `joined` with one that has a clip.

    Its tempo is None where it is not known.
    """

    name: str
    clips: Mapping[str, Clip]
    joined: tuple[str, ...] = ()
    root: str = ""
    tempo: Tempo | None = None

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
        absent: songs that the configuration excludes, holds out or calls joined, and that are not there.
        shares: root -> how often its songs are drawn; empty where that is by their length.
    """

    songs: tuple[Song, ...]
    extra: Mapping[str, tuple[Clip, ...]]
    validation: tuple[Song, ...]
    absent: tuple[str, ...] = ()
    shares: Mapping[str, float] = field(default_factory=dict)


def open_library(
    data: Path | Sequence[Root],
    config: DataConfig,
    *,
    voice: Path | None = None,
    instruments: Path | None = None,
    cache: Path = Path("runs/cache"),
    quiet: bool = False,
) -> Library:
    """Open (and on the first call decode or render into `cache`) all that is trained on.

    Args:
        data: songs, in one folder or in several.
        config: which of them, and how much practice.
        voice: folder of folders of solo voices, extra vocals.
        instruments: sampled instruments, from which extra drums, bass and other are rendered.
        cache: decoded and rendered sound.
        quiet: no progress bars.

    Raises:
        StreamsepError: no song found, none left to train on, an unreadable file, joined stems of which the last has no
            recording, or instruments where the configuration asks for no practice; practice without instruments is
            left out.
    """
    roots = [Root(str(data))] if isinstance(data, Path) else list(data)
    trees = [
        Tree(root.path, song_folders(Path(root.path), config.subset), song_folders(Path(root.path))) for root in roots
    ]
    if instruments is not None and not config.practice:
        raise StreamsepError("the configuration asks for no practice; set `data: practice` or leave out --instruments")
    _check_stems(config.joined)
    aside = {*config.exclude, *config.validation}
    if not any(set(tree.trained) - aside for tree in trees):
        where = " and ".join(root.path for root in roots)
        raise StreamsepError(f"every song of {where} is excluded from training; shorten `exclude` or `validation`")
    for tree in trees:
        _check_holders(tree, config.joined)
    songs: list[Song] = []
    validation: list[Song] = []
    for tree in trees:
        kept = {name: path for name, path in tree.trained.items() if name not in aside}
        held_out = {name: tree.all[name] for name in config.validation if name in tree.all}
        songs += open_songs(Path(tree.root), kept, cache, config.joined, quiet=quiet)
        validation += open_songs(Path(tree.root), held_out, cache, config.joined, quiet=quiet)
    extra = {"vocals": _open_voices(voice, config.voices, cache, quiet)} if voice else {}
    if instruments is not None:
        extra |= open_practice(instruments, config.practice, _cache_folder(cache, instruments), quiet=quiet)
    return Library(tuple(songs), extra, tuple(validation), _absent(trees, config), _shares(roots))


class Tree(NamedTuple):
    """A root's songs: those of the part that is trained on, and all; those held out may lie in another part."""

    root: str
    trained: dict[str, Path]
    all: dict[str, Path]


def _absent(trees: Sequence[Tree], config: DataConfig) -> tuple[str, ...]:
    everywhere = {name for tree in trees for name in tree.all}
    named = dict.fromkeys((*config.exclude, *config.validation, *config.joined))
    return tuple(name for name in named if name not in everywhere)


def _shares(roots: Sequence[Root]) -> dict[str, float]:
    if all(root.share is None for root in roots):
        return {}
    return {str(Path(root.path)): 1.0 if root.share is None else root.share for root in roots}


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
    for name, folder in tqdm(folders.items(), desc="songs", unit="song", disable=quiet or None, leave=False):
        files = song_files(folder)
        clips = {stem: cached_sum(paths, root / name / stem) for stem, paths in files.stems.items()}
        songs.append(Song(name, clips, tuple((joined or {}).get(name, files.joined)), str(data), tempo_of(folder)))
    return tuple(songs)


def _open_voices(voice: Path, names: Sequence[str], cache: Path, quiet: bool) -> tuple[Clip, ...]:
    check_folder(voice, "correct --voice")
    root = _cache_folder(cache, voice)
    folders = [voice / name for name in names] or sorted(path for path in voice.iterdir() if path.is_dir())
    clips = []
    for folder in tqdm(folders, desc="voices", unit="voice", disable=quiet or None, leave=False):
        if not folder.is_dir():
            raise StreamsepError(
                f"there is no folder {folder.name} in {voice}, though `data: voices` of the configuration names it; "
                "name your own folders there, or [] for all"
            )
        files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
        if not files:
            raise StreamsepError(f"no .wav, .flac or .ogg file in the voice folder {folder}")
        clips.append(cached_clip(files, root / folder.name))
    return tuple(clips)


def _cache_folder(cache: Path, root: Path) -> Path:
    """Two trees of the same name must not share a folder."""
    digest = hashlib.sha256(str(root.resolve()).encode()).hexdigest()[:8]
    return cache / f"{root.resolve().name}-{digest}"


def _check_stems(joined: Mapping[str, Collection[str]]) -> None:
    for name, stems in joined.items():
        if not len(set(stems)) == len(stems) >= 2 or not set(stems) <= set(STEMS):
            raise StreamsepError(f"`joined` of {name!r} must list at least two different ones of {', '.join(STEMS)}")


def _check_holders(tree: Tree, joined: Mapping[str, Sequence[str]]) -> None:
    """Of joined stems the last must have the file that holds the others: its sound would be taken for its own alone."""
    for name, stems in joined.items():
        files = song_files(tree.all[name]).stems if name in tree.all else {}
        if found := [stem for stem in stems if stem in files and stems[-1] not in files]:
            raise StreamsepError(
                f"`joined` of {name!r} ends with {stems[-1]}, of which there is no recording; put {found[0]} last, "
                "the stem whose file holds the rest"
            )


def check_learnable(sources: Sequence[str]) -> None:
    """Whether songs can tell of every stem of a model.

    Raises:
        StreamsepError: of one they cannot; the model would learn to keep it silent.
    """
    unknown = [stem for stem in sources if stem not in STEMS]
    if unknown:
        raise StreamsepError(
            f"songs tell nothing of {', '.join(unknown)}, which the model would learn to keep silent; choose a model "
            f"of {', '.join(STEMS)}"
        )
