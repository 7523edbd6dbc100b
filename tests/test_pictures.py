"""Waveforms and spectrograms side by side."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from streamsep.evaluation import pictures
from streamsep.evaluation.pictures import Column


def test_outline_and_spectrogram_show_where_a_tone_is() -> None:
    time = np.arange(44100) / 44100
    tone = np.where(time >= 0.5, 0.5 * np.sin(2 * np.pi * 1000 * time), 0)[:, None].repeat(2, 1).astype(np.float32)
    low, high = pictures.outline(tone)
    assert len(low) == len(high) == 900
    assert high[:449].max() == low[:449].min() == 0
    assert high[-100:].max() == pytest.approx(0.5, rel=1e-3) and low[-100:].min() == pytest.approx(-0.5, rel=1e-3)
    picture = pictures.spectrogram(tone, 44100)
    centres = np.geomspace(40, 22050, 161)
    band = int(picture[:, -10].argmax())
    assert centres[band] * 0.98 < 1000 < centres[band + 1] * 1.02
    assert picture[:, :30].max() < 1e-6 * picture.max()


def test_a_picture_of_one_sample_silence_and_strange_names(tmp_path: Path) -> None:
    stems = np.ones((1, 2, 2), np.float32)
    columns = [Column("one", stems, {"bass": "SDR 3.0 dB"}), Column("$two", 0 * stems)]
    pictures.draw(columns, ("drums", "bass"), 44100, "曲 $5", tmp_path / "picture")
    header = (tmp_path / "picture").read_bytes()[:24]
    assert header.startswith(b"\x89PNG") and int.from_bytes(header[16:20]) > 1000
