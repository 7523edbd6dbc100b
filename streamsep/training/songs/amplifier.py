"""A guitar amplifier: tone before the drive, an oversampled soft clip, a loudspeaker cabinet after it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from streamsep.errors import missing
from streamsep.training.clips import RATE, Generator, Samples

_TAPS = 4096  # of the cabinet's answer


@dataclass(frozen=True)
class Amplifier:
    """The knobs.

    Attributes:
        drive: dB by which the signal passes the point where it bends; 0 is nearly clean, 20 crunches, 45 is metal.
        tight: Hz below which the signal is thinned before the drive.
        bias: asymmetry of the bend, 0..0.4.
        body: (Hz, dB, width in octaves) of the cabinet's resonances and dips.
        ceiling: Hz above which the loudspeaker falls off.
    """

    drive: float
    tight: float
    bias: float
    body: tuple[tuple[float, float, float], ...]
    ceiling: float


def draw_amplifier(manner: str, rng: Generator) -> Amplifier:
    """An amplifier for "clean", "crunch" or "distorted"."""
    drive = {"clean": (-6, 6), "crunch": (12, 26), "distorted": (26, 48)}[manner]
    body = (
        (float(rng.uniform(90, 140)), float(rng.uniform(1, 6)), 0.8),
        (float(rng.uniform(350, 800)), float(rng.uniform(-8, 2)), 1.2),
        (float(rng.uniform(1800, 3200)), float(rng.uniform(2, 8)), 1.0),
        (float(rng.uniform(3500, 5000)), float(rng.uniform(-6, 3)), 0.5),
    )
    tight = float(rng.uniform(60, 250 if manner == "distorted" else 120))
    return Amplifier(
        float(rng.uniform(*drive)), tight, float(rng.uniform(0, 0.3)), body, float(rng.uniform(3800, 6500))
    )


def amplify(sound: Samples, amplifier: Amplifier) -> Samples:
    """`[2, T]` through the amplifier, mono (both channels alike), RMS about 0.1 where it sounds.

    Raises:
        StreamsepError: scipy is missing.
    """
    signal = _scipy()
    mono = sound.mean(0)
    loud = float(np.sqrt(np.mean(np.square(mono[np.abs(mono) > 1e-4])))) if np.abs(mono).max(initial=0) > 1e-4 else 1.0
    high = signal.butter(1, amplifier.tight, "highpass", fs=RATE, output="sos")
    driven = signal.sosfilt(high, mono / loud).astype(np.float32)
    # Twice the rate keeps the mirrored overtones of the bend below those that the loudspeaker lets through.
    fine = signal.resample_poly(driven, 2, 1) * np.float32(10 ** (amplifier.drive / 20) * 0.3)
    bent = np.tanh(fine + np.float32(amplifier.bias)) - np.float32(np.tanh(amplifier.bias))
    heard = _cabinet(signal.resample_poly(bent, 1, 2)[: len(mono)], amplifier)
    heard = heard / np.float32(max(float(np.sqrt(np.mean(np.square(heard)))), 1e-6)) * np.float32(0.1)
    return np.stack([heard, heard])


def _cabinet(sound: Samples, amplifier: Amplifier) -> Samples:
    frequency = np.fft.rfftfreq(_TAPS, 1 / RATE)
    octaves = np.log2(np.maximum(frequency, 20.0))
    gain = np.zeros(len(frequency))
    for centre, db, width in amplifier.body:
        gain += db * np.exp(-0.5 * np.square((octaves - np.log2(centre)) / (width / 2)))
    shape = 10 ** (gain / 20) / np.sqrt(1 + (frequency / amplifier.ceiling) ** 8)
    shape *= np.sqrt((frequency / 70) ** 4 / (1 + (frequency / 70) ** 4))
    answer = (np.roll(np.fft.irfft(shape), _TAPS // 2) * np.hanning(_TAPS)).astype(np.float32)
    heard = _scipy().oaconvolve(sound, answer)
    return heard[_TAPS // 2 :][: len(sound)].astype(np.float32)


def _scipy() -> Any:
    try:
        from scipy import signal
    except ImportError:
        raise missing("scipy", "songs") from None
    return signal
