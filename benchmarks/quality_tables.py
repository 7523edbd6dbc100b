"""What `benchmarks.quality` measured, as tables: for the README by group, for docs by song, for a card by stem."""

from __future__ import annotations

from typing import Any

from benchmarks.markdown import table
from streamsep.evaluation.quality import GAIN, MASK

Facts = dict[str, Any]
STEMS = ("drums", "bass", "other", "vocals")
NAMES = {GAIN: "best constant gain", MASK: "ideal ratio mask"}


def number(value: float | None, form: str = ".2f") -> str:
    """A figure, or a dash where there is none."""
    return "–" if value is None else format(value, form)


def percent(value: float | None) -> str:
    """A share, or a dash."""
    return "–" if value is None else f"{100 * value:.0f} %"


def by_group(result: Facts) -> str:
    """A row for each group of songs and system."""
    heads = ["songs", "system", "latency ms", *STEMS, "mean SDR", "SI-SDR", "SDR v4", "share of the way"]
    rows = [
        [f"{group} ({facts['songs']})", *_system(result, name), *_means(scores)]
        for group, facts in result["groups"].items()
        for name, scores in facts["scores"].items()
    ]
    return table(heads, rows) + "\n\n" + _about(result)


def by_song(result: Facts) -> str:
    """A row for each song and system."""
    heads = ["song", "system", "latency ms", *STEMS, "mean SDR", "SI-SDR", "SDR v4", "share of the way"]
    rows = [
        [song, *_system(result, name), *_means(scores)]
        for song, facts in result["songs"].items()
        for name, scores in facts["scores"].items()
    ]
    return table(heads, rows)


def latency(result: Facts) -> str:
    """The curve of latency against quality and its figures; of no result only that."""
    if not result:
        return "Not measured."
    picture = "![Mean SDR over latency](latency.png)"
    return f"{picture}\n\n{by_group(result)} Every model was trained for {_budget(result)}."


def waiting(result: Facts) -> str:
    """What waiting buys: the picture and its figures."""
    return f"![Mean SDR over latency, of the weights that ship](waiting.png)\n\n{by_group(result)}"


def lookahead(result: Facts) -> str:
    """What look-ahead buys; of no result only that."""
    if not result:
        return "Not measured."
    return f"{by_group(result)} Every run was {_budget(result)} long, from the same weights."


def _budget(result: Facts) -> str:
    steps, minutes = result["budget"]["steps"], result["budget"]["minutes"]
    return f"{steps} steps" if minutes is None else f"{minutes:g} minutes"


def leakage(result: Facts) -> str:
    """A row for each group of songs and model."""
    rows = [
        [f"{group} ({facts['songs']})", *_system(result, name), number(row["level"], ".1f"), number(row["gained"])]
        for group, facts in result["groups"].items()
        for name, row in facts.get("leakage", {}).items()
    ]
    return table(["songs", "system", "latency ms", "vocals without a voice, dBFS", "a faint voice, dB gained"], rows)


def card(result: Facts, system: str) -> str:
    """A row for each song and stem of one system, then its means and its leakage in a sentence for each group."""
    heads = ["song", "stem", "SDR dB", "SI-SDR dB", "SDR v4 dB", "best constant gain dB", "ideal ratio mask dB"]
    rows = []
    for song, facts in result["songs"].items():
        scores = facts["scores"]
        for stem in STEMS:
            if (row := scores[system].get(stem, {})).get("usdr") is not None:
                marks = [number(scores[mark][stem]["usdr"]) for mark in (GAIN, MASK)]
                own = [number(row[key]) for key in ("usdr", "si_sdr", "sdr")]
                rows.append([song, stem, *own, *marks, percent(row["share"])])
    words = [_sentence(group, facts, system) for group, facts in result["groups"].items()]
    return table([*heads, "share of the way"], rows) + "\n\n" + " ".join(words)


def _sentence(group: str, facts: Facts, system: str) -> str:
    mean = facts["scores"][system]["mean"]
    text = f"Over the {group} songs: mean SDR {number(mean['usdr'])} dB, {percent(mean['share'])} of the way"
    if leaks := facts.get("leakage", {}).get(system):
        text += (
            f"; where nobody sings the vocals' seconds stay below {number(leaks['level'], '.1f')} dBFS in 95 of 100, "
            f"and a voice 20 dB under the band comes out {number(leaks['gained'])} dB above the best constant gain"
        )
    return text + "."


def _system(result: Facts, name: str) -> list[str]:
    return [NAMES.get(name, name), number(result["systems"][name]["latency_ms"], ".0f")]


def _means(scores: Facts) -> list[str]:
    stems = [number(scores.get(stem, {}).get("usdr")) for stem in STEMS]
    mean = scores["mean"]
    return [*stems, *(number(mean[key]) for key in ("usdr", "si_sdr", "sdr")), percent(mean["share"])]


def _about(result: Facts) -> str:
    part = "whole songs" if result["seconds"] is None else f"the first {result['seconds']:.0f} s of each song"
    return f"In dB, of {part}. The share is that of the mean SDR, from the best constant gain to the ideal ratio mask."
