"""Oracle masks against straight-line versions on the whole song with scipy's STFT."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.signal import istft, stft

from streamsep.evaluation.oracles import best_gain, mixture, oracle, silence
from streamsep.evaluation.spectra import Synthesis, Transform

Waves = Any
EPS = np.finfo(float).eps
SIZES = [(4096, 1024), (2048, 1024), (512, 128)]


@pytest.fixture
def stems(rng: np.random.Generator) -> Waves:
    """Three stems `[T, 3, 2]` that share a part: a tone, noise, and noise that rests; of odd length."""
    time = np.arange(90_001) / 44100
    tone = np.sin(2 * np.pi * 440 * time)[:, None] * [0.5, 0.2]
    noise, rest = 0.1 * rng.standard_normal((2, 90_001, 2)) + 0.02 * rng.standard_normal((90_001, 2))
    rest[30_000:60_000] = 0
    return np.stack([tone, noise, rest], axis=1).astype(np.float32)


def spectrum(samples: Waves, size: int, hop: int) -> Any:
    return stft(samples.T.astype(float), nperseg=size, noverlap=size - hop)[-1]


def sound(spectrum: Any, size: int, hop: int, length: int) -> Any:
    return istft(spectrum, nperseg=size, noverlap=size - hop)[1].T[:length]


def whole(kind: str, stems: Waves, mix: Waves, size: int, hop: int) -> Waves:
    return np.concatenate(list(oracle(kind, stems, mix, Transform(size, hop))))


@pytest.mark.parametrize(("size", "hop"), SIZES)
def test_the_transform_is_scipys(stems: Waves, size: int, hop: int) -> None:
    transform, mix = Transform(size, hop), stems.sum(1)
    ours = np.concatenate([transform.analyse(mix, *block) for block in transform.blocks(len(mix))], axis=-1)
    np.testing.assert_allclose(ours, spectrum(mix, size, hop), atol=1e-12)
    back = Synthesis(transform, len(mix))
    pieces = [back.add(ours[..., at : at + 5]) for at in range(0, ours.shape[-1], 5)]
    np.testing.assert_allclose(np.concatenate(pieces), mix, atol=1e-10)


@pytest.mark.parametrize(("size", "hop"), SIZES)
def test_the_ratio_mask_is_the_published_recipe(stems: Waves, size: int, hop: int) -> None:
    """Sigsep's: power of each stem's STFT over the sum of all plus eps, times the mixture, channel by channel."""
    mix = stems.sum(1)
    x = spectrum(mix, size, hop)
    powers = [np.abs(spectrum(stems[:, j], size, hop)) ** 2 for j in range(3)]
    model = EPS
    for power in powers:
        model = model + power
    expected = [sound(x * (power / model), size, hop, len(mix)) for power in powers]
    np.testing.assert_allclose(whole("irm", stems, mix, size, hop), np.stack(expected, 1), atol=2e-7)


def test_the_binary_mask_is_the_published_recipe(stems: Waves) -> None:
    mix = stems.sum(1)
    x = spectrum(mix, 4096, 1024)
    expected = []
    for j in range(3):
        share = np.abs(spectrum(stems[:, j], 4096, 1024)) / (EPS + np.abs(x))
        expected.append(sound(x * np.where(share >= 0.5, 1.0, 0.0), 4096, 1024, len(mix)))
    np.testing.assert_allclose(whole("ibm", stems, mix, 4096, 1024), np.stack(expected, 1), atol=2e-7)


def test_phase_sensitive_and_magnitude_masks(stems: Waves) -> None:
    mix = stems.sum(1)
    x = spectrum(mix, 4096, 1024)
    psm, magnitude = [], []
    for j in range(3):
        s = spectrum(stems[:, j], 4096, 1024)
        mask = np.abs(s) / np.maximum(np.abs(x), 1e-30) * np.cos(np.angle(s) - np.angle(x))
        psm.append(sound(x * mask.clip(0, 1), 4096, 1024, len(mix)))
        magnitude.append(sound(np.abs(s) * np.exp(1j * np.angle(x)), 4096, 1024, len(mix)))
    np.testing.assert_allclose(whole("psm", stems, mix, 4096, 1024), np.stack(psm, 1), atol=1e-6)
    np.testing.assert_allclose(whole("magnitude", stems, mix, 4096, 1024), np.stack(magnitude, 1), atol=1e-6)


def test_the_wiener_filter_is_the_published_recipe(rng: np.random.Generator) -> None:
    """Sigsep's MWF, bin by bin and frame by frame."""
    widths = np.array([[1, 0.5], [0.2, 1], [0.7, -0.7]])
    short = ((rng.standard_normal((1700, 3, 1)) + 0.3 * rng.standard_normal((1700, 3, 2))) * widths).astype(np.float32)
    mix = short.sum(1)
    x = spectrum(mix, 128, 32)
    spectra = [spectrum(short[:, j], 128, 32) for j in range(3)]
    bins, frames = x.shape[1:]
    expected = np.zeros((3, 2, bins, frames), complex)
    for f in range(bins):
        spatial = []
        for s in spectra:
            mean = np.mean([np.outer(v, v.conj()) / (EPS + np.mean(np.abs(v) ** 2)) for v in s[:, f].T], axis=0)
            spatial.append(mean * 2 / (EPS + np.trace(mean)) + EPS * np.eye(2))
        inverses = [adjugate(r) / (EPS + np.linalg.det(r)) for r in spatial]
        for t in range(frames):
            powers = [np.real(np.trace(i @ np.outer(s[:, f, t], s[:, f, t].conj()))) / 2
                      for i, s in zip(inverses, spectra, strict=True)]  # fmt: skip
            shares = [p * r for p, r in zip(powers, spatial, strict=True)]
            total = np.sum(shares, axis=0)
            inverse = adjugate(total) / (EPS + total[0, 0] * total[1, 1] - total[0, 1] * total[1, 0])
            for j in range(3):
                expected[j, :, f, t] = shares[j] @ inverse @ x[:, f, t]
    sounds = np.stack([sound(each, 128, 32, len(mix)) for each in expected], 1)
    ours = whole("mwf", short, mix, 128, 32)
    np.testing.assert_allclose(ours, sounds, atol=1e-5)


