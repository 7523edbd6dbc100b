"""Drum parts: grooves in step notation, played on a sampled kit by a player who is never quite exact."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from streamsep.training.clips import RATE, Generator, Samples
from streamsep.training.practice_samples import DrumKit, fade_out

_STRENGTH = {"X": 0.95, "x": 0.7, "o": 0.45, "g": 0.16}  # accent, stroke, light stroke, ghost note
_INSTEAD = {  # what is struck where a kit lacks a piece, in order
    "open": ("hat", "crash"), "ride": ("hat", "open"), "bell": ("ride", "rim", "hat"), "rim": ("snare",),
    "clap": ("snare",), "shaker": ("hat",), "crash": ("open", "ride"), "snare": ("clap", "rim"),
    "tom1": ("tom2", "snare"), "tom2": ("tom1", "snare"), "tom3": ("tom4", "tom2"), "tom4": ("tom3", "kick"),
}  # fmt: skip


class Groove(NamedTuple):
    """A bar of four beats: 16 steps, or 12 where beats fall into threes.

    Attributes:
        tempo: beats a minute, from and to.
        swing: largest delay of every second step, as a fraction of a step.
        lanes: piece -> steps.
    """

    tempo: tuple[float, float]
    swing: float
    lanes: Mapping[str, str]


GROOVES: dict[str, Groove] = {
    "rock": Groove((95, 145), 0.05, {
        "kick": "x.......x.x.....", "snare": "....X.......X...", "hat": "x.o.x.o.x.o.x.o."}),
    "rock_ride": Groove((90, 150), 0.05, {
        "kick": "x.....x.x.......", "snare": "....X.......X..g", "ride": "x.o.x.o.x.o.x.o.",
        "hat": "....o.......o..."}),
    "rock_open": Groove((100, 150), 0.0, {
        "kick": "x..x..x.x.......", "snare": "....X.......X...", "open": "x...x...x...x..."}),
    "punk": Groove((130, 150), 0.0, {
        "kick": "x...x..xx...x...", "snare": "..X...X...X...X.", "hat": "x.x.x.x.x.x.x.x."}),
    "funk": Groove((88, 116), 0.15, {
        "kick": "x..x..x....x.x..", "snare": "....X..g.g.gX..g", "hat": "xoxoxoxoxoxoxo.o",
        "open": "..............x."}),
    "funk_linear": Groove((84, 112), 0.12, {
        "kick": "x.x....x..x.....", "snare": "....X..g.g..X.g.", "hat": "x.xxo.x.x.xxo.x.",
        "open": ".......x........"}),
    "funk_late": Groove((80, 108), 0.2, {
        "kick": "x.x...x...x..x..", "snare": "....X..g.gX..g.X", "hat": "x.x.x.x.x.x.x...",
        "open": "..............x."}),
    "funk_ride": Groove((90, 112), 0.1, {
        "kick": "x..x....x.x..x..", "snare": ".g..X..g.g..X..g", "bell": "x.x.x.x.x.x.x.x.",
        "hat": "....x.......x..."}),
    "disco": Groove((108, 130), 0.0, {
        "kick": "x...x...x...x...", "snare": "....X.......X...", "hat": "xo..xo..xo..xo..",
        "open": "..x...x...x...x."}),
    "club": Groove((115, 140), 0.05, {
        "kick": "X...X...X...X...", "clap": "....X.......X...", "hat": "o.xoo.xoo.xoo.xo",
        "shaker": "xoxoxoxoxoxoxoxo"}),
    "half_time": Groove((100, 150), 0.1, {
        "kick": "x.....x......x..", "snare": "........X......g", "hat": "x.o.x.o.x.o.x.oo"}),
    "soul": Groove((100, 135), 0.08, {
        "kick": "x..x..x.x..x..x.", "snare": "X...X...X...X...", "shaker": "x.x.x.x.x.x.x.x."}),
    "bossa": Groove((110, 145), 0.0, {
        "kick": "x..xx..xx..xx..x", "rim": "x..x..x...x..x..", "hat": "oooooooooooooooo"}),
    "reggae": Groove((80, 100), 0.25, {
        "kick": "........X.......", "rim": "........X.....o.", "hat": "x.o.x.oox.o.x.o.", "open": "......x........."}),
    "toms": Groove((90, 130), 0.05, {
        "kick": "x...x...x...x...", "tom4": "x..x..x.x..x..x.", "tom2": ".....o.......o.o",
        "snare": "....X.......X..."}),
    "ballad": Groove((80, 95), 0.0, {
        "kick": "x.........x.....", "rim": "....x.......x...", "ride": "x.o.x.o.x.o.x.oo"}),
    "shuffle": Groove((90, 140), 0.0, {
        "kick": "x.....x.x...", "snare": "...X.....X..", "hat": "x.ox.ox.ox.o"}),
    "shuffle_half": Groove((80, 100), 0.0, {
        "kick": "x....x..x..x", "snare": ".g..g.Xg..g.", "hat": "x.xx.xx.xx.x"}),
    "swing": Groove((110, 150), 0.0, {
        "kick": "g..g..g..g..", "snare": ".....g..o..g", "ride": "x..x.ox..x.o", "hat": "...x.....x.."}),
    "six_eight": Groove((80, 110), 0.0, {
        "kick": "x....xx.....", "snare": "...X.....X.g", "hat": "xooxooxooxoo"}),
}  # fmt: skip


class Stroke(NamedTuple):
    """One hit: seconds from the start, piece, velocity 0..1."""

    time: float
    piece: str
    velocity: float


def play_groove(groove: Groove, kit: DrumKit, seconds: float, rng: Generator) -> Samples:
    """`[2, seconds]` of a groove with fills, small variations and human timing; no level is kept."""
    frames = round(seconds * RATE)
    out = np.zeros((2, frames + 6 * RATE), np.float32)
    strokes = sorted(_strokes(groove, seconds, rng))
    for index, stroke in enumerate(strokes):
        piece = at_hand(stroke.piece, kit)
        if piece is None:
            continue
        sound = kit.hit(piece, stroke.velocity, rng)
        if piece == "open":
            sound = _choke(sound, stroke.time, strokes[index + 1 :])
        start = max(round(stroke.time * RATE), 0)
        out[:, start : start + sound.shape[1]] += sound[:, : out.shape[1] - start]
    return fade_out(out[:, :frames].copy(), 0.3)


def _strokes(groove: Groove, seconds: float, rng: Generator) -> list[Stroke]:
    steps = len(next(iter(groove.lanes.values())))
    step = 240 / float(rng.uniform(*groove.tempo)) / steps
    loose, drag = float(rng.uniform(0.001, 0.009)), float(rng.normal(0, 0.004))
    swing = float(rng.uniform(0, groove.swing)) if groove.swing else 0.0
    loudness, every = float(rng.uniform(0.55, 1.05)), int(rng.choice((4, 8)))
    strokes: list[Stroke] = []
    for bar in range(int(seconds / (steps * step))):
        fill = _fill(steps, rng) if bar % every == every - 1 else {}
        swell = loudness * (1 + 0.15 * np.sin(2 * np.pi * bar / 16))
        for piece, velocity, index in _bar(groove, bar, every, fill, rng):
            delay = swing * step * (index % 2) + (drag if piece in ("snare", "clap") else 0.0)
            time = (bar * steps + index) * step + delay + float(rng.normal(0, loose))
            strokes.append(Stroke(time, piece, float(np.clip(velocity * swell * rng.normal(1, 0.09), 0.05, 1.0))))
    return strokes


def _bar(
    groove: Groove, bar: int, every: int, fill: Mapping[int, tuple[str, float]], rng: Generator
) -> list[tuple[str, float, int]]:
    """The hits of one bar as (piece, velocity, step); a fill takes the place of the groove where it plays."""
    hits = [(piece, velocity, index) for index, (piece, velocity) in fill.items()]
    if bar and bar % every == 0 and rng.random() < 0.7:
        hits.append(("crash", 0.85, 0))
    first = min(fill, default=len(next(iter(groove.lanes.values()))))
    for piece, lane in groove.lanes.items():
        for index, mark in enumerate(lane[:first]):
            stray = mark == "." and piece in ("snare", "kick") and rng.random() < 0.02
            if (mark != "." and rng.random() > 0.03) or stray:
                hits.append((piece, _STRENGTH.get(mark, 0.2), index))
    return hits


def _fill(steps: int, rng: Generator) -> dict[int, tuple[str, float]]:
    """A fill of a quarter to a whole bar, down the drums and growing, as step -> (piece, velocity)."""
    first = steps - int(rng.choice((steps // 4, steps // 2, steps)))
    order = ["snare", "tom1", "tom2", "tom3", "tom4"]
    count = steps - first
    drums = [order[min(int(5 * i / count + rng.integers(0, 2)), 4)] for i in range(count)]
    played = {i: rng.random() < 0.8 for i in range(count)}
    return {first + i: (drums[i], 0.55 + 0.4 * i / count) for i in range(count) if played[i] or i == 0}


def at_hand(piece: str, kit: DrumKit) -> str | None:
    """The piece of a kit that is struck for `piece`, or None."""
    return next((name for name in (piece, *_INSTEAD.get(piece, ())) if name in kit.layers), None)


def _choke(sound: Samples, time: float, later: list[Stroke]) -> Samples:
    """An open hat ends where the closed one is struck."""
    closing = next((stroke.time for stroke in later if stroke.piece in ("hat", "open")), None)
    length = sound.shape[1] if closing is None else max(round((closing - time) * RATE), 1)
    return fade_out(sound[:, :length].copy(), 0.03)
