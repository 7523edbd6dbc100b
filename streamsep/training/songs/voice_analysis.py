"""What is known of a recorded voice before it sings: its pitch, a mark in every glottal period, and its syllables.

The pitch is WORLD's (Morise et al. 2016; DIO and StoneMask through pyworld). The marks follow the phase of the
fundamental: the recording is shifted down by its own pitch and low-passed, so what is left is a slow phase, which is
added to the pitch's; a mark stands wherever the sum passes the phase at which the voice is loudest.
"""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from streamsep.errors import missing
from streamsep.training.clips import RATE, Samples
from streamsep.training.songs.resinging import own_period

FRAME = 220  # samples between two values of the pitch, about 5 ms
_FLOOR, _CEILING = 65.0, 900.0  # Hz
_WINDOW = 1024
_BANDS = np.geomspace(150, 9000, 25)  # Hz, edges of the bands in which sounds are told apart


class Syllable(NamedTuple):
    """Where a syllable lies in its recording, in samples: a consonant from `start`, a vowel from `vowel` to `end`."""

    start: int
    vowel: int
    end: int


class Analysis(NamedTuple):
    """A recording, analysed.

    Attributes:
        pitch: Hz of every frame of `FRAME` samples; 0 where nothing is voiced.
        marks: samples, rising, one a glottal period in voiced sound.
        syllables: in order.
    """

    pitch: Samples
    marks: Samples
    syllables: tuple[Syllable, ...]


def analyse(sound: Samples) -> Analysis:
    """Analyse a recording `[T]` at 44.1 kHz.

    Raises:
        StreamsepError: pyworld or scipy is missing.
    """
    pitch = _pitch(sound)
    marks = _marks(sound, pitch)
    return Analysis(pitch, marks, find_syllables(sound, marks))


def voiced_runs(voiced: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """(first, last + 1) of each run of True."""
    edges = np.flatnonzero(np.diff(np.concatenate(([0], voiced.astype(np.int8), [0]))))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))


