"""A comparison's results as one set of data."""

from __future__ import annotations

import math

import pytest

from streamsep.evaluation.summary import _costs, _with_loudness_error, scores


def test_a_silent_side_has_no_loudness_error() -> None:
    """Else the mean over the songs would be infinite."""
    pairs = [(-20.0, -18.0), (-math.inf, -18.0), (-20.0, -math.inf), (-math.inf, -math.inf), (math.nan, -18.0)]
    songs = [
        _with_loudness_error({"results": {"x": {"stems": {"drums": {"lufs": lufs, "lufs_true": true}}}}})
        for lufs, true in pairs
    ]
    results = [song["results"]["x"] for song in songs]
    errors = [result["stems"]["drums"]["loudness_error"] for result in results]
    assert errors[0] == 2 and all(map(math.isnan, errors[1:]))
    assert scores(results, ["drums"])["drums"]["loudness_error"] == 2


def test_costs_are_those_of_all_songs_together() -> None:
    """A long song weighs more than a short one; memory is the most that any song took."""
    costs = [
        {"seconds_of_sound": 30, "seconds_of_work": 6, "cpu_time_factor": 0.5, "memory_mib": {"cpu": 300, "gpu": 20}},
        {"seconds_of_sound": 10, "seconds_of_work": 6, "cpu_time_factor": 0.9, "memory_mib": {"cpu": 400}},
    ]
    assert _costs(costs) == {
        "seconds_of_sound": 40,
        "seconds_of_work": 12,
        "real_time_factor": 0.3,
        "cpu_time_factor": pytest.approx(0.6),
        "memory_mib": {"cpu": 400, "gpu": 20},
    }
