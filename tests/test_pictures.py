"""The spectrogram of the report's pictures."""

from __future__ import annotations

import numpy as np
import pytest

from streamsep.evaluation.pictures import spectrogram


def test_a_spectrogram_shows_where_a_tone_is() -> None:
    time = np.arange(44100) / 44100
    tone = np.where(time >= 0.5, 0.5 * np.sin(2 * np.pi * 1000 * time), 0)[:, None].repeat(2, 1).astype(np.float32)
    picture = spectrogram(tone, 44100)
    centres = np.geomspace(40, 22050, 161)
    band = int(picture[:, -10].argmax())
    assert centres[band] * 0.98 < 1000 < centres[band + 1] * 1.02
    assert picture[:, :30].max() < 1e-6 * picture.max()


def test_power_does_not_depend_on_where_a_line_falls() -> None:
    time = np.arange(44100) / 44100
    power = [
        (spectrogram(np.sin(2 * np.pi * frequency * time)[:, None].astype(np.float32), 44100)[:, 40] * WIDTHS).sum()
        for frequency in (200, 205.7, 1000, 1234.5, 9000)
    ]
    assert power == pytest.approx([power[0]] * 5, rel=0.02)


EDGES = np.geomspace(40, 22050, 161)
WIDTHS = np.diff(EDGES) * 4096 / 44100


@pytest.mark.parametrize("length", [1, 100, 5000, 500_000])
def test_any_length_and_silence(length: int) -> None:
    picture = spectrogram(np.zeros((length, 2), np.float32), 44100)
    assert picture.shape[0] == 160 and 1 <= picture.shape[1] <= 900 and not picture.any()
    assert np.isfinite(spectrogram(np.ones((length, 2), np.float32), 44100)).all()
