"""The offline separator: HTDemucs, a hybrid of waveform and spectrogram U-Nets with a transformer between.

Bidirectional over one segment of a few seconds; whole songs go through `streamsep.models.apply`. The
state dict has exactly the names and shapes of the official releases (Rouard, Massa and Défossez 2023,
arXiv:2211.08553). This module knows nothing of streaming, files, checkpoints or the reference package.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from streamsep.dsp.stft import ispectro, spectro
from streamsep.errors import StreamsepError
from streamsep.models.config_checks import MAX_WIDTH, SAMPLE_RATES, check_range, check_sources
from streamsep.models.consistency import share_missing
from streamsep.models.offline_layers import (
    KERNEL,
    STRIDE,
    DecoderLayer,
    EncoderLayer,
    FrequencyEmbedding,
    rescale_convolutions,
)
from streamsep.models.offline_transformer import CrossTransformer

EPSILON = 1e-5  # keeps the normalisation of silence finite


@dataclass(frozen=True)
class HTDemucsConfig:
    """What sizes an offline model; the defaults are the official four-source model.

    Attributes:
        sources: names of the stems, in the order of the output.
        audio_channels: channels of the mix and of each stem.
        channels: width of the first encoder layer; each further one doubles it.
        depth: layers of each encoder and decoder; each divides frequency rows and samples by 4.
        nfft: window of the spectrogram in samples; the hop is a quarter of it.
        bottom_channels: width of the transformer, or 0 for the width of the last encoder layer.
        layers: transformer layers in each domain.
        heads: attention heads.
        hidden_scale: width of the feed-forward part over that of the transformer.
        dropout: probability, in the transformer, in training only.
        dconv_compress: channels of a layer over those of its residual branch.
        sample_rate: in Hz.
        segment: seconds the model was trained on.
        use_train_segment: pad shorter inputs to the segment when evaluating.
        cross: whether the transformer's odd layers attend to the other domain; else to their own.
        mix_consistency: share what the stems miss of the mix equally among them; not so in the official models.
    """

    sources: tuple[str, ...] = ("drums", "bass", "other", "vocals")
    audio_channels: int = 2
    channels: int = 48
    depth: int = 4
    nfft: int = 4096
    bottom_channels: int = 512
    layers: int = 5
    heads: int = 8
    hidden_scale: float = 4.0
    dropout: float = 0.0
    dconv_compress: int = 8
    sample_rate: int = 44100
    segment: float = 7.8
    use_train_segment: bool = True
    cross: bool = True
    mix_consistency: bool = False

    def __post_init__(self) -> None:
        check_sources(self.sources)
        check_range("sample_rate", self.sample_rate, *SAMPLE_RATES)
        check_range("segment", self.segment, 0, 600)
        check_range("depth", self.depth, 1, 8)
        check_range("layers", self.layers, 1, 64)
        check_range("audio_channels", self.audio_channels, 1, 16)
        check_range("nfft", self.nfft, 16, 1 << 20)
        check_range("bottom_channels", self.bottom_channels, 0, MAX_WIDTH)
        check_range("channels", self.channels, 1, MAX_WIDTH)
        check_range("the width of the last layer", self.encoder_width, 1, MAX_WIDTH)
        check_range("heads", self.heads, 1, self.width)
        check_range("hidden_scale", self.hidden_scale, 1 / self.width, 64)
        check_range("dropout", self.dropout, 0, 0.99)
        sizes = (self.audio_channels, self.depth, self.layers, self.heads, self.dconv_compress, self.segment_samples)
        if min(*sizes, len(self.sources)) <= 0:
            raise ValueError("no size may be zero, and there must be a source and a segment")
        if self.nfft % (2 * STRIDE**self.depth) or self.nfft // 2 <= KERNEL * STRIDE ** (self.depth - 1):
            raise ValueError(f"nfft {self.nfft} is too small for depth {self.depth}, or no multiple of its strides")
        if self.width % 4 or self.width % self.heads:
            raise ValueError(f"the transformer's width {self.width} must be a multiple of 4 and of heads {self.heads}")
        if self.channels < self.dconv_compress:
            raise ValueError(f"dconv_compress {self.dconv_compress} leaves nothing of {self.channels} channels")

    @property
    def encoder_width(self) -> int:
        """Channels of the last encoder layer."""
        return self.channels * 2 ** (self.depth - 1)

    @property
    def width(self) -> int:
        """Channels of the transformer."""
        return self.bottom_channels or self.encoder_width

    @property
    def segment_samples(self) -> int:
        """Samples of a segment; a float such as 7.8 counts as the fraction it was written for."""
        return int(Fraction(self.segment).limit_denominator(self.sample_rate) * self.sample_rate)


class HTDemucs(nn.Module):
    """Separate a segment into stems: mix [B, C, T] -> sources [B, S, C, T].

    In training, T is free, and the length last seen becomes `max_length`. When evaluating with
    `use_train_segment`, shorter inputs are padded with zeros to `max_length` and longer ones refused;
    without it, T is free.

    Attributes:
        config: the `HTDemucsConfig` it was made from.
        max_length: samples of a segment.
    """

    def __init__(self, config: HTDemucsConfig) -> None:
        super().__init__()
        self.config = config
        self.max_length = config.segment_samples
        self.encoder, self.tencoder = nn.ModuleList(), nn.ModuleList()
        self.decoder, self.tdecoder = nn.ModuleList(), nn.ModuleList()
        for level in range(config.depth):
            self._add_level(level)
        self.freq_emb = FrequencyEmbedding(config.nfft // 2 // STRIDE, config.channels)
        rescale_convolutions(self)
        if config.bottom_channels:
            self.channel_upsampler = nn.Conv1d(config.encoder_width, config.width, 1)
            self.channel_downsampler = nn.Conv1d(config.width, config.encoder_width, 1)
            self.channel_upsampler_t = nn.Conv1d(config.encoder_width, config.width, 1)
            self.channel_downsampler_t = nn.Conv1d(config.width, config.encoder_width, 1)
        hidden = int(config.width * config.hidden_scale)
        self.crosstransformer = CrossTransformer(
            config.width, config.layers, config.heads, hidden, config.dropout, config.cross
        )

    def _add_level(self, level: int) -> None:
        """Append an encoder layer and prepend a decoder layer to each branch."""
        config = self.config
        outside = config.audio_channels if level == 0 else config.channels * 2 ** (level - 1)
        decoded = outside * len(config.sources) if level == 0 else outside
        inside = config.channels * 2**level
        # real and imaginary parts are channels of their own at the edge of the spectrogram branch
        parts = 2 if level == 0 else 1
        compress, last = config.dconv_compress, level == 0
        self.encoder.append(EncoderLayer(outside * parts, inside, compress, frequency=True))
        self.tencoder.append(EncoderLayer(outside, inside, compress, frequency=False))
        self.decoder.insert(0, DecoderLayer(inside, decoded * parts, compress, frequency=True, last=last))
        self.tdecoder.insert(0, DecoderLayer(inside, decoded, compress, frequency=False, last=last))

    @property
    def sources(self) -> tuple[str, ...]:
        return self.config.sources

    @property
    def audio_channels(self) -> int:
        return self.config.audio_channels

    @property
    def sample_rate(self) -> int:
        return self.config.sample_rate

    @property
    def segment(self) -> Fraction:
        """Seconds of a segment."""
        return Fraction(self.max_length, self.sample_rate)

    def valid_length(self, length: int) -> int:
        """Samples that an evaluation of `length` samples really runs over.

        Raises:
            StreamsepError: `length` is above `max_length`, and the model is bound to its segment.
        """
        if not self.config.use_train_segment:
            return length
        if length > self.max_length:
            raise StreamsepError(
                f"{length} samples are more than the model's segment of {self.max_length}; use apply_model"
            )
        return self.max_length

    def forward(self, mix: Tensor) -> Tensor:
        """Separate `mix [B, C, T]` into `sources [B, S, C, T]`."""
        return self.separate(self._fit_segment(mix))[..., : mix.shape[-1]]

    def separate(self, mix: Tensor) -> Tensor:
        """`forward` over just the samples given, however few or many, without the segment's padding."""
        length = mix.shape[-1]
        x, mean, std = _normalise(_as_channels(spectro(mix, self.config.nfft)))
        xt, mean_t, std_t = _normalise(mix)
        x, xt = self.network(x, xt)

        split = (len(self.sources), -1)
        spec = _as_complex(x.unflatten(1, split) * std[:, None] + mean[:, None])
        wave = xt.unflatten(1, split) * std_t[:, None] + mean_t[:, None]
        sources = wave + ispectro(spec, length)
        if self.config.mix_consistency:
            sources = share_missing(sources, mix)
        return sources

    def network(self, x: Tensor, xt: Tensor) -> tuple[Tensor, Tensor]:
        """All layers: x [B, 2 * C, F, frames] and xt [B, C, T] at unit level -> the same with C * S in place of C."""
        x = x.contiguous(memory_format=torch.channels_last)  # quicker to convolve along frequency
        skips: list[tuple[Tensor, Tensor]] = []
        sizes: list[tuple[int, int]] = []
        for level, (encode, encode_t) in enumerate(zip(self.encoder, self.tencoder, strict=True)):
            sizes.append((x.shape[2], xt.shape[2]))
            x, xt = encode(x), encode_t(xt)
            if level == 0:
                x = self.freq_emb(x)
            skips.append((x, xt))

        x, xt = self._exchange(x, xt)

        for decode, decode_t in zip(self.decoder, self.tdecoder, strict=True):
            (skip, skip_t), (rows, samples) = skips.pop(), sizes.pop()
            x, xt = decode(x, skip, rows), decode_t(xt, skip_t, samples)
        return x, xt

    def _fit_segment(self, mix: Tensor) -> Tensor:
        if self.training:
            if self.config.use_train_segment:
                self.max_length = mix.shape[-1]
            return mix
        return F.pad(mix, (0, self.valid_length(mix.shape[-1]) - mix.shape[-1]))

    def _exchange(self, x: Tensor, xt: Tensor) -> tuple[Tensor, Tensor]:
        """The transformer at the bottom, with 1x1 convolutions around it where its width differs."""
        if not self.config.bottom_channels:
            return self.crosstransformer(x, xt)
        rows = x.shape[2]
        x = self.channel_upsampler(x.flatten(2)).unflatten(2, (rows, -1))
        x, xt = self.crosstransformer(x, self.channel_upsampler_t(xt))
        x = self.channel_downsampler(x.flatten(2)).unflatten(2, (rows, -1))
        return x, self.channel_downsampler_t(xt)


def _normalise(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Zero mean and unit variance over each item of the batch; also the mean and deviation taken off."""
    dims = tuple(range(1, x.dim()))
    mean, std = x.mean(dims, keepdim=True), x.std(dims, keepdim=True)
    return (x - mean) / (EPSILON + std), mean, std


def _as_channels(spec: Tensor) -> Tensor:
    """Complex [B, C, F, T] -> real [B, 2 * C, F, T]; the parts of a channel side by side."""
    return torch.view_as_real(spec).permute(0, 1, 4, 2, 3).flatten(1, 2)


def _as_complex(x: Tensor) -> Tensor:
    """Real [B, S, 2 * C, F, T] -> complex [B, S, C, F, T]."""
    parts = x.unflatten(2, (-1, 2)).permute(0, 1, 2, 4, 5, 3)
    return torch.view_as_complex(parts.contiguous())
