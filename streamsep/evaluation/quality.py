"""Systems over held-out songs, between two marks: the best constant gain, and the ideal ratio mask.

    share = (SDR - SDR of the best gain) / (SDR of the mask - SDR of the best gain)

is how far of the way a system has come, with the SDR of whole songs (`usdr`); songs differ in how hard they are, and
the share is what can be compared between them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from streamsep.evaluation.evaluate import mean
from streamsep.evaluation.leakage import VOICE, loud_second
from streamsep.evaluation.summary import scores

Facts = dict[str, Any]
Scores = dict[str, dict[str, float]]  # stem, or `mean` -> measure -> dB
GAIN, MASK = "gain", "irm"  # the two marks, as systems of a comparison
MEASURES = ("usdr", "si_sdr", "sdr")


def song_quality(song: Facts, sources: Sequence[str]) -> dict[str, Scores]:
    """Scores of every system on one song of a comparison."""
    return _with_shares({name: _scores([result], sources) for name, result in song["results"].items()})


def group_quality(songs: Sequence[Facts], sources: Sequence[str]) -> dict[str, Scores]:
    """Scores of every system over songs: means, but of BSS eval's `sdr` medians, as its campaigns have it."""
    systems = dict.fromkeys(name for song in songs for name in song["results"])
    results = {name: [song["results"][name] for song in songs if name in song["results"]] for name in systems}
    return _with_shares({name: _scores(rows, sources) for name, rows in results.items()})


def _scores(results: Sequence[Facts], sources: Sequence[str]) -> Scores:
    """Of the stems that sound in one of the songs at least."""
    table = scores(results, sources)
    return {s: {key: row[key] for key in MEASURES} for s, row in table.items() if not math.isnan(row["usdr"])}


def _with_shares(systems: dict[str, Scores]) -> dict[str, Scores]:
    for table in systems.values():
        for stem, row in table.items():
            row["share"] = share(row["usdr"], *(systems.get(mark, {}).get(stem, {}).get("usdr", math.nan)
                                                for mark in (GAIN, MASK)))  # fmt: skip
    return systems


def share(sdr: float, gain: float, mask: float) -> float:
    """How far from the best gain to the mask; nan where a mark is missing, or the mask is no better than the gain."""
    return (sdr - gain) / (mask - gain) if mask > gain else math.nan


def leakage_into_voice(instrumentals: Sequence[Facts], faint: Sequence[Facts]) -> dict[str, dict[str, float]]:
    """By system: `level`, the 95th percentile of the vocals' level over all seconds of the instrumentals, in dB of full
    scale, and `gained`, what the faint voices' SDR has above the best constant gain, in dB, a mean over songs.
    """
    systems = dict.fromkeys(name for song in (*instrumentals, *faint) for name in song["results"])
    return {
        name: {"level": loud_second(_levels(instrumentals, name)), "gained": _gained(faint, name)} for name in systems
    }


def _levels(songs: Sequence[Facts], system: str) -> list[float]:
    voices = [song["results"][system]["stems"][VOICE] for song in songs if system in song["results"]]
    return [level for voice in voices for level in voice["curves"]["level"]]


def _gained(songs: Sequence[Facts], system: str) -> float:
    voices: list[Mapping[str, float]] = [
        song["results"][system]["stems"][VOICE] for song in songs if system in song["results"]
    ]
    return mean(voice["usdr"] - voice["baseline_sdr"] for voice in voices)
