"""The numbers that make a causal model."""

from __future__ import annotations

import math
from dataclasses import dataclass

from streamsep.models.config_checks import (
    MAX_WIDTH,
    SAMPLE_RATES,
    check_choice,
    check_range,
    check_sources,
    check_stereo,
)

DOMAINS = ("spectrogram", "waveform")


@dataclass(frozen=True)
class BranchConfig:
    """One U-Net.

    Attributes:
        channels: after each encoder level.
        strides: of each level, in time (waveform) or in frequency (spectrogram).
        dconv_depth: residual blocks at each encoder level.
        dconv_compress: their hidden layers have `channels / dconv_compress` channels.
        decoder_dconv: whether decoder levels have them too.
        encoder_rewrite: whether encoder levels mix channels by a gated 1x1 convolution; decoder levels always do.
    """

    channels: tuple[int, ...]
    strides: tuple[int, ...]
    dconv_depth: int = 2
    dconv_compress: int = 4
    decoder_dconv: bool = True
    encoder_rewrite: bool = True

    def __post_init__(self) -> None:
        if len(self.channels) != len(self.strides):
            raise ValueError(f"{len(self.channels)} channels for {len(self.strides)} strides")
        check_range("the number of levels", len(self.channels), 1, 16)
        check_range("dconv_depth", self.dconv_depth, 0, 16)
        check_range("dconv_compress", self.dconv_compress, 1, min(self.channels))
        for channels, stride in zip(self.channels, self.strides, strict=True):
            check_range("channels", channels, 1, MAX_WIDTH)
            check_range("strides", stride, 1, MAX_WIDTH)


@dataclass(frozen=True)
class TransformerConfig:
    """The cross-domain transformer at the bottleneck.

    Attributes:
        dim: of its tokens; heads: attention heads; layers: of self- and cross-attention each.
        context: seconds of the past that each layer sees.
        expansion: hidden size of the feed-forward part over `dim`.
        cross: whether the domains hear each other here.
        kind: "attention", or "lstm" for recurrent layers in its place, whose past has no end.
    """

    dim: int
    heads: int = 8
    layers: int = 5
    context: float = 3.0
    expansion: float = 4.0
    cross: bool = True
    kind: str = "attention"

    def __post_init__(self) -> None:
        check_range("dim", self.dim, 1, MAX_WIDTH)
        check_range("heads", self.heads, 1, self.dim)
        check_range("layers", self.layers, 0, 64)
        check_range("context", self.context, 0, 600)
        check_range("expansion", self.expansion, 1 / self.dim, 64)
        check_choice("kind", self.kind, ("attention", "lstm"))


@dataclass(frozen=True)
class ExpanderConfig:
    """A downward expander on one stem; see `Expander`.

    Attributes:
        stem: that is turned down where it is a small part of the mix.
        threshold_db: its level against the mix's from which on it is left alone.
        ratio: what a dB below that becomes, in dB.
        seconds: time constant of both levels.
    """

    stem: str = "vocals"
    threshold_db: float = -16.0
    ratio: float = 2.0
    seconds: float = 0.5

    def __post_init__(self) -> None:
        check_range("threshold_db", self.threshold_db, -120, 0)
        check_range("ratio", self.ratio, 1, 100)
        check_range("seconds", self.seconds, 0.001, 600)


@dataclass(frozen=True)
class CausalConfig:
    """A causal hybrid transformer.

    Attributes:
        hop: samples of a step; the waveform strides must multiply to it.
        window: samples that the spectrogram branch analyses, at least two hops.
        lookahead: frames (hops) of future that the transformer sees.
        lookaheads: those that the weights were trained for, where there are several; see `with_lookahead`.
        compression: exponent of the magnitudes that the spectrogram branch reads.
        level_seconds: time constant of the running input level.
        complex_mask: masks turn phases too; real masks halve the widest layer.
        mix_consistency: share what the stems miss of the mix equally among them.
        full_band: whether the spectrogram branch also hears and answers all bins at once; see `FullBand`.
        branches: "both", or only the "spectrogram" or the "waveform" branch.
        expander: on what leaves a model that is not in training; None for none.
    """

    hop: int
    window: int
    waveform: BranchConfig
    spectrogram: BranchConfig
    transformer: TransformerConfig
    lookahead: int = 0
    sample_rate: int = 44100
    audio_channels: int = 2
    sources: tuple[str, ...] = ("drums", "bass", "other", "vocals")
    compression: float = 0.5
    level_seconds: float = 3.0
    complex_mask: bool = True
    mix_consistency: bool = True
    full_band: bool = False
    branches: str = "both"
    expander: ExpanderConfig | None = None
    lookaheads: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        check_sources(self.sources)
        check_range("hop", self.hop, 1, 65536)
        check_range("window", self.window, 2, 1 << 20)
        for hops in (self.lookahead, *self.lookaheads):
            check_range("lookahead", hops, 0, 1024)
        check_range("sample_rate", self.sample_rate, *SAMPLE_RATES)
        check_stereo(self.audio_channels)
        check_range("compression", self.compression, 0.01, 1)
        check_range("level_seconds", self.level_seconds, 0.001, 600)
        check_choice("branches", self.branches, ("both", *DOMAINS))
        if self.expander is not None:
            check_choice("the expander's stem", self.expander.stem, self.sources)
        if self.full_band and self.branches == "waveform":
            raise ValueError("full_band is a part of the spectrogram branch, which branches: waveform leaves out")
        if math.prod(self.waveform.strides) != self.hop:
            raise ValueError(f"the waveform strides {self.waveform.strides} must multiply to the hop of {self.hop}")
        if self.window < 2 * self.hop:
            raise ValueError(f"the window of {self.window} samples must hold two hops of {self.hop}")
        if self.window % 2 or ("spectrogram" in self.domains and any(n % 2 for n in self.spectrogram.strides)):
            raise ValueError("the window and the strides of the spectrogram branch must be even")
        if (self.window // 2) % math.prod(self.spectrogram.strides):
            raise ValueError(f"{self.window // 2} bins do not divide by strides {self.spectrogram.strides}")
        if self.transformer.dim % (2 * self.transformer.heads):
            raise ValueError("the transformer's dim must be a multiple of twice its heads")

    @property
    def domains(self) -> tuple[str, ...]:
        """The branches that there are, the spectrogram first."""
        return DOMAINS if self.branches == "both" else (self.branches,)

    @property
    def latency(self) -> int:
        """Lag of the output behind the input by sample index, in samples."""
        return (1 + self.lookahead) * self.hop

    @property
    def context_frames(self) -> int:
        """Frames of the past that an attention layer sees."""
        return max(1, round(self.transformer.context * self.sample_rate / self.hop))

    @property
    def tokens(self) -> int:
        """Frequency tokens of a bottleneck frame."""
        return self.window // 2 // math.prod(self.spectrogram.strides)
