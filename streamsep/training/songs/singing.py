"""Sung parts: voices placed on melodies, real phrases pasted between them, doubles, harmonies, choirs and rap."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from streamsep.training.clips import RATE, Generator, Samples
from streamsep.training.songs.ensemble import Singer, draw_ensemble
from streamsep.training.songs.mastering import level
from streamsep.training.songs.melody import Sung, contour, loudness
from streamsep.training.songs.phrasing import pasted, phrases, place, spoken_pitch, syllable_units
from streamsep.training.songs.resinging import STEP, Passage, resing
from streamsep.training.songs.score import Part, Score
from streamsep.training.songs.voice_effects import breath, drive, pan
from streamsep.training.songs.voices import Voice

_FADE = 0.03  # seconds


@dataclass(frozen=True)
class Singers:
    """The voices that songs may use."""

    voices: Sequence[Voice]

    def sing(self, part: Part, score: Score, rng: Generator) -> tuple[Samples, tuple[str, ...]]:
        """The part as it is sung, `[2, T]` at 44.1 kHz over the whole length of the score, its RMS about 0.1.

        A lead vocal is one singer, sometimes doubled or with a harmony; a backing vocal one or several, wide. Of the
        manners, `rap` keeps the melody of speech on the rhythm of the notes, `shout` is rough, `soft` full of breath.

        Returns:
            the sound, and the names of who sings.
        """
        notes = sung_notes(part, score)
        out = np.zeros((2, score.frames), np.float32)
        if not notes:
            return out, ()
        ensemble = draw_ensemble(self.voices, part, notes, score.style, rng)
        for voice in ensemble:
            sung = perform(voice.notes, voice.singer, score.frames, voice.words, rng)
            out += pan(sung, voice.position) * np.float32(voice.gain)
        heard = level(out)
        names = tuple(dict.fromkeys(voice.singer.voice.name for voice in ensemble))
        return (out * np.float32(0.1 / heard) if heard > 1e-4 else out), names


def perform(notes: list[Sung], singer: Singer, frames: int, words: int, rng: Generator) -> Samples:
    """One singer's notes as `[frames]`; the seed `words` decides which syllables are sung, `rng` all else."""
    choice = np.random.default_rng(words)
    notes = in_range(notes, singer.voice)
    seconds = frames / RATE
    pitch = contour(notes, seconds, singer.delivery, rng)
    gain = np.zeros(len(pitch), np.float32)
    passages: list[Passage] = []
    out = np.zeros(frames, np.float32)
    for phrase in phrases(notes):
        found = _phrase(phrase, singer, pitch, choice)
        found = [p for p in found if p.start >= (passages[-1].stop if passages else 0.0) and p.stop < seconds]
        if not found:
            continue
        passages += found
        _open(gain, found[0].start, found[-1].stop, loudness(phrase, seconds, singer.delivery), rng)
        if singer.breathes and found[0].start > 0.5:
            _add(out, breath(float(rng.uniform(0.2, 0.45)), rng) * singer.breathes, found[0].start - 0.03)
    voice = resing(singer.voice.source, passages, pitch, singer.manner, frames, rng)
    voice *= np.interp(np.arange(frames) / RATE, np.arange(len(gain)) * STEP, gain).astype(np.float32)
    return drive(voice, singer.drive) + out


def _phrase(phrase: list[Sung], singer: Singer, pitch: Samples, rng: Generator) -> list[Passage]:
    """The passages of one phrase; writes the pitch where the recording's own is kept."""
    if rng.random() < singer.paste and not singer.spoken:
        found = pasted(phrase, singer.voice, rng)
        if rng.random() < 0.5:
            spoken_pitch(pitch, found, singer.voice, phrase)
        return found
    found = place(syllable_units(phrase), singer.voice, rng)
    if singer.spoken:
        spoken_pitch(pitch, found, singer.voice, phrase)
    return found


def _open(gain: Samples, start: float, stop: float, level: Samples, rng: Generator) -> None:
    """Let sound through from `start` to `stop` seconds, fading in shortly and out as a voice ends."""
    first, last = max(int(start / STEP), 0), min(int(stop / STEP), len(gain))
    time = np.arange(first, last) * STEP
    release = float(rng.uniform(0.05, 0.2))
    fade = np.clip((time - start) / _FADE, 0, 1) * np.clip((stop - time) / release, 0, 1)
    gain[first:last] = fade * level[first:last]


def _add(out: Samples, sound: Samples, stop: float) -> None:
    """Add a sound that ends at `stop` seconds."""
    first = int(stop * RATE) - len(sound)
    if first >= 0 and first + len(sound) <= len(out):
        out[first : first + len(sound)] += sound


def sung_notes(part: Part, score: Score) -> list[Sung]:
    """The part's notes one after the other: what overlaps is cut, what is shorter than 50 ms left out."""
    found: list[Sung] = []
    for note in sorted(part.notes, key=lambda note: (note.start, -note.pitch)):
        start, stop = note.start, min(note.end, score.length - 0.05)
        if stop - start < 0.05 or (found and start - found[-1].start < 0.05):
            continue
        if found and found[-1].stop > start:
            found[-1] = replace(found[-1], stop=start)
        tied = bool(found) and note.syllable.startswith("-") and start - found[-1].stop < 0.1
        found.append(Sung(start, stop, float(note.pitch), float(note.velocity), tied))
    return found


def in_range(notes: list[Sung], voice: Voice) -> list[Sung]:
    """The notes in the octave that the voice sings best, some tones above its recordings' pitch."""
    own = 69 + 12 * float(np.log2(np.median(voice.pitch[voice.pitch > 0]) / 440))
    middle = float(np.median([note.pitch for note in notes]))
    octaves = round((own + 3 - middle) / 12)
    return [replace(note, pitch=note.pitch + 12 * octaves) for note in notes]
