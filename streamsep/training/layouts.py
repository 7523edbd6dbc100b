"""How folders hold songs: plain stems, MUSDB18-HQ, MoisesDB, and one stem beside the rest of its song."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from streamsep.errors import StreamsepError
from streamsep.evaluation.songs import REST_OF
from streamsep.files import check_folder
from streamsep.training.clips import SUFFIXES

STEMS = ("drums", "bass", "other", "vocals")


class SongFiles(NamedTuple):
    """What a song's folder holds.

    Attributes:
        stems: stem -> the files whose sum it is.
        joined: stems that the files do not keep apart, the one whose file holds them last; empty if all are.
    """

    stems: Mapping[str, list[Path]]
    joined: tuple[str, ...] = ()


def song_folders(data: Path, subset: str | None = None, cure: str = "correct --data") -> dict[str, Path]:
    """Name -> folder of every song below `data`: in it, in MUSDB18-HQ's `train` and `test`, or in MoisesDB's folder.

    Args:
        data: where the songs are.
        subset: only this part of a MUSDB18-HQ tree.
        cure: what to do where there is no folder `data`.

    Raises:
        StreamsepError: `data` holds no folder with a stem in it.
    """
    check_folder(data, cure)
    parts = [data / part for part in ("train", "test") if (data / part).is_dir() and subset in (None, part)]
    roots = parts or [path for path in sorted(data.glob("moisesdb_v*")) if path.is_dir()] or [data]
    places = [path for root in roots for path in sorted(root.iterdir()) if path.is_dir()]
    folders = {path.name: path for path in places if song_files(path).stems}
    if not folders:
        raise StreamsepError(
            f"no song in {data}; a song is a folder with drums, bass, other, vocals as .wav/.flac/.ogg"
        )
    return folders


def song_files(folder: Path) -> SongFiles:
    """The files of one song; no stems where the folder is none.

    Raises:
        StreamsepError: a MoisesDB record that cannot be read, or names a file that is not there.
    """
    record = folder / "data.json"
    if record.is_file():
        return SongFiles(_moises_stems(record))
    stems = {stem: [file] for stem in STEMS if (file := _sound(folder, stem))}
    for name, stem in REST_OF.items():
        rest = _sound(folder, name)
        if rest and set(stems) <= {stem}:
            others = tuple(sorted((s for s in STEMS if s != stem), key=lambda s: s == "other"))
            return SongFiles({**stems, others[-1]: [rest]}, others)
    return SongFiles(stems)


def _sound(folder: Path, name: str) -> Path | None:
    return next((file for suffix in SUFFIXES if (file := folder / f"{name}{suffix}").is_file()), None)


def _moises_stems(record: Path) -> dict[str, list[Path]]:
    """MoisesDB's eleven stems (Pereira et al. 2023, arXiv:2307.15913) as four; unpitched percussion is drums."""
    stems: dict[str, list[Path]] = {}
    try:
        entries = json.loads(record.read_text(encoding="utf-8"))["stems"]
        tracks = [(str(entry["stemName"]), track) for entry in entries for track in entry["tracks"]]
        for name, track in tracks:
            file = record.parent / name / f"{track['id']}.{track['extension']}"
            if not file.is_file():
                raise StreamsepError(f"{record} names {file}, which is not there; unpack the data set anew")
            stems.setdefault(_moises_stem(name, track), []).append(file)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StreamsepError(f"{record} is not a song of MoisesDB ({error!r}); mend it or take it away") from None
    return stems


def _moises_stem(name: str, track: Mapping[str, Any]) -> str:
    if name in ("vocals", "bass", "drums"):
        return name
    unpitched = name == "percussion" and str(track.get("trackType", "")).startswith("a-tonal")
    return "drums" if unpitched else "other"
