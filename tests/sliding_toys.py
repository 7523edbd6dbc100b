"""Offline models for the sliding window: some whose right answer is known, and one that passes everything through."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from streamsep.models.htdemucs import HTDemucs, HTDemucsConfig
from streamsep.models.offline_layers import DecoderLayer, EncoderLayer, LayerScale


class Shares(nn.Module):
    """Each stem is the mix times its share; the windows it was given are counted."""

    def __init__(self, max_length: int = 1 << 20) -> None:
        super().__init__()
        self.sources, self.sample_rate, self.audio_channels = ("drums", "bass", "other", "vocals"), 44100, 2
        self.max_length = max_length
        self.shares = nn.Parameter(torch.tensor([0.5, 0.25, 0.125, 0.125]))
        self.windows: list[int] = []

    def separate(self, mix: Tensor) -> Tensor:
        self.windows.append(mix.shape[-1])
        return mix[:, None] * self.shares[:, None, None]


class Places(Shares):
    """The mix times its place in the window, from 0 to 1: what a sample becomes tells where it was heard."""

    def separate(self, mix: Tensor) -> Tensor:
        place = torch.linspace(0, 1, mix.shape[-1], dtype=mix.dtype)
        return super().separate(mix * place)


class Pumping(Shares):
    """The mix times a gain that every window chooses anew, 3 dB up or down, by what is in it."""

    def separate(self, mix: Tensor) -> Tensor:
        gain = 1 + 0.4 * torch.sin(1e5 * mix.mean((1, 2), keepdim=True))
        return super().separate(mix * gain)

    def valid_length(self, length: int) -> int:
        return length

    def forward(self, mix: Tensor) -> Tensor:
        return self.separate(mix)


def small_offline(segment: float = 0.1, seed: int = 0, channels: int = 8) -> HTDemucs:
    """A random HTDemucs of two levels whose residual branches and transformer are heard."""
    torch.manual_seed(seed)
    config = HTDemucsConfig(
        channels=channels, depth=2, nfft=128, bottom_channels=0, layers=2, heads=2, segment=segment, hidden_scale=2
    )
    model = HTDemucs(config).eval()
    for module in model.modules():
        if isinstance(module, LayerScale):
            nn.init.uniform_(module.scale, 0.3, 1.0)
    return model


def pass_through(model: HTDemucs) -> HTDemucs:
    """Set the weights so that every stem is the mix: nothing else of the model is touched.

    The waveform branch's first level keeps each sample twice, with both signs, since gelu(x) - gelu(-x) = x; the gates
    of its linear units stand open; all that comes from below, and from the spectrogram branch, is silent.
    """
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
        encoder, decoder = model.tencoder[0], model.tdecoder[-1]
        assert isinstance(encoder, EncoderLayer) and isinstance(decoder, DecoderLayer)
        conv, conv_tr = encoder.conv, decoder.conv_tr
        assert isinstance(conv, nn.Conv1d) and isinstance(conv_tr, nn.ConvTranspose1d)
        channels, stems = model.audio_channels, len(model.sources)
        for channel in range(channels):
            for phase in range(4):
                for sign in (1.0, -1.0):
                    kept = 2 * (4 * channel + phase) + (sign < 0)
                    conv.weight[kept, channel, 2 + phase] = sign
                    for stem in range(stems):
                        conv_tr.weight[kept, stem * channels + channel, 2 + phase] = sign
        _open(encoder.rewrite, 0)
        _open(decoder.rewrite, 1)
    return model


def _open(rewrite: nn.Module, middle: int) -> None:
    """A gated convolution that lets each channel through."""
    assert isinstance(rewrite, nn.Conv1d) and rewrite.bias is not None
    half = rewrite.weight.shape[1]
    for channel in range(half):
        rewrite.weight[channel, channel, middle] = 1
    rewrite.bias[half:] = 50.0


def rms(x: Tensor) -> float:
    """Root of the mean square."""
    return math.sqrt(float(x.square().mean()))
