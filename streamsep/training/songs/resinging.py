"""A recorded voice sung anew: other times, another pitch, another size of throat, by overlapping its glottal periods.

Pitch-synchronous overlap-add (Moulines and Charpentier 1990, TD-PSOLA): around every mark of the recording a grain of
two periods is windowed by Hann; grains are set down again at the periods of the new pitch. Unlike a vocoder it keeps
the texture of the recording, and hundreds of seconds of voice cost a second.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from streamsep.training.clips import RATE, Samples

Doubles = NDArray[np.float64]
_UNVOICED = 200.0  # grains a second where nothing is voiced
STEP = 0.002  # seconds between points of the grid on which the grains' times are laid out


class Passage(NamedTuple):
    """A piece of the new voice: from `start` to `stop` seconds it plays the source from sample `source` at `rate`."""

    start: float
    stop: float
    source: float
    rate: float


class Source(NamedTuple):
    """A recording as it is sung anew: `samples [T]` int16 or float32, the `scale` that makes amplitudes of them, and
    `marks`, samples, one in each voiced period."""

    samples: NDArray[Any]
    scale: float
    marks: NDArray[Any]


class Manner(NamedTuple):
    """How the throat is: `throat` scales formants (1.15: a smaller one), `rough` makes periods uneven (0 to 1: growl),
    `whisper` replaces tone by breath (0 to 1)."""

    throat: float = 1.0
    rough: float = 0.0
    whisper: float = 0.0


def resing(
    source: Source, passages: list[Passage], pitch: Samples, manner: Manner, frames: int, rng: np.random.Generator
) -> Samples:
    """The voice `[frames]` at 44.1 kHz.

    Args:
        source: the recording.
        passages: in order of time, not overlapping; between them is silence.
        pitch: Hz of every 2 ms of the new voice; 0 keeps the recording's own period.
        manner: of singing.
        frames: samples of the result.
        rng: of roughness, whisper and a little unrest in held vowels.
    """
    out = np.zeros(frames)
    if not passages:
        return out.astype(np.float32)
    times, places = _layout(source.marks, passages, pitch, manner, rng)
    centres, halves, gains = _grains(source.marks, places, times, manner, rng)
    order = np.argsort(halves, kind="stable")
    for rows in np.array_split(order, max(len(order) // 400, 1)):
        _lay_down(out, source, (times[rows] * RATE, centres[rows], halves[rows], gains[rows]), manner.throat)
    return out.astype(np.float32)


def _layout(
    marks: NDArray[Any], passages: list[Passage], pitch: Samples, manner: Manner, rng: np.random.Generator
) -> tuple[Doubles, Doubles]:
    """When (seconds) grains sound, and which sample of the source each of them shows."""
    starts, stops, sources, rates = (np.array(column) for column in zip(*passages, strict=True))
    grid = np.arange(starts[0], stops[-1], STEP)
    piece = np.searchsorted(starts, grid, "right") - 1
    place = sources[piece] + rates[piece] * (grid - starts[piece]) * RATE
    period, voiced = own_period(marks, place)
    wanted = pitch[np.minimum((grid / STEP).astype(int), len(pitch) - 1)]
    hertz = np.where(voiced, np.where(wanted > 0, wanted, RATE / period), _UNVOICED)
    turns = np.cumsum(hertz) * STEP
    times = np.interp(np.arange(1, np.floor(turns[-1])), turns, grid)
    if manner.rough:
        times += rng.normal(0, 0.08 * manner.rough, len(times)) / np.interp(times, grid, hertz)
    piece = np.searchsorted(starts, times, "right") - 1
    inside = (piece >= 0) & (times < stops[piece])
    times, piece = times[inside], piece[inside]
    held = np.minimum(np.abs(1 - rates[piece]), 1)
    unrest = rng.normal(0, 0.006, len(times)) * held  # a vowel held by repeating one period would buzz
    return times, sources[piece] + (rates[piece] * (times - starts[piece]) + unrest) * RATE


def own_period(marks: NDArray[Any], place: NDArray[np.floating]) -> tuple[Doubles, NDArray[np.bool_]]:
    """The source's period, in samples, around each place, and whether it is voiced there."""
    if len(marks) < 3:
        return np.full(len(place), RATE / _UNVOICED), np.zeros(len(place), bool)
    after = np.clip(np.searchsorted(marks, place), 1, len(marks) - 1)
    gap = (marks[after] - marks[after - 1]).astype(np.float64)
    return gap, (gap < RATE / 60) & (place >= marks[0]) & (place <= marks[-1])