def _pitch(sound: Samples) -> Samples:
    """Hz a frame; what is quiet, shorter than 40 ms, or leaps away from its neighbours counts as unvoiced."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # pyworld asks pkg_resources for its own version
            import pyworld
    except ImportError:
        raise missing("pyworld", "songs") from None
    wide = sound.astype(np.float64)
    period = 1000 * FRAME / RATE
    rough, times = pyworld.dio(wide, RATE, f0_floor=_FLOOR, f0_ceil=_CEILING, frame_period=period)
    pitch = pyworld.stonemask(wide, rough, times, RATE)
    pitch[(pitch < _FLOOR) | (pitch > _CEILING)] = 0
    level = _frame_level(sound, len(pitch))
    voiced = (pitch > 0) & (level > 0.03 * max(float(np.percentile(level, 95)), 1e-5))
    if voiced.any():
        middle = np.median(pitch[voiced])
        voiced &= (pitch > 0.4 * middle) & (pitch < 2.5 * middle)
    steady = _median(pitch, 9)
    voiced &= np.abs(np.log2(np.maximum(pitch, 1) / np.maximum(steady, 1))) < 0.2
    _close(voiced, 4)
    for first, last in voiced_runs(voiced):
        if last - first < 8:
            voiced[first:last] = False
    good = voiced & (pitch > 0)
    if not good.any():
        return np.zeros(len(pitch), np.float32)
    filled = np.interp(np.arange(len(pitch)), np.flatnonzero(good), pitch[good])
    return np.where(voiced, filled, 0).astype(np.float32)


def _close(voiced: NDArray[np.bool_], frames: int) -> None:
    """Fill gaps of up to `frames` frames between voiced sound."""
    for first, last in voiced_runs(~voiced):
        if first > 0 and last < len(voiced) and last - first <= frames:
            voiced[first:last] = True


def _median(values: NDArray[np.float64], width: int) -> NDArray[np.float64]:
    padded = np.pad(values, width // 2, mode="edge")
    return np.asarray(np.median(np.lib.stride_tricks.sliding_window_view(padded, width), axis=1))


def _frame_level(sound: Samples, frames: int) -> Samples:
    """RMS of 20 ms around the middle of every frame."""
    power = np.concatenate(([0.0], np.cumsum(np.square(sound, dtype=np.float64))))
    middle = np.arange(frames) * FRAME
    first, last = (np.clip(middle + side, 0, len(sound)) for side in (-441, 441))
    return np.sqrt(np.maximum(power[last] - power[first], 0) / 882).astype(np.float32)


def _marks(sound: Samples, pitch: Samples) -> Samples:
    if not pitch.any():
        return np.zeros(0, np.float32)
    from scipy.signal import fftconvolve

    time = np.arange(len(sound))
    voiced = pitch > 0
    hertz = np.interp(time, np.flatnonzero(voiced) * FRAME, pitch[voiced])
    phase = 2 * np.pi * np.cumsum(hertz) / RATE
    width = int(2.5 * RATE / float(np.median(pitch[voiced])))
    window = np.hanning(width + 2)[1:-1]
    slow = fftconvolve(sound * np.exp(-1j * phase), window / window.sum(), mode="same")
    phase = np.maximum.accumulate(phase + np.unwrap(np.angle(slow)))
    sounding = np.repeat(voiced, FRAME)[: len(sound)]
    sounding = np.pad(sounding, (0, len(sound) - len(sounding)))
    bins = ((phase[sounding] / (2 * np.pi)) % 1 * 32).astype(int)
    energy = np.bincount(bins, np.square(sound[sounding], dtype=np.float64), 32)
    loudest = np.argmax(energy + np.roll(energy, 1) + np.roll(energy, -1))
    turns = phase / (2 * np.pi) - (loudest + 0.5) / 32
    whole = np.arange(np.ceil(turns[0]), np.floor(turns[-1]) + 1)
    marks = np.interp(whole, turns, time)
    return marks[sounding[np.round(marks).astype(int)]].astype(np.float32)


def find_syllables(sound: Samples, marks: NDArray[Any]) -> tuple[Syllable, ...]:
    """The syllables of a recording `[T]` whose periods are marked.

    Vowels begin where the sound rises or changes most and is voiced; consonants lie in the 40 to 180 ms before.
    """
    frames = len(sound) // FRAME + 1
    voiced = own_period(marks, np.arange(frames) * float(FRAME))[1]
    spectrum = _band_levels(sound, frames)
    loud = spectrum[:, 3:17].max(1)
    change, rise = _novelty(spectrum), _slope(loud)
    quiet = np.percentile(loud, 95) - 22
    able = _ahead(voiced, 5, 14).all(1) & (_ahead(loud, 1, 14).mean(1) > quiet)
    score = np.where(able, change * (rise > -0.5) + 1.5 * np.maximum(rise, 0), 0)
    onsets = [int(frame) for frame in _peaks(score, 30) if score[frame] > 3]
    starts = [_consonant(frame, onsets[i - 1] if i else 0, loud, change) for i, frame in enumerate(onsets)]
    ends = [*starts[1:], frames - 1] if onsets else []
    ends = [_sounding_end(onset, end, loud, quiet) for onset, end in zip(onsets, ends, strict=True)]
    found = zip(starts, onsets, ends, strict=True)
    return tuple(Syllable(s * FRAME, v * FRAME, e * FRAME) for s, v, e in found if e - v >= 12)


def _band_levels(sound: Samples, frames: int) -> Samples:
    """dB in each band for each frame, not below -50 dB of the loudest."""
    padded = np.pad(sound, (_WINDOW // 2, _WINDOW + FRAME))
    rows = np.lib.stride_tricks.sliding_window_view(padded, _WINDOW)[: frames * FRAME : FRAME]
    power = np.square(np.abs(np.fft.rfft(rows * np.hanning(_WINDOW).astype(np.float32), axis=1)))
    edges = np.round(_BANDS * _WINDOW / RATE).astype(int)
    edges = np.maximum.accumulate(np.maximum(edges, edges[0] + np.arange(len(edges))))
    bands = np.add.reduceat(power[:, : edges[-1]], edges[:-1], axis=1)
    level = 10 * np.log10(bands + 1e-9)
    return np.maximum(level, level.max() - 50).astype(np.float32)


def _ahead(values: NDArray[Any], first: int, last: int) -> NDArray[Any]:
    """`[T, last - first]`: for each frame the values from `first` to `last - 1` frames later."""
    padded = np.pad(values, (0, last))
    return np.lib.stride_tricks.sliding_window_view(padded, last - first)[first : first + len(values)]


def _novelty(spectrum: Samples) -> Samples:
    """dB by which the bands of the 40 ms after a frame differ from those of the 40 ms before."""
    return np.abs(_difference(spectrum, 8)).mean(1)


def _slope(loud: Samples) -> Samples:
    return _difference(loud[:, None], 6)[:, 0]


def _difference(values: Samples, width: int) -> Samples:
    total = np.cumsum(np.pad(values, ((width + 1, width), (0, 0)), mode="edge"), axis=0)
    after, here, before = total[2 * width :], total[width:-width], total[: -2 * width]
    return np.asarray((after - 2 * here + before)[:-1] / width, np.float32)


def _peaks(values: NDArray[Any], distance: int) -> NDArray[np.int64]:
    from scipy.signal import find_peaks

    return np.asarray(find_peaks(values, distance=distance)[0])


def _consonant(vowel: int, previous: int, loud: Samples, change: Samples) -> int:
    """The frame, at most 36 before the vowel, in which the sound before it was last steady or last fell silent."""
    first = max(vowel - 36, previous + (vowel - previous) // 2, 0)
    before = np.arange(first, max(vowel - 8, first + 1))
    steady = before[(change[before] < 2.0) | (loud[before] < loud[vowel] - 30)]
    return int(steady[-1]) if len(steady) else first


def _sounding_end(vowel: int, end: int, loud: Samples, quiet: float) -> int:
    silent = np.flatnonzero(loud[vowel:end] < quiet)
    silent = silent[silent > 12]
    return vowel + int(silent[0]) if len(silent) else end
