"""What masking a spectrogram could reach at best: masks made from the true stems, applied to the mixture.

The recipes are those of the oracle systems of the Signal Separation Evaluation Campaign (sigsep): X is the mixture's
STFT, S_j that of stem j, channel by channel; eps = 2.2e-16.

    irm        ideal ratio mask         |S_j|^a / (eps + sum_k |S_k|^a),  a = 2
    ibm        ideal binary mask        1 where |S_j| / (eps + |X|) >= 1/2, else 0
    psm        phase-sensitive mask     |S_j| / |X| * cos(angle S_j - angle X), held within 0 and 1
                                        (Erdogan et al., "Phase-sensitive and recognition-boosted speech separation
                                        using deep recurrent neural networks", 2015)
    magnitude  true magnitude, mixture's phase: |S_j| exp(i angle X); what no mask without phase can pass
    mwf        multichannel Wiener filter of each stem's power and spatial covariance
                                        (Duong, Vincent and Gribonval, "Under-determined reverberant audio source
                                        separation using a full-rank spatial covariance model", 2010)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from streamsep.evaluation.spectra import Spectrum, Synthesis, Transform

Waves = NDArray[np.float32]
EPS = float(np.finfo(np.float64).eps)
# (stems [S, C, F, n], mixture [C, F, n]) -> what is left of the mixture for each stem, [S, C, F, n]
Apply = Callable[[Spectrum, Spectrum], Spectrum]


def ratio_mask(stems: Spectrum, mix: Spectrum, power: float = 2.0) -> Spectrum:
    """Ideal ratio mask on the mixture."""
    energies = np.abs(stems) ** power
    return energies / (EPS + energies.sum(0)) * mix


def binary_mask(stems: Spectrum, mix: Spectrum, threshold: float = 0.5) -> Spectrum:
    """Ideal binary mask on the mixture."""
    return (np.abs(stems) / (EPS + np.abs(mix)) >= threshold) * mix


def phase_sensitive_mask(stems: Spectrum, mix: Spectrum) -> Spectrum:
    """Phase-sensitive mask on the mixture: the real part of the ideal complex mask, within 0 and 1."""
    return ((stems * mix.conj()).real / (EPS + np.square(np.abs(mix)))).clip(0, 1) * mix


def magnitude_with_mix_phase(stems: Spectrum, mix: Spectrum) -> Spectrum:
    """True magnitudes with the mixture's phase."""
    return np.abs(stems) * mix / (EPS + np.abs(mix))


MASKS: dict[str, Apply] = {
    "irm": ratio_mask,
    "ibm": binary_mask,
    "psm": phase_sensitive_mask,
    "magnitude": magnitude_with_mix_phase,
}


def oracle(kind: str, truth: Waves, mix: Waves, transform: Transform) -> Iterator[Waves]:
    """Estimates `[n, S, C]` piece by piece, of `truth [T, S, C]` and `mix [T, C]`, both possibly mapped from files.

    Args:
        kind: a key of `MASKS`, or `mwf`.
    """
    apply = _wiener(truth, transform) if kind == "mwf" else MASKS[kind]
    out = Synthesis(transform, len(mix))
    for first, count in transform.blocks(len(mix)):
        stems = transform.analyse(truth, first, count)
        estimates = apply(stems, transform.analyse(mix, first, count))
        yield out.add(estimates).astype(np.float32)


def _wiener(truth: Waves, transform: Transform) -> Apply:
    """The filter of sigsep's recipe; the spatial covariances are averages over the whole song."""
    covariances = _spatial_covariances(truth, transform)
    inverses = _inverse(covariances)

    def apply(stems: Spectrum, mix: Spectrum) -> Spectrum:
        channels = stems.shape[1]
        # Power of each stem, [S, F, n]: trace(R^-1 s s^H) / channels.
        power = np.einsum("sfab,sbfn,safn->sfn", inverses, stems, stems.conj(), optimize=True).real / channels
        shares = power[..., None, None] * covariances[:, :, None]  # [S, F, n, C, C]
        gains = shares @ _inverse(shares.sum(0))
        filtered: Spectrum = np.einsum("sfnab,bfn->safn", gains, mix, optimize=True)
        return filtered

    return apply


def _spatial_covariances(truth: Waves, transform: Transform) -> Spectrum:
    """`[S, F, C, C]`: mean of s s^H over its power, scaled to a trace of `C`."""
    frames, channels = transform.frames(len(truth)), truth.shape[2]
    total = np.zeros((truth.shape[1], transform.size // 2 + 1, channels, channels), complex)
    for first, count in transform.blocks(len(truth)):
        stems = transform.analyse(truth, first, count)
        weighted = stems / (EPS + np.square(np.abs(stems)).mean(1, keepdims=True))
        total += np.einsum("safn,sbfn->sfab", weighted, stems.conj())
    mean = total / frames
    trace = np.trace(mean, axis1=-2, axis2=-1).real[..., None, None]
    return mean * channels / (EPS + trace) + EPS * np.eye(channels)


def _inverse(matrices: Spectrum) -> Spectrum:
    """Inverses `[..., 2, 2]` by the closed form, which a determinant of almost nothing does not upset."""
    a, b, c, d = matrices[..., 0, 0], matrices[..., 0, 1], matrices[..., 1, 0], matrices[..., 1, 1]
    determinant = a * d - b * c
    rows = np.stack([d, -b, -c, a], -1) / (EPS + determinant)[..., None]
    return rows.reshape(*matrices.shape)


def best_gain(truth: Waves, mix: Waves, piece: int = 1 << 18) -> Iterator[Waves]:
    """For every stem the mixture times the one factor that fits it best, `<s, m> / <m, m>`: without any separation."""
    shares, power = np.zeros(truth.shape[1]), 0.0
    for start in range(0, len(mix), piece):
        m = np.asarray(mix[start : start + piece], np.float64)
        shares += np.einsum("tsc,tc->s", truth[start : start + piece], m)
        power += float(np.square(m).sum())
    gains = (shares / (power or 1.0)).astype(np.float32)
    return (gains[:, None] * each for each in mixture(mix, len(gains), piece))


def mixture(mix: Waves, stems: int, piece: int = 1 << 18) -> Iterator[Waves]:
    """The mixture in place of every stem."""
    for start in range(0, len(mix), piece):
        yield np.repeat(mix[start : start + piece, None], stems, axis=1)


def silence(mix: Waves, stems: int, piece: int = 1 << 18) -> Iterator[Waves]:
    """Nothing in place of every stem."""
    return (np.zeros_like(each) for each in mixture(mix, stems, piece))
