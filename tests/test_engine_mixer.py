"""The mixer: unity is exact, changes are ramps."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamsep.engine.mixer import Mixer, channels_of, from_decibels
from streamsep.errors import StreamsepError
from tests.engine_toys import NAMES


def stems(frames: int) -> np.ndarray:
    return np.random.default_rng(0).uniform(-1, 1, (4, 2, frames)).astype(np.float32)


def test_untouched_stems_pass_bit_for_bit() -> None:
    sources = stems(50)
    np.testing.assert_array_equal(Mixer(NAMES, "stems").process(sources), sources.reshape(8, 50))
    np.testing.assert_array_equal(Mixer(NAMES, "mix").process(sources), sources.sum(axis=0))


def test_channels_follow_the_routing() -> None:
    assert Mixer(NAMES, "mix").channels == 2
    assert Mixer(NAMES, "stems").channels == 8


@settings(max_examples=50, deadline=None)
@given(chunks=st.lists(st.integers(1, 30), min_size=1, max_size=20), gain=st.floats(0, 2))
def test_a_gain_moves_by_a_straight_ramp_however_it_is_chunked(chunks: list[int], gain: float) -> None:
    mixer = Mixer(NAMES, "stems", ramp=100)
    mixer.aim(np.array([1, 1, gain, 1]))
    output = np.concatenate([mixer.process(np.ones((4, 2, n), np.float32)) for n in chunks], axis=1)
    done = np.minimum(np.arange(1, sum(chunks) + 1) / 100, 1)
    np.testing.assert_allclose(output[4], 1 + (gain - 1) * done, atol=1e-6)
    np.testing.assert_array_equal(output[[0, 1, 2, 3, 6, 7]], 1)


def test_a_ramp_that_is_turned_back_starts_where_it_is() -> None:
    mixer = Mixer(NAMES, "stems", ramp=100)
    pieces = []
    for target in (0.0, 1.0, 0.25):
        mixer.aim(np.array([target, 1, 1, 1]))
        pieces.append(mixer.process(np.ones((4, 2, 37), np.float32))[0])
    steps = np.abs(np.diff(np.concatenate([[1.0], *pieces])))
    assert steps.max() <= 1 / 100 + 1e-6


def test_peaks_are_those_of_the_stems_after_their_levels() -> None:
    mixer = Mixer(NAMES, "mix", ramp=1)
    mixer.aim(np.array([1.0, 0.5, 0, 2]))
    sources = np.zeros((4, 2, 3), np.float32)
    sources[:, 1, 2] = [0.5, -0.5, 1, -0.25]
    mixer.process(sources)
    assert mixer.peaks.tolist() == [0.5, 0.25, 0, 0.5]


def test_settle_ends_a_ramp_at_once() -> None:
    mixer = Mixer(NAMES, "stems", ramp=100)
    mixer.aim(np.array([1.0, 0, 1, 1]))
    mixer.settle()
    assert mixer.process(np.ones((4, 2, 1), np.float32))[2, 0] == 0


def test_decibels() -> None:
    assert from_decibels(0.0) == 1.0
    assert from_decibels(float("-inf")) == 0.0
    assert from_decibels(-20.0) == pytest.approx(0.1)


def test_an_unknown_routing_is_refused() -> None:
    with pytest.raises(StreamsepError, match="mix or stems"):
        channels_of("quad", NAMES)  # type: ignore[arg-type]
