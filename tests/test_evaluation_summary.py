"""A comparison's results as one set of data."""

from __future__ import annotations

import math

from streamsep.evaluation.summary import _with_loudness_error, scores


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
