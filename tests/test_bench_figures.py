"""Percentiles, intervals and histograms of durations, by numbers that are known."""

from __future__ import annotations

import numpy as np
import pytest

from streamsep.bench.figures import histogram, per_million, percentiles


def test_percentiles_are_durations_that_occurred() -> None:
    found = percentiles(np.random.default_rng(0).permutation(np.arange(1, 1001)) / 1000, 0.99)
    assert [found[key] for key in ("p50_ms", "p99_ms", "p999_ms", "longest_ms")] == [501, 991, 1000, 1000]
    assert (found["late"], found["steps"]) == (10, 1000)
    assert found["rtf"] == pytest.approx(0.501 / 0.99)


@pytest.mark.parametrize(
    ("misses", "low", "high"),
    [(0, 0.0, 0.2775), (5, 0.2366, 0.7634), (10, 0.7225, 1.0)],  # ten trials, as in tables of Wilson's interval
)
def test_misses_in_a_million(misses: int, low: float, high: float) -> None:
    found = per_million(misses, 10)
    assert found["rate"] == 1e5 * misses
    assert found["low"] == pytest.approx(1e6 * low, abs=51)
    assert found["high"] == pytest.approx(1e6 * high, abs=51)


def test_more_steps_say_more() -> None:
    assert per_million(0, 100_000)["high"] == pytest.approx(38.4, abs=0.1)
    assert per_million(10, 100_000)["low"] == pytest.approx(54.3, abs=0.1)


def test_a_histogram_has_forty_bins_for_a_factor_of_ten() -> None:
    found = histogram(np.array([1.0001e-3, 1.05e-3, 1.06e-3, 1.12e-2, 0.0]))
    assert found == {"1e-06": 1, "1": 2, "1.0593": 1, "10.593": 1}
    edges = [float(edge) for edge in histogram(np.geomspace(1.001e-3, 9.99e-3, 4000))]
    assert len(edges) == 40
    assert np.diff(np.log10(edges)) == pytest.approx(1 / 40, abs=1e-4)
