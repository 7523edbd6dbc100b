"""The form of a song: an excerpt of intro, verses, choruses, bridge, solo and outro, and who is silent where."""

from __future__ import annotations

from typing import NamedTuple

from streamsep.training.clips import Generator

_FORMS = (
    "intro verse chorus verse chorus bridge chorus outro",
    "intro verse prechorus chorus verse prechorus chorus solo chorus outro",
    "intro verse verse chorus break verse chorus solo chorus",
    "chorus verse chorus break verse chorus bridge chorus outro",
    "intro verse chorus solo verse chorus outro",
    "intro verse bridge verse solo bridge verse outro",
)
_LENGTHS = {"intro": (2, 4, 4), "break": (2, 4), "outro": (2, 4), "prechorus": (2, 4), "bridge": (4, 8), "solo": (4, 8)}
_LOUDNESS = {
    "intro": 0.6, "verse": 0.7, "prechorus": 0.8, "chorus": 1.0, "bridge": 0.75, "solo": 0.95, "break": 0.5,
    "outro": 0.8,
}  # fmt: skip
# How likely a player rests through a whole section.
_REST = {
    "drums": {"intro": 0.35, "break": 0.6, "bridge": 0.2, "outro": 0.2, "verse": 0.05},
    "bass": {"intro": 0.4, "break": 0.5, "bridge": 0.15, "outro": 0.15, "verse": 0.06},
    "chords": {"intro": 0.15, "break": 0.3, "verse": 0.12},
    "colour": {"intro": 0.4, "verse": 0.55, "break": 0.4, "bridge": 0.3, "outro": 0.4, "solo": 0.4, "prechorus": 0.3},
    "lead": {"intro": 0.4, "verse": 0.85, "prechorus": 0.9, "chorus": 0.7, "bridge": 0.8, "break": 0.6, "outro": 0.4},
    "vocal": {"intro": 0.85, "solo": 0.95, "break": 0.7, "outro": 0.5, "bridge": 0.15},
    "backing": {"intro": 0.95, "verse": 0.8, "solo": 0.9, "break": 0.8, "bridge": 0.5, "prechorus": 0.5,
    "chorus": 0.15},
}  # fmt: skip


class Passage(NamedTuple):
    """A section in bars: its name, first bar, how many, and how loud it is meant, 0..1."""

    name: str
    first: int
    bars: int
    energy: float


def draw_form(bars: int, rng: Generator) -> tuple[Passage, ...]:
    """An excerpt of `bars` bars out of a song's form; it may begin in the middle."""
    names = _FORMS[int(rng.integers(len(_FORMS)))].split()
    start = 0 if rng.random() < 0.55 else int(rng.integers(1, len(names) - 2))
    passages, first = [], 0
    for name in names[start:] + names[1:] * 20:
        left = bars - first
        if left <= 0:
            break
        count = min(int(rng.choice(_LENGTHS.get(name, (8, 8, 4)))), left)
        energy = _LOUDNESS[name] * float(rng.uniform(0.9, 1.05))
        passages.append(Passage(name, first, count, min(energy, 1.0)))
        first += count
    return tuple(passages)


def draw_rests(player: str, passages: tuple[Passage, ...], rng: Generator) -> tuple[bool, ...]:
    """For each passage, whether a kind of player (drums, bass, chords, colour, lead, vocal, backing) plays there.

    A section that returns is treated alike; who would be silent throughout plays everywhere but in the break.
    """
    odds = _REST[player]
    plays = {name: bool(rng.random() >= odds.get(name, 0.02)) for name in dict.fromkeys(p.name for p in passages)}
    if not any(plays.values()):
        plays = {name: name != "break" or len(plays) == 1 for name in plays}
    return tuple(plays[passage.name] for passage in passages)
