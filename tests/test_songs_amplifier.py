"""Amplifiers: their overtones, and the time they keep."""

from __future__ import annotations

import numpy as np
import pytest

from streamsep.training.clips import RATE
from streamsep.training.songs.amplifier import Amplifier, amplify


def test_an_amplifier_adds_overtones_below_its_ceiling() -> None:
    pytest.importorskip("scipy")
    sine = np.tile(0.3 * np.sin(2 * np.pi * 441 * np.arange(RATE) / RATE).astype(np.float32), (2, 1))
    knobs = {"tight": 80.0, "bias": 0.1, "body": ((1000.0, 3.0, 1.0),), "ceiling": 5000.0}
    shares, highs = [], []
    for drive in (-20.0, 40.0):
        spectrum = np.abs(np.fft.rfft(amplify(sine, Amplifier(drive=drive, **knobs))[0]))  # type: ignore[arg-type]
        shares.append(float(spectrum[1323] / spectrum[441]))
        highs.append(float(spectrum[12000:].max() / spectrum.max()))
    assert shares[0] < 0.02 < 0.2 < shares[1] and max(highs) < 0.02


def test_an_amplifier_keeps_time() -> None:
    pytest.importorskip("scipy")
    click = np.zeros((2, RATE), np.float32)
    click[:, RATE // 2] = 0.5
    heard = np.abs(amplify(click, Amplifier(0.0, 80.0, 0.0, (), 6000.0))[0])
    assert np.argmax(heard) == pytest.approx(RATE // 2, abs=8)
