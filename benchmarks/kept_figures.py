"""Figures of systems that are not measured again: they stay as a file has them, if the songs are the same."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from streamsep.errors import StreamsepError
from streamsep.evaluation.quality import GAIN, MASK

Facts = dict[str, Any]
AND = ", "  # between the weights and how far they look ahead, in a system's name
TOLERANCE = 0.02  # dB by which the marks of the same songs may differ between machines and versions of codecs


def weights_of(name: str) -> str:
    """The weights of a system by its name, which may tell how far it looks ahead."""
    return name.split(AND)[0]


def of_weights(systems: Sequence[str], weights: Sequence[str]) -> list[str]:
    """Those of `systems` (NAME=...) that are of the named weights.

    Raises:
        StreamsepError: weights that are of none.
    """
    names = {system: weights_of(system.partition("=")[0]) for system in systems}
    if unknown := [name for name in weights if name not in names.values()]:
        known = ", ".join(sorted(set(names.values())))
        raise StreamsepError(f"--only names {unknown[0]}, but the weights that ship are {known}")
    return [system for system, name in names.items() if name in weights]


def with_kept(result: Facts, path: Path, names: Sequence[str]) -> Facts:
    """`result` with what the file `path` has of the other systems `names`, in the order of `names`, then the marks.

    Raises:
        StreamsepError: no such file, or of other songs.
    """
    try:
        before = json.loads(path.read_text(encoding="utf-8"))
        _check_same(before, result, path)
        order = [*names, GAIN, MASK]
        merged = {**result, "systems": _merged(before["systems"], result["systems"], order)}
        for part, keys in (("groups", ("scores", "leakage")), ("songs", ("scores",))):
            merged[part] = {
                name: facts | {k: _merged(before[part][name][k], facts[k], order) for k in keys if k in facts}
                for name, facts in result[part].items()
            }
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StreamsepError(f"{path} has no figures to keep ({error!r}); leave out --only") from None
    return merged


def _merged(before: Facts, now: Facts, order: Sequence[str]) -> Facts:
    both = before | now
    return {name: both[name] for name in order if name in both}


def _check_same(before: Facts, result: Facts, path: Path) -> None:
    if before["seconds"] != result["seconds"]:
        raise StreamsepError(
            f"{path} is of {before['seconds'] or 'all'} seconds of each song; say the same by --seconds"
        )
    if before["songs"].keys() != result["songs"].keys():
        raise StreamsepError(f"{path} is of other songs; name the same, or leave out --only")
    for name, facts in result["songs"].items():
        for mark in (GAIN, MASK):
            then, now = (song["scores"][mark]["mean"]["usdr"] for song in (before["songs"][name], facts))
            if abs(then - now) > TOLERANCE:
                raise StreamsepError(f"{path} is of another song {name}; measure all, without --only")
