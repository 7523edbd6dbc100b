"""What a voice brings beside its tone: breaths, an overdriven microphone, a place between left and right."""

from __future__ import annotations

import numpy as np

from streamsep.training.clips import RATE, Generator, Samples


def breath(seconds: float, rng: Generator) -> Samples:
    """An inhalation `[T]` of RMS 1: noise between about 1 and 7 kHz with a throat's peaks, swelling and cut off."""
    count = int(seconds * RATE)
    hertz = np.fft.rfftfreq(count, 1 / RATE)
    shape = (hertz / (hertz + 900)) ** 2 / (1 + (hertz / 6500) ** 4)
    for centre in rng.uniform((1000, 2200, 3500), (1700, 3200, 5500)):
        shape = shape * (1 + 2.5 * np.exp(-(((hertz - centre) / 350) ** 2)))
    noise = np.fft.irfft(np.fft.rfft(rng.normal(size=count)) * shape, count)
    way = np.linspace(0, 1, count)
    noise *= way ** rng.uniform(0.5, 1.5) * np.clip((1 - way) / 0.15, 0, 1)
    return (noise / max(float(np.sqrt(np.mean(np.square(noise)))), 1e-9)).astype(np.float32)


def drive(sound: Samples, amount: float) -> Samples:
    """Soft clipping that keeps the RMS; 0 leaves the sound alone, 8 is a scream through a small amplifier."""
    level = float(np.sqrt(np.mean(np.square(sound))))
    if amount <= 0 or level < 1e-6:
        return sound
    bent = np.tanh(sound * np.float32(amount / (4 * level)) + np.float32(0.1)) - np.float32(np.tanh(0.1))
    return bent * np.float32(level / max(float(np.sqrt(np.mean(np.square(bent)))), 1e-6))


def pan(sound: Samples, position: float) -> Samples:
    """`[T]` as `[2, T]` at `position`, -1 left to 1 right, at constant power."""
    angle = (position + 1) * np.pi / 4
    return np.stack([sound * np.float32(np.cos(angle)), sound * np.float32(np.sin(angle))])
