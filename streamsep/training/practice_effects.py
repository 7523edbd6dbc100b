"""What lies between an instrument and a recording of it: overdrive, tone, a room."""

from __future__ import annotations

import numpy as np

from streamsep.training.clips import RATE, Generator, Samples

_BANDS = (60.0, 250.0, 1000.0, 4000.0, 12000.0)  # Hz


def overdrive(sound: Samples, drive: float) -> Samples:
    """Soft clipping of a sound brought to peak 1; `drive` 0 changes the level only, 1.5 warms, 10 and more distorts."""
    level = sound / np.float32(max(float(np.abs(sound).max(initial=0.0)), 1e-6))
    return level if drive <= 0 else (np.tanh(drive * level) / np.tanh(drive)).astype(np.float32)


def colour(sound: Samples, rng: Generator, *, wet: float, ceiling: float | None = None) -> Samples:
    """A random tone control and, three times in five, a room: decaying noise, different left and right.

    Args:
        sound: `[2, T]`.
        rng: of tone and room.
        wet: largest RMS gain of the room's answer.
        ceiling: Hz above which a loudspeaker cabinet falls off, if there is one.
    """
    room = _room(wet, rng) if rng.random() < 0.6 else np.zeros((2, 1), np.float32)
    size = 1 << (sound.shape[1] + room.shape[1]).bit_length()
    frequencies = np.fft.rfftfreq(size, 1 / RATE)
    tone = np.interp(np.log(np.maximum(frequencies, 1.0)), np.log(_BANDS), rng.normal(0, 3, len(_BANDS)))
    shape = 10 ** (tone / 20)
    if ceiling is not None:
        shape = shape / np.sqrt(1 + (frequencies / ceiling) ** 6)
    spectrum = np.fft.rfft(sound, size) * shape * (1 + np.fft.rfft(room, size))
    return np.fft.irfft(spectrum, size)[:, : sound.shape[1]].astype(np.float32)


def _room(wet: float, rng: Generator) -> Samples:
    """`[2, T]` of noise that falls by 60 dB in 0.15 to 0.9 seconds, after a short pause."""
    decay, pause = float(rng.uniform(0.15, 0.9)), int(RATE * rng.uniform(0.003, 0.02))
    time = np.arange(round(decay * RATE)) / RATE
    noise = rng.normal(size=(2, len(time))) * 10 ** (-3 * time / decay)
    noise *= wet * rng.uniform(0.2, 1.0) / np.sqrt(np.square(noise).sum(1, keepdims=True))
    return np.pad(noise, ((0, 0), (pause, 0))).astype(np.float32)
