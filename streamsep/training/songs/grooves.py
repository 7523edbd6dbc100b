"""Drum parts: grooves of a style in step notation, with fills, crashes, opened hats, ghost notes and human timing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from streamsep.training.clips import Generator
from streamsep.training.practice_drums import GROOVES as PRACTICED
from streamsep.training.practice_drums import Groove
from streamsep.training.songs.form import Passage

KEYS = {  # General MIDI
    "kick": 36, "rim": 37, "snare": 38, "clap": 39, "tom4": 41, "hat": 42, "pedal": 44, "tom3": 45, "open": 46,
    "tom2": 47, "crash": 49, "tom1": 50, "ride": 51, "china": 52, "bell": 53, "tambourine": 54, "crash2": 57,
    "conga_high": 63, "conga_low": 64, "shaker": 70,
}  # fmt: skip
PIECES = {key: piece for piece, key in KEYS.items()}
_STRENGTH = {"X": 0.95, "x": 0.72, "o": 0.48, "g": 0.2}

GROOVES: dict[str, Groove] = {
    **PRACTICED,
    "rock_drive": Groove((110, 170), 0.0, {
        "kick": "x..x..x.x..x..x.", "snare": "....X.......X...", "hat": "X.x.X.x.X.x.X.x."}),
    "rock_busy": Groove((85, 130), 0.05, {
        "kick": "x..x..x...x...x.", "snare": "....X..g.g..X..g", "hat": "x.o.x.o.x.o.x.oo"}),
    "rock_crash": Groove((100, 180), 0.0, {
        "kick": "x...x.x.x...x.x.", "snare": "....X.......X...", "crash": "x...x...x...x..."}),
    "rock_tribal": Groove((90, 140), 0.0, {
        "kick": "x.....x.x.....x.", "tom4": "..x.x...x.x.x...", "snare": "....x.......X..."}),
    "d_beat": Groove((150, 210), 0.0, {
        "kick": "x..xx.x.x..xx.x.", "snare": "..X...X...X...X.", "open": "x.x.x.x.x.x.x.x."}),
    "skank": Groove((150, 200), 0.0, {
        "kick": "x.x.x.x.x.x.x.x.", "snare": ".X.X.X.X.X.X.X.X", "hat": "x.x.x.x.x.x.x.x."}),
    "double_kick": Groove((100, 180), 0.0, {
        "kick": "xxxxxxxxxxxxxxxx", "snare": "....X.......X...", "crash": "x...x...x...x..."}),
    "gallop": Groove((100, 170), 0.0, {
        "kick": "x.xxx.xxx.xxx.xx", "snare": "....X.......X...", "ride": "x...x...x...x..."}),
    "breakdown": Groove((80, 130), 0.0, {
        "kick": "x..x..x.....x.xx", "snare": "........X.......", "china": "x...x...x...x..."}),
    "blast": Groove((150, 220), 0.0, {
        "kick": "x.x.x.x.x.x.x.x.", "snare": ".x.x.x.x.x.x.x.x", "ride": "x.x.x.x.x.x.x.x."}),
    "pop": Groove((90, 130), 0.05, {
        "kick": "x......xx.x.....", "snare": "....X.......X...", "hat": "x.x.x.x.x.x.x.x."}),
    "pop_claps": Groove((90, 128), 0.0, {
        "kick": "x..x..x...x.....", "clap": "....X.......X...", "hat": "x.o.x.o.x.o.x.o.",
        "shaker": "oxoxoxoxoxoxoxox"}),
    "slow": Groove((60, 85), 0.05, {
        "kick": "x.....x.x.....x.", "snare": "....X.......X...", "hat": "x.o.x.o.x.o.x.o."}),
    "slow_ride": Groove((60, 88), 0.0, {
        "kick": "x.......x.x.....", "snare": "....x.......x..g", "ride": "x.o.x.o.x.o.x.o.",
        "pedal": "....o.......o..."}),
    "boom_bap": Groove((80, 98), 0.3, {
        "kick": "x..x...x..x.....", "snare": "....X.......X...", "hat": "x.x.x.x.x.x.x.xo"}),
    "trap": Groove((65, 80), 0.0, {
        "kick": "x.....x...x..x..", "clap": "........X.......", "hat": "xoxoxoxoxoxxxoxo", "open": "......x........."}),
    "house": Groove((118, 130), 0.0, {
        "kick": "X...X...X...X...", "clap": "....X.......X...", "open": "..x...x...x...x.", "hat": "oxo.oxo.oxo.oxo."}),
    "breaks": Groove((125, 174), 0.1, {
        "kick": "x.x.......x.....", "snare": "....X..g.g..X..g", "hat": "x.x.x.x.x.x.x.x.",
        "open": "..............x."}),
    "electro": Groove((100, 130), 0.0, {
        "kick": "x.....x...x.....", "snare": "....X.......X...", "hat": "xoxoxoxoxoxoxoxo"}),
    "stomp": Groove((90, 130), 0.0, {
        "kick": "x...x...x...x...", "tambourine": "..x...x...x...x.", "rim": "....x.......x..."}),
    "train": Groove((100, 140), 0.05, {
        "kick": "x...x...x...x...", "snare": "ggXgggXgggXgggXg"}),
    "samba": Groove((95, 125), 0.0, {
        "kick": "x..xx..xx..xx..x", "shaker": "XooxXooxXooxXoox", "conga_high": "..x...x.x...x...",
        "rim": "x..x...x..x.x..."}),
    "one_drop": Groove((65, 85), 0.2, {
        "kick": "........X.......", "snare": "........X.......", "hat": "x.o.x.o.x.o.x.oo"}),
    "steppers": Groove((65, 85), 0.1, {
        "kick": "x...x...x...x...", "rim": "....x.......x...", "hat": "x.o.x.oox.o.x.o."}),
    "motown": Groove((100, 130), 0.05, {
        "kick": "x.....x.x..x..x.", "snare": "X.X.X.X.X.X.X.X.", "tambourine": "....x.......x..."}),
}  # fmt: skip


class Beat(NamedTuple):
    """A stroke: beat of the song, whether swing moves it, piece, velocity 0..1."""

    beat: float
    swung: bool
    piece: str
    velocity: float


class Drumming(NamedTuple):
    """A drummer's choices for a song: the groove of the quiet and of the loud sections, and how often fills come."""

    quiet: Groove
    loud: Groove
    every: int
    ghosts: float

    def groove(self, passage: Passage) -> Groove:
        """What is played in a section."""
        return self.loud if passage.energy > 0.85 else self.quiet


