"""What the measures of a stem say in words: faults that a score alone would hide."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

Facts = Mapping[str, Any]
_CLIPPED = 20  # samples at the peak: a few are there by chance, and of a short song a great share


def diagnose(stems: Mapping[str, Facts], rate: int, frames: int) -> list[dict[str, str]]:
    """Warnings of one system on one song: {stem, kind, text}, kind being swap, drift, delay, clipped or seam.

    Args:
        frames: samples of the song.
    """
    found = []
    for stem, facts in stems.items():
        texts = {
            "swap": _swap(stem, facts, stems),
            "drift": _drift(facts),
            "delay": _delay(stem, facts, rate),
            "clipped": _clipped(facts, frames),
            "seam": _seam(facts),
        }
        found += [{"stem": stem, "kind": kind, "text": f"{stem} {text}"} for kind, text in texts.items() if text]
    return found


def _swap(stem: str, facts: Facts, stems: Mapping[str, Facts]) -> str:
    """Most like another stem's truth, and clearly so."""
    likeness: Mapping[str, float] = facts.get("likeness", {})
    if not likeness:
        return ""
    other = max(likeness, key=lambda name: likeness[name])
    if other == stem or likeness[other] < 0.5 or likeness[other] < 2 * likeness[stem]:
        return ""
    back = stems[other].get("likeness", {})
    if back and likeness[other] < 1.2 * back[other]:  # as the mixture, which is like everything
        return ""
    mutual = bool(back) and max(back, key=lambda name: back[name]) == stem
    words = f"and {other} are swapped" if mutual else f"sounds like the true {other}; are the stems in their places?"
    return f"{words} (likeness {likeness[other]:.2f} with {other}, {likeness[stem]:.2f} with {stem})"


def _drift(facts: Facts) -> str:
    drift = facts.get("drift", math.nan)
    if math.isnan(drift) or drift == 0:
        return ""
    every = 1 / abs(drift)
    # A stem that lost one sample of n runs ahead by 1 / (n - 1) for each of its own samples.
    words = (
        f"one sample of every {every + 1:.0f} is missing" if drift < 0 else f"a sample is added every {every - 1:.0f}"
    )
    return f"runs {'ahead of' if drift < 0 else 'behind'} its truth more and more: {words}"


def _delay(stem: str, facts: Facts, rate: int) -> str:
    drift, delay = facts.get("drift", math.nan), facts.get("delay", 0)
    like = facts.get("likeness", {}).get(stem, 0.0)
    if abs(delay) < 0.0005 * rate or like < 0.5 or abs(drift) > 0:
        return ""
    return f"is {abs(1000 * delay / rate):.1f} ms {'late' if delay > 0 else 'early'} ({abs(delay)} samples)"


def _clipped(facts: Facts, frames: int) -> str:
    share = facts["clipped"]
    if round(share * frames) < _CLIPPED or share < 2e-4 or share < 4 * facts.get("clipped_true", 0.0):
        return ""
    return f"is clipped: {100 * share:.2g} % of its samples lie at its peak of {facts['peak']:.3g}"


def _seam(facts: Facts) -> str:
    if not facts["seam_heard"]:
        return ""
    return f"has a seam every {facts['seam_period']} samples, {facts['seam']:.1f} dB rougher than between them"