def _grains(
    marks: NDArray[Any], places: Doubles, times: Doubles, manner: Manner, rng: np.random.Generator
) -> tuple[Doubles, Doubles, Doubles]:
    """Each grain's centre in the source, half its length in the source's samples, and its gain."""
    period, voiced = own_period(marks, places)
    breath = voiced & (rng.random(len(places)) < manner.whisper)
    toned = voiced & ~breath
    nearest = np.clip(np.searchsorted(marks, places), 1, max(len(marks) - 1, 1))
    if len(marks) > 1:
        nearest = nearest - (places - marks[nearest - 1] < marks[nearest] - places)
        centres = np.where(toned, marks[nearest], places)
    else:
        centres = places
    # Grains that come twice as often bring twice the power.
    sparse = np.diff(times, append=times[-1:] + 1) * RATE / period
    gains = np.where(toned & (sparse < 3), np.sqrt(np.maximum(sparse, 0.25)), 1.0)
    gains = np.where(breath, rng.choice((-0.5, 0.5), len(places)), gains)
    if manner.rough:
        every = np.arange(len(gains)) % int(rng.integers(2, 4)) == 0
        gains = gains * np.where(every, 1 - 0.5 * manner.rough, 1.0) * rng.normal(1, 0.15 * manner.rough, len(gains))
    return centres, np.where(toned, period, RATE / _UNVOICED), gains


def _lay_down(out: Doubles, source: Source, grains: tuple[Doubles, Doubles, Doubles, Doubles], throat: float) -> None:
    """Add grains (time in samples, centre, half length, gain; each `[G]`) to `out`."""
    targets, centres, halves, gains = grains
    reach = int(np.ceil(halves.max() / throat))
    offset = np.arange(-reach, reach + 1)
    whole = np.round(targets)
    # Between samples by cubic convolution (Keys 1981): at whole samples the voice would be rough above 5 kHz.
    step = ((offset[None, :] - (targets - whole)[:, None]) * throat).astype(np.float32)
    shape = np.abs(step) / halves[:, None].astype(np.float32)
    window = np.where(shape < 1, 0.5 + 0.5 * np.cos(np.float32(np.pi) * shape), np.float32(0))
    base = np.floor(centres)
    sound = _between(source.samples, base.astype(np.int64), step + (centres - base).astype(np.float32)[:, None])
    sound *= window * (gains * source.scale).astype(np.float32)[:, None]
    index = whole.astype(np.int64)[:, None] + offset[None, :]
    first = max(int(index.min()), 0)
    keep = (index >= 0) & (index < len(out))
    if not keep.any():
        return
    summed = np.bincount(index[keep] - first, sound[keep])
    out[first : first + len(summed)] += summed


def _between(samples: NDArray[Any], base: NDArray[np.int64], offset: Samples) -> Samples:
    """Samples at `base + offset`, `[G, L]`, by cubic convolution."""
    floor = np.floor(offset)
    u = offset - floor
    index = base[:, None] + floor.astype(np.int64)
    last = len(samples) - 1
    a, b, c, d = (samples[np.clip(index + k, 0, last)].astype(np.float32) for k in (-1, 0, 1, 2))
    return np.asarray(b + 0.5 * u * (c - a + u * (2 * a - 5 * b + 4 * c - d + u * (3 * (b - c) + d - a))))