def kicks(groove: Groove) -> list[float]:
    """The beats of a bar on which the kick falls."""
    steps = len(groove.lanes["kick"])
    return [4 * i / steps for i, mark in enumerate(groove.lanes["kick"]) if mark != "."]


def drum_bars(drumming: Drumming, passage: Passage, rng: Generator) -> list[Beat]:
    """All strokes of a section."""
    groove = drumming.groove(passage)
    strokes: list[Beat] = []
    for bar in range(passage.bars):
        ends = bar == passage.bars - 1
        due = ends or (bar + 1) % drumming.every == 0
        fill = _fill(len(groove.lanes["kick"]), ends, rng) if due and rng.random() < 0.75 else {}
        strokes += _bar(groove, passage, bar, fill, drumming.ghosts, rng)
    return strokes


def _bar(
    groove: Groove, passage: Passage, bar: int, fill: Mapping[int, tuple[str, float]], ghosts: float, rng: Generator
) -> list[Beat]:
    steps = len(groove.lanes["kick"])
    start, width, swung = 4.0 * (passage.first + bar), 4 / steps, steps == 16
    hits = [(index, piece, velocity) for index, (piece, velocity) in fill.items()]
    if bar == 0 and rng.random() < 0.8:
        hits += [(0, "crash" if rng.random() < 0.6 else "crash2", 0.9)]
    last = min(fill, default=steps)
    for piece, lane in groove.lanes.items():
        for index, mark in enumerate(lane[:last]):
            if mark != "." and rng.random() > 0.02:
                hits.append((index, _opened(piece, index, steps, rng), _STRENGTH[mark]))
            elif mark == "." and piece == "snare" and index % 2 and rng.random() < ghosts:
                hits.append((index, "snare", 0.18))
    strength = 0.75 + 0.35 * passage.energy
    return [
        Beat(start + i * width, swung, p, float(np.clip(v * strength * rng.normal(1, 0.08), 0.04, 1)))
        for i, p, v in hits
    ]


def _opened(piece: str, index: int, steps: int, rng: Generator) -> str:
    """A closed hat is opened now and then, mostly late in the bar."""
    late = index >= steps - 3
    return "open" if piece == "hat" and index % 2 == 0 and rng.random() < (0.12 if late else 0.01) else piece


def _fill(steps: int, ends: bool, rng: Generator) -> dict[int, tuple[str, float]]:
    """Step -> (piece, velocity) of a fill of a quarter to a whole bar: down the toms, a roll, or hits with the kick."""
    count = int(rng.choice((steps // 4, steps // 2, steps) if ends else (steps // 8, steps // 4)))
    kind, fill = rng.random(), {}
    order: Sequence[str] = ("snare", "tom1", "tom2", "tom3", "tom4")
    for i in range(count):
        if rng.random() > 0.82 and i:
            continue
        if kind < 0.6:
            piece = order[min(int(5 * i / count + rng.integers(0, 2)), 4)]
        else:
            piece = "snare" if kind < 0.85 or i % 3 else "kick"
        fill[steps - count + i] = (piece, 0.55 + 0.4 * i / count)
    return fill
