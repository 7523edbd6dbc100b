"""How far one system's stems are from another's: what can be said where the truth is not known."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamsep.evaluation.measures.sums import Seconds, second_measures, totals_of

Waves = NDArray[np.float32]


def difference(one: Waves, other: Waves, names: Sequence[str], rate: int = 44100) -> dict[str, dict[str, Any]]:
    """How far stems `one [T, S, C]` are from `other`, which stands for the truth.

    The longer of the two is cut. Equal stems have an sdr of inf, and nan where both are silent.

    Returns:
        stem -> sdr in dB, max (a sample's difference), curve (sdr by second).
    """
    length = min(len(one), len(other))
    rows = {}
    for index, name in enumerate(names):
        seconds, highest = Seconds(rate), math.nan
        for start in range(0, length, 4 * rate):
            piece = slice(start, min(start + 4 * rate, length))
            e, s = (np.asarray(x[piece, index], np.float64) for x in (one, other))
            seconds.update(s, e, s)
            highest = float(np.nanmax([highest, np.abs(s - e).max()]))
        table = seconds.table()
        rows[name] = {"sdr": totals_of(table.sum(0)).sdr, "max": highest, "curve": second_measures(table)["sdr"]}
    return rows
