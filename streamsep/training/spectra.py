"""Spectra for the losses: real frames by reshape, and an FFT whose gradient is as cheap as itself."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def spectra(x: Tensor, size: int) -> Tensor:
    """Hann spectra `[..., N, size / 2 + 1]` of frames half overlapped; framing by reshape, for a cheap gradient."""
    half = size // 2
    blocks = x[..., : x.shape[-1] // half * half].unflatten(-1, (-1, half))
    frames = torch.cat((blocks[..., :-1, :], blocks[..., 1:, :]), -1)
    result = RealFFT.apply(frames * torch.hann_window(size, device=x.device, dtype=x.dtype))
    assert isinstance(result, Tensor)
    return result


class RealFFT(torch.autograd.Function):
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


def energies(x: Tensor, size: int) -> Tensor:
    """Squared magnitudes of `x [B, S, C, T]`, `[B, S, C, N, F]`; a small constant keeps gradients of roots finite."""
    return torch.view_as_real(spectra(x.float(), size)).square().sum(-1) + 1e-5


def lowpassed(x: Tensor, limits: Tensor, rate: int) -> Tensor:
    """Take out of `x [N, C, T]` all that lies above `limits [N]`, in Hz."""
    frames = x.shape[-1]
    padded = -(-frames // 4096) * 4096  # the transform of a length with large prime factors is slow
    spectrum = torch.fft.rfft(x, padded)
    frequencies = torch.linspace(0, rate / 2, spectrum.shape[-1], device=x.device)
    return torch.fft.irfft(spectrum * (frequencies <= limits[:, None, None]), padded)[..., :frames]
