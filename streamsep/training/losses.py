"""The training loss: waveform L1, compressed spectra at several resolutions, and the log of the error's energy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from streamsep.training.batches import Batch


@dataclass(frozen=True)
class LossConfig:
    """Weights and settings.

    Attributes:
        warm: seconds at the start of each item that are not scored (the model's state is still empty there).
        l1: weight of the waveform L1, in units of the mixture's RMS.
        spectral: weight of the difference of compressed magnitudes.
        energy: weight of the log error energy, in nepers of power.
        ffts: window lengths of the spectra (even); the hop is half of each.
        power: exponent that compresses magnitudes.
        floor_db: level under the mixture below which the log error energy stops rewarding.
    """

    warm: float = 0.5
    l1: float = 1.0
    spectral: float = 0.5
    energy: float = 0.1
    ffts: tuple[int, ...] = (4096, 1024)
    power: float = 0.5
    floor_db: float = 30.0


def separation_loss(
    estimate: Tensor, batch: Batch, latency: int, config: LossConfig
) -> tuple[Tensor, dict[str, Tensor]]:
    """Loss of a causal model's output against the truth, each item in units of its mixture's RMS.

    Silent stems are safe: every term is bounded by the mixture, never divided by the stem.

    Args:
        estimate: `[B, S, C, T]`, late by `latency` samples.
        batch: mixture, truth and what is known apart.
        latency: index lag of the model in samples.

    Returns:
        the scalar loss, and its parts with `snr` (dB, all stems of the batch together) detached for the log.
    """
    skip = round(config.warm * 44100)
    estimate, truth, mix = align(estimate, batch.sources, latency, skip), *_cut(batch, latency, skip)
    unit = mix.square().mean((1, 2), keepdim=True).sqrt().clamp_min(1e-3)[:, None]
    estimate, truth = together(batch.known, estimate / unit), together(batch.known, truth / unit)
    error = estimate - truth
    parts = {"l1": _stem_mean(error.abs(), batch.known)}
    parts["energy"] = _log_energy(error, batch.known, config.floor_db)
    parts["spectral"] = _spectral(estimate, truth, batch.known, config)
    loss = config.l1 * parts["l1"] + config.energy * parts["energy"] + config.spectral * parts["spectral"]
    with torch.no_grad():
        parts["snr"] = 10 * torch.log10(truth.square().sum() / error.square().sum().clamp_min(1e-12))
    return loss, {name: value.detach() for name, value in parts.items()}


def align(estimate: Tensor, truth: Tensor, latency: int, skip: int) -> Tensor:
    """The part of `estimate [..., T]` that answers `truth[..., skip : T - latency]`.

    Raises:
        ValueError: nothing is left to score.
    """
    if latency + skip >= truth.shape[-1]:
        raise ValueError("items are shorter than the latency and the unscored start; lengthen batch.seconds")
    return estimate[..., latency + skip : truth.shape[-1]]


def together(known: Tensor, sources: Tensor) -> Tensor:
    """Sum the stems that are only known together: `known [B, S, S]` times `sources [B, S, C, T]`."""
    if bool((known == torch.eye(known.shape[-1], device=known.device)).all()):
        return sources
    return torch.einsum("bij,bjct->bict", known, sources)


def _cut(batch: Batch, latency: int, skip: int) -> tuple[Tensor, Tensor]:
    stop = batch.mix.shape[-1] - latency
    return batch.sources[..., skip:stop], batch.mix[..., skip:stop]


def _rows(known: Tensor) -> Tensor:
    return (known.sum(-1) > 0).to(known.dtype)


def _stem_mean(values: Tensor, known: Tensor) -> Tensor:
    """Mean of `[B, S, ...]` over the rows that claim something."""
    rows = _rows(known)
    return (values.flatten(2).mean(-1) * rows).sum() / rows.sum()


def _log_energy(error: Tensor, known: Tensor, floor_db: float) -> Tensor:
    """ln of the error's share of the mixture's energy.

    Up to a constant the negative SDR, but finite for a silent stem, with a floor so that silence cannot rule the batch.
    """
    share = error.square().mean((2, 3))
    return _stem_mean(torch.log(share + 10 ** (-floor_db / 10))[..., None], known)


def _spectral(estimate: Tensor, truth: Tensor, known: Tensor, config: LossConfig) -> Tensor:
    parts = []
    for size in config.ffts:
        with torch.no_grad():
            target = _compressed(truth, size, config.power)
        parts.append(_stem_mean((_compressed(estimate, size, config.power) - target).abs(), known))
    return torch.stack(parts).mean()


def _compressed(x: Tensor, size: int, power: float) -> Tensor:
    """Magnitudes to the `power` of `x [B, S, C, T]`, `[B, S, C, N, F]`; a small constant keeps the gradient finite."""
    spectrum = torch.view_as_real(_spectra(x.float(), size))
    energy = spectrum.square().sum(-1) + 1e-5
    return energy.sqrt().sqrt() if power == 0.5 else energy ** (power / 2)


def _spectra(x: Tensor, size: int) -> Tensor:
    """Hann spectra `[..., N, size / 2 + 1]` of frames half overlapped; framing by reshape, for a cheap gradient."""
    half = size // 2
    blocks = x[..., : x.shape[-1] // half * half].unflatten(-1, (-1, half))
    frames = torch.cat((blocks[..., :-1, :], blocks[..., 1:, :]), -1)
    result = _RealFFT.apply(frames * torch.hann_window(size, device=x.device, dtype=x.dtype))
    assert isinstance(result, Tensor)
    return result


class _RealFFT(torch.autograd.Function):
    """Orthonormal FFT of real frames whose gradient is a real inverse FFT (PyTorch's own is complex, padded)."""

    @staticmethod
    def forward(ctx: Any, frames: Tensor) -> Tensor:
        ctx.size = frames.shape[-1]
        return torch.fft.rfft(frames, norm="ortho")

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        """The inverse counts bins strictly inside twice, the sum over the bins that `forward` made counts them once."""
        halved = gradient * 0.5
        halved[..., 0] = gradient[..., 0]
        halved[..., -1] = gradient[..., -1]
        return torch.fft.irfft(halved, ctx.size, norm="ortho")
