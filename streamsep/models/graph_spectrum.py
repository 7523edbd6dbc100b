"""Fourier transforms of one hop as matrix products, for an ONNX graph.

ONNX Runtime's own transform is slow and knows no inverse to real signals. A transform of N = N1 * N2 points is two
small matrix products with a twiddle between them (J. W. Cooley and J. W. Tukey, "An Algorithm for the Machine
Calculation of Complex Fourier Series", 1965). With time n = N2 n1 + n2 and bin k = k1 + N1 k2,

    exp(-2 pi i n k / N) = exp(-2 pi i n1 k1 / N1) exp(-2 pi i n2 k1 / N) exp(-2 pi i n2 k2 / N2).

A complex product of the twiddle is four real ones, so the first product gives its real and imaginary parts twice, and
the second adds up what belongs together.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float32]


@dataclass(frozen=True)
class Stages:
    """Two matrix products and the factor between them.

    Attributes:
        first: from the left; twiddle: by element; second: from the right.
    """

    first: Matrix
    twiddle: Matrix
    second: Matrix


def factors(window: int, tail: int) -> tuple[int, int]:
    """N1 and N2, near each other, of a transform of `window` points of which the last `tail` are wanted back."""
    fitting = [n for n in range(2, window, 2) if window % n == 0 and tail % n == 0]
    n2 = min(fitting, key=lambda n: (abs(math.log(n * n / window)), n))
    return window // n2, n2


def analysis(window: int, n1: int, n2: int) -> Stages:
    """`[N1, N2]` real samples to `[N1, 2 * N2 / 2]`: by k1, real parts for all k2 < N2 / 2, then imaginary parts."""
    cos1, sin1 = _waves(n1, n1, n1)
    first = np.stack([cos1, -sin1, cos1, -sin1], 1).reshape(4 * n1, n1)
    cos, sin = _waves(window, n1, n2)
    twiddle = np.stack([cos, sin, sin, cos], 1).reshape(4 * n1, n2)
    cos2, sin2 = _waves(n2, n2, n2 // 2)
    blocks = [[cos2, -sin2], [cos2, -sin2], [-sin2, -cos2], [sin2, cos2]]
    return Stages(_single(first), _single(twiddle), _single(np.block(blocks)))


def synthesis(window: int, n1: int, n2: int, tail: int) -> Stages:
    """`[2 * N2 / 2, N1]` real and imaginary parts to the last `tail` samples as `[N2, tail / N2]`.

    Bins above 0 must come doubled; half of the window's bins are never given.
    """
    cos2, sin2 = _waves(n2, n2, n2 // 2)
    rows = [np.concatenate(pair, 1) for pair in ((cos2, -sin2), (sin2, cos2))]
    first = np.stack([rows[0], rows[1], rows[0], rows[1]], 1).reshape(4 * n2, n2)
    cos, sin = _waves(window, n2, n1)
    twiddle = np.stack([cos, sin, sin, cos], 1).reshape(4 * n2, n1)
    cos1, sin1 = (wave[:, -(tail // n2) :] for wave in _waves(n1, n1, n1))
    second = np.concatenate([cos1, -cos1, -sin1, -sin1]) / window
    return Stages(_single(first), _single(twiddle), _single(second))


def alternating(length: int) -> Matrix:
    """The Nyquist bin's wave, `[length]`: 1, -1, 1, ..."""
    return _single(1 - 2.0 * (np.arange(length) % 2))


def _waves(period: int, rows: int, columns: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    angles = 2 * math.pi / period * (np.outer(np.arange(rows), np.arange(columns)) % period)
    return np.cos(angles), np.sin(angles)


def _single(values: NDArray[Any]) -> Matrix:
    return values.astype(np.float32)
