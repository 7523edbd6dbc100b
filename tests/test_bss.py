"""BSS eval in pieces against the package museval on the same arrays, and SI-SDR against fast_bss_eval."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch

from streamsep.evaluation import metrics
from streamsep.evaluation.measures import bss
from streamsep.evaluation.measures.bss import MEASURES, Waves, bss_frames


def museval_frames(truth: Waves, estimates: Waves, frame: int, taps: int) -> list[np.ndarray]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its imports, and of means of nothing
        from museval.metrics import bss_eval

        arrays = (np.moveaxis(x, 1, 0).astype(np.float64) for x in (truth, estimates))
        sdr, isr, sir, sar, _ = bss_eval(*arrays, window=frame, hop=frame, filters_len=taps)
    return [sdr, isr, sir, sar]


def separated(truth: Waves, rng: np.random.Generator) -> Waves:
    """Stems with every kind of error: leakage, noise, a wrong level, an echo in the other channel."""
    estimates = 0.8 * truth + 0.1 * truth.sum(1, keepdims=True) + 0.05 * rng.standard_normal(truth.shape)
    estimates[3:] += 0.3 * truth[:-3, :, ::-1]
    return estimates.astype(np.float32)


@pytest.fixture
def truth(rng: np.random.Generator) -> Waves:
    """Two stems of noise of different colour, the second at rest for a while; longer than a piece."""
    noise = rng.standard_normal((70_123, 2, 2))
    noise[1:, 1] += noise[:-1, 1]
    noise[9000:26000, 1] = 0
    return (noise * [[1.0], [0.3]]).astype(np.float32)


@pytest.mark.parametrize(("frame", "taps"), [(8000, 512), (8000, 48), (100_000, 48)])
def test_every_measure_is_that_of_museval(truth: Waves, rng: np.random.Generator, frame: int, taps: int) -> None:
    truth = truth if taps < 512 else truth[:34_567]
    estimates = separated(truth, rng)
    ours, theirs = bss_frames(truth, estimates, frame, taps), museval_frames(truth, estimates, frame, taps)
    for name, expected in zip(MEASURES, theirs, strict=True):
        np.testing.assert_allclose(getattr(ours, name), expected, atol=1e-6, rtol=0)
        medians = [row[name] for row in ours.medians()]
        np.testing.assert_allclose(medians, np.nanmedian(expected, axis=1), atol=1e-6, rtol=0)
    assert np.isnan(ours.sdr).sum() == (2 * 1 if frame == 8000 else 0)  # one frame of 8000 lies in the rest


def test_pieces_do_not_matter(truth: Waves, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    estimates = separated(truth, rng)
    whole = bss_frames(truth, estimates, 8000, taps=32)
    monkeypatch.setattr(bss, "_FFT", 1 << 10)
    pieces = bss_frames(truth, estimates, 8000, taps=32)
    for name in MEASURES:
        np.testing.assert_allclose(getattr(pieces, name), getattr(whole, name), atol=1e-8)


def test_a_filtered_truth_has_spatial_errors_alone(truth: Waves) -> None:
    late = np.zeros_like(truth)
    late[20:] = truth[:-20]
    frames = bss_frames(truth[:40000], late[:40000], 40000, taps=64)
    assert (frames.sir > 50).all() and (frames.sar > 25).all() and (frames.isr < 5).all()


def test_silence_has_no_measures(truth: Waves) -> None:
    for pair in ((truth, 0 * truth), (0 * truth, truth)):
        frames = bss_frames(*pair, frame=8000, taps=8)
        assert all(np.isnan(getattr(frames, name)).all() for name in MEASURES)
        assert all(np.isnan(value) for row in frames.medians() for value in row.values())


def test_si_sdr_is_that_of_fast_bss_eval(truth: Waves, rng: np.random.Generator) -> None:
    fast_bss_eval = pytest.importorskip("fast_bss_eval")
    estimates = separated(truth, rng)
    for stem in range(2):
        s, e = (np.ascontiguousarray(x[:, stem].T.reshape(1, -1), np.float64) for x in (truth, estimates))
        theirs = float(fast_bss_eval.si_sdr(s, e, zero_mean=False)[0])
        ours = metrics.si_sdr(torch.from_numpy(s), torch.from_numpy(e))
        assert ours == pytest.approx(theirs, abs=1e-4)
