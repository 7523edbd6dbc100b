"""What the cache knows of a recording: its level, where it sounds, its samples to half a step of 16 bits."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from streamsep.training.clips import BLOCK, cached_clip
from tests.test_training_data import write


def blocks(*levels: float) -> np.ndarray:
    """A tenth of a second of a square wave at each level, mono."""
    wave = np.where(np.arange(BLOCK) % 2, 1.0, -1.0)[:, None]
    return np.concatenate([level * wave for level in levels])


def test_the_level_is_of_what_lies_within_34_decibels_of_the_loudest(tmp_path: Path) -> None:
    samples = blocks(0.5, 0.012, 0.008, 0.0)
    clip = cached_clip([write(tmp_path / "a.wav", samples)], tmp_path / "cache" / "a")
    assert clip.level == pytest.approx(np.sqrt((0.5**2 + 0.012**2) / 2), rel=1e-3)
    assert clip.envelope == pytest.approx([0.5, 0.012, 0.008, 0.0], abs=1e-4)


def test_what_lies_within_20_decibels_of_the_level_is_active(tmp_path: Path) -> None:
    """Four blocks of 0.5 have nearly that level, for all else is far below."""
    samples = blocks(*[0.5] * 4, 0.06, 0.04, 0.0)
    clip = cached_clip([write(tmp_path / "a.wav", samples)], tmp_path / "cache" / "a")
    assert 0.4 < clip.level < 0.5
    assert clip.active.tolist() == [True] * 5 + [False] * 2
    silent = cached_clip([write(tmp_path / "b.wav", blocks(0.0, 0.0))], tmp_path / "cache" / "b")
    assert silent.level == 0 and not silent.active.any()


@pytest.mark.parametrize("peak", [0.3, 1.0, 3.0])
def test_samples_are_rounded_to_the_nearest_step_of_16_bits(peak: float, tmp_path: Path) -> None:
    samples = np.random.default_rng(0).uniform(-peak, peak, (5000, 2)).astype(np.float32)
    clip = cached_clip([write(tmp_path / "a.wav", samples)], tmp_path / "cache" / "a")
    assert clip.scale == pytest.approx(max(1.0, float(np.abs(samples).max())) / 32767)
    error = clip.read(0, 5000) - samples.T
    assert np.abs(error).max() <= 0.501 * clip.scale and abs(error.mean()) < 0.02 * clip.scale


def test_of_more_than_two_channels_the_first_two_are_kept(tmp_path: Path) -> None:
    samples = blocks(1.0) * [0.1, 0.2, 0.3]
    clip = cached_clip([write(tmp_path / "a.wav", samples)], tmp_path / "cache" / "a")
    assert np.abs(clip.read(0, BLOCK)).max(1) == pytest.approx([0.1, 0.2], abs=1e-4)


def test_a_file_that_only_its_date_tells_apart_is_decoded_anew(tmp_path: Path) -> None:
    file, stem = write(tmp_path / "a.wav", blocks(0.1)), tmp_path / "cache" / "a"
    assert cached_clip([file], stem).level == pytest.approx(0.1, rel=1e-3)
    write(file, blocks(0.2))
    os.utime(file, ns=(1, 1))
    assert cached_clip([file], stem).level == pytest.approx(0.2, rel=1e-3)
