"""A voice for tests: a row of syllables, each a hiss and a vowel of pulses through two formants, all known exactly."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from streamsep.training.clips import RATE, Samples
from streamsep.training.songs.resinging import Source
from streamsep.training.songs.score import Note, Part, Score
from streamsep.training.songs.voices import Kind, Voice

HISS, VOWEL, REST = RATE // 16, RATE // 3, RATE // 5  # samples


def made_take(hertz: float, count: int = 6, seed: int = 0) -> tuple[Samples, NDArray[np.float64], NDArray[np.int64]]:
    """(sound `[T]`, marks, syllables `[count, 3]`) of `count` syllables at a pitch."""
    rng = np.random.default_rng(seed)
    sound = np.zeros(count * (HISS + VOWEL) + 2 * REST)
    marks, syllables = [], []
    time = np.arange(1024) / RATE
    for number in range(count):
        start = REST + number * (HISS + VOWEL)
        formants = rng.uniform((400, 1100), (800, 2400))
        pulse = sum(np.exp(-400 * time) * np.cos(2 * np.pi * formant * time) for formant in formants)
        sound[start : start + HISS] += 0.05 * rng.normal(size=HISS)
        for mark in np.arange(start + HISS, start + HISS + VOWEL, RATE / hertz):
            sound[round(mark) : round(mark) + 1024] += 0.2 * pulse
            marks.append(float(round(mark)))
        syllables.append((start, start + HISS, start + HISS + VOWEL))
    return sound.astype(np.float32), np.array(marks), np.array(syllables, np.int64)


def made_voice_of(hertz: float = 200.0, kind: Kind = "sung", name: str = "test") -> Voice:
    """A singer of one take."""
    sound, marks, syllables = made_take(hertz)
    take = np.zeros(len(syllables), np.int64)
    bounds = np.array([[0, len(sound)]], np.int64)
    return Voice(name, kind, Source(sound, 1.0, marks), syllables, take, bounds, np.array([hertz], np.float32))


def made_score(*parts: Part, length: float = 6.0, style: str = "pop") -> Score:
    """A song of these parts."""
    return Score(120.0, 0, False, 4, length, style, (), parts)


def made_part(role: str = "lead vocal", manner: str = "sung") -> Part:
    """Eight notes with a rest in the middle, in the octave of a voice at 200 Hz."""
    pitches = (55, 57, 59, 60, 62, 59, 57, 55)
    starts = (0.6, 1.1, 1.6, 2.1, 3.2, 3.7, 4.2, 4.7)
    notes = tuple(Note(start, 0.48, pitch, 0.8, "la") for start, pitch in zip(starts, pitches, strict=True))
    return Part("vocals", role, notes, manner)


def tracked(sound: Samples, at: float, low: float = 80.0, high: float = 500.0) -> float:
    """Hz of 60 ms around `at` seconds, by the autocorrelation's peak (parabolic)."""
    first = int((at - 0.03) * RATE)
    piece = sound[first : first + int(0.06 * RATE)].astype(np.float64)
    spectrum = np.fft.rfft(piece * np.hanning(len(piece)), 8192)
    window = np.fft.irfft(np.abs(np.fft.rfft(np.hanning(len(piece)), 8192)) ** 2)
    heard = np.fft.irfft(np.abs(spectrum) ** 2)[:1024] / np.maximum(window[:1024], 1e-9)
    lags = np.arange(int(RATE / high), int(RATE / low))
    early = lags[heard[lags] > 0.9 * heard[lags].max()][0]  # not one of its multiples
    best = int(early + np.argmax(heard[early : early + 40]))
    left, here, right = heard[best - 1 : best + 2]
    return RATE / (best + 0.5 * (left - right) / (left - 2 * here + right))
