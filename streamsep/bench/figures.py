"""What is told of measured durations: percentiles, misses and how sure they are, a histogram."""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

Times = NDArray[np.float64]

CONFIDENCE = 0.95
BINS = 40  # of a histogram, for each factor of ten


def percentiles(times: Times, hop_seconds: float) -> dict[str, Any]:
    """Of durations in seconds: percentiles (nearest rank above) in ms, the real-time factor of the median, and how
    many outlast a hop."""
    p50, p99, p999 = (float(p) for p in np.percentile(1000 * times, (50, 99, 99.9), method="higher"))
    return {
        "p50_ms": p50,
        "p99_ms": p99,
        "p999_ms": p999,
        "longest_ms": 1000 * float(times.max()),
        "rtf": p50 / hop_seconds / 1000,
        "late": int((times > hop_seconds).sum()),
        "steps": len(times),
    }


def per_million(misses: int, steps: int) -> dict[str, float]:
    """Misses in a million steps, and Wilson's interval around them (E. B. Wilson, 1927), as if each came by itself.

    >>> per_million(0, 10000)["rate"], round(per_million(0, 10000)["high"])
    (0.0, 384)
    """
    z = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)
    share, weight = misses / steps, z * z / steps
    centre = (share + weight / 2) / (1 + weight)
    reach = z / (1 + weight) * math.sqrt(share * (1 - share) / steps + weight / (4 * steps))
    low, high = max(0.0, centre - reach), min(1.0, centre + reach)
    return {"rate": 1e6 * share, "low": 1e6 * low if misses else 0.0, "high": 1e6 * high}


def histogram(times: Times) -> dict[str, int]:
    """How many fall into each bin that holds any, by its lower end in ms; 40 bins are a factor of ten."""
    bins = np.floor(BINS * np.log10(np.maximum(1000 * times, 1e-6))).astype(int)
    found = zip(*np.unique(bins, return_counts=True), strict=True)
    return {f"{10 ** (number / BINS):.5g}": int(count) for number, count in found}
