"""Offline spectrograms whose frames line up with a strided convolution; pure functions of tensors.

The spectrogram of T samples with hop H has exactly ceil(T / H) frames, the length that a stack of
convolutions whose strides multiply to H would give (Défossez 2021, "Hybrid Spectrogram and Waveform
Source Separation", section 3.1). Nothing here streams; the streaming transform is a layer.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

OVERLAP = 4  # windows of n_fft samples start every n_fft / OVERLAP samples
EDGE_FRAMES = 2  # frames on each side that see mostly padding; dropped, and zero in the synthesis


def spectro(wave: Tensor, n_fft: int) -> Tensor:
    """Complex spectrogram of `wave`, without its Nyquist bin.

    Args:
        wave: real signal [..., T], T >= 1.
        n_fft: window length in samples, a multiple of 8; the hop is n_fft / 4.

    Returns:
        Orthonormally scaled Hann STFT [..., n_fft / 2, ceil(T / hop)], complex.
    """
    hop = n_fft // OVERLAP
    frames = -(-wave.shape[-1] // hop)
    padded = reflect_pad(wave, hop // 2 * 3, hop // 2 * 3 + frames * hop - wave.shape[-1])
    flat = padded.reshape(-1, padded.shape[-1])
    spec = torch.stft(flat, n_fft, hop, window=_window(n_fft, wave), normalized=True, return_complex=True)
    spec = spec[:, :-1, EDGE_FRAMES : EDGE_FRAMES + frames]
    return spec.reshape(*wave.shape[:-1], *spec.shape[-2:])


def ispectro(spec: Tensor, length: int) -> Tensor:
    """Waveform of a spectrogram made by `spectro`; the Nyquist bin and the frames beyond its edges count as zero.

    Args:
        spec: complex [..., n_fft / 2, frames].
        length: samples wanted, at most frames * hop.

    Returns:
        Real signal [..., length].
    """
    n_fft = 2 * spec.shape[-2]
    hop = n_fft // OVERLAP
    start = hop // 2 * 3
    total = hop * -(-length // hop) + 2 * start
    full = F.pad(spec, (EDGE_FRAMES, EDGE_FRAMES, 0, 1)).reshape(-1, n_fft // 2 + 1, spec.shape[-1] + 2 * EDGE_FRAMES)
    wave = torch.istft(full, n_fft, hop, window=_window(n_fft, spec.real), normalized=True, length=total)
    return wave[:, start : start + length].reshape(*spec.shape[:-2], length)


def reflect_pad(wave: Tensor, left: int, right: int) -> Tensor:
    """Reflect `wave [..., T]` at both ends, also where it is too short for that.

    A signal no longer than the padding is first lengthened with zeros, on the right as far as the right
    padding allows and then on the left, so that the result always has left + T + right samples.
    """
    missing = max(left, right) - wave.shape[-1] + 1
    if missing > 0:
        zeros_right = min(right, missing)
        zeros_left = missing - zeros_right
        wave = F.pad(wave, (zeros_left, zeros_right))
        left, right = left - zeros_left, right - zeros_right
    flat = F.pad(wave.reshape(1, -1, wave.shape[-1]), (left, right), mode="reflect")
    return flat.reshape(*wave.shape[:-1], -1)


def _window(n_fft: int, like: Tensor) -> Tensor:
    return torch.hann_window(n_fft, dtype=like.dtype, device=like.device)