def adjugate(matrix: Any) -> Any:
    return np.array([[matrix[1, 1], -matrix[0, 1]], [-matrix[1, 0], matrix[0, 0]]])


def test_masks_order_as_they_must(stems: Waves) -> None:
    mix = stems.sum(1)

    def sdr(estimate: Waves) -> float:
        return float(10 * np.log10(np.square(stems[:, 1]).sum() / np.square(estimate[:, 1] - stems[:, 1]).sum()))

    scores = {kind: sdr(whole(kind, stems, mix, 2048, 512)) for kind in ("ibm", "irm", "psm")}
    assert scores["psm"] > scores["irm"] > scores["ibm"] > sdr(np.concatenate(list(mixture(mix, 3))))
    assert sdr(np.concatenate(list(silence(mix, 3)))) == 0


@pytest.mark.parametrize("sizes", [(15, 4), (17, 4), (64, 33), (64, 0)])
def test_sizes_that_do_not_reconstruct_are_refused(sizes: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="an STFT has"):
        Transform(*sizes)


def test_the_best_gain_is_the_best(stems: Waves) -> None:
    """By pieces as by one: its SDR is the published formula's, and no other factor does better."""
    mix = stems.sum(1)
    found = np.concatenate(list(best_gain(stems, mix, piece=10_007)))
    for index in range(3):
        truth, m = stems[:, index].astype(float), mix.astype(float)
        gain = (truth * m).sum() / (m * m).sum()
        np.testing.assert_allclose(found[:, index], gain * m, atol=1e-6)
        error = np.square(truth - gain * m).sum()
        assert all(np.square(truth - (gain + step) * m).sum() > error for step in (-0.01, 0.01))
    assert not np.concatenate(list(best_gain(stems, np.zeros_like(mix)))).any()
