"""Fourier transforms as two matrix products are those of numpy."""

from __future__ import annotations

import numpy as np
import pytest

from streamsep.models.graph_spectrum import alternating, analysis, factors, synthesis


@pytest.mark.parametrize(
    ("window", "tail", "wanted"),
    [
        (2048, 1024, (64, 32)),
        (2048, 256, (64, 32)),
        (4096, 2048, (64, 64)),
        (64, 32, (8, 8)),
        (96, 24, (8, 12)),
        (90, 6, (15, 6)),
    ],
)
def test_factors(window: int, tail: int, wanted: tuple[int, int]) -> None:
    """The second is even and divides the tail; both are as near each other as can be."""
    n1, n2 = factors(window, tail)
    assert (n1, n2) == wanted and n1 * n2 == window and n2 % 2 == 0 and tail % n2 == 0


@pytest.mark.parametrize(("window", "tail"), [(2048, 1024), (64, 32), (90, 6)])
def test_analysis_and_synthesis(window: int, tail: int) -> None:
    n1, n2 = factors(window, tail)
    x = np.random.default_rng(0).standard_normal(window).astype(np.float32)
    stages = analysis(window, n1, n2)
    product = (stages.first @ x.reshape(n1, n2)) * stages.twiddle
    parts = (product.reshape(n1, 4 * n2) @ stages.second).reshape(n1, 2, n2 // 2)
    spectrum = parts.transpose(1, 2, 0).reshape(2, window // 2)
    wanted = np.fft.rfft(x.astype(np.float64))
    np.testing.assert_allclose(spectrum[0] + 1j * spectrum[1], wanted[:-1], rtol=0, atol=1e-6 * np.abs(wanted).max())
    np.testing.assert_allclose(x @ alternating(window), wanted[-1].real, rtol=0, atol=1e-4)

    doubled = 2 * spectrum
    doubled[:, 0] /= 2
    stages = synthesis(window, n1, n2, tail)
    product = (stages.first @ doubled.reshape(n2, n1)) * stages.twiddle
    wave = (product.reshape(n2, 4 * n1) @ stages.second).T.reshape(tail)
    wave = wave + wanted[-1].real * alternating(tail) / window
    np.testing.assert_allclose(wave, x[-tail:], rtol=0, atol=1e-6 * np.abs(x).max())
