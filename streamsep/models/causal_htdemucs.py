"""The causal hybrid transformer: a waveform and a spectrogram U-Net that meet in a causal transformer.

It knows nothing of devices, rings or files: it maps hops of the mix to hops of the stems, and what it
remembers lives in the state that its caller holds. The output lags the input by `latency` samples.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from streamsep.layers.base import Delay, Device, Lookahead, Serial, run, same_lag
from streamsep.layers.expander import ExpanderState
from streamsep.layers.norm import LevelState, RunningLevel
from streamsep.layers.stft import ISTFT, STFT
from streamsep.layers.together import in_turn
from streamsep.models.causal_bottleneck import Deep
from streamsep.models.causal_config import DOMAINS, CausalConfig
from streamsep.models.causal_lstm import CrossDomainLSTM, LSTMState
from streamsep.models.causal_transformer import CrossDomainTransformer, TransformerState
from streamsep.models.causal_unet import UNet, UNetState
from streamsep.models.consistency import share_missing
from streamsep.models.expanded import ExpandedStem
from streamsep.models.full_band import FullBand

Absent = tuple[()]  # the state of a part that the model does not have


class CausalState(NamedTuple):
    """All that a stream remembers."""

    level: LevelState
    dry: Tensor
    stft: Tensor | Absent
    spectrum: Tensor | Absent
    spectrogram: UNetState | Absent
    waveform: UNetState | Absent
    transformer: TransformerState | LSTMState
    istft: Tensor | Absent
    expander: ExpanderState | Absent


class Heard(NamedTuple):
    """A chunk as the model hears it.

    Attributes:
        inputs: of the branches: features of the spectrum, `[B, 3 * C, bins, n]`, and the levelled waveform,
            `[B, C, n * hop]`.
        spectrum: that the masks will meet, `[B, C, bins + 1, n]`, complex; None without a spectrogram branch.
        dry: the delayed mix and, as the last channel, its level, `[B, C + 1, n * hop]`.
    """

    inputs: tuple[Tensor, ...]
    spectrum: Tensor | None
    dry: Tensor


class CausalHTDemucs(nn.Module):
    """Streaming separator; satisfies `Separator` and, for training, `forward` over whole signals.

    Attributes:
        hop, latency: in samples; `latency + hop` is the algorithmic latency.
        mix_consistency: the stems sum to the delayed mix; may be switched while it runs.
        expander: on one of the stems, where there is one; None instead, before a stream begins, takes it out.
        has_graph: whether `onnx_graph` can be made.
        together: how tasks of the two branches run that do not need each other.
    """

    def __init__(self, config: CausalConfig) -> None:
        super().__init__()
        self.config, self.hop, self.latency = config, config.hop, config.latency
        self.sample_rate, self.sources = config.sample_rate, config.sources
        self.mix_consistency = config.mix_consistency
        self.level = RunningLevel(config.hop, config.sample_rate, config.level_seconds)
        self.dry = Delay((config.audio_channels + 1,), config.latency)
        self.stft: STFT | None = None
        self.spectrum: Delay | None = None
        self.istft: ISTFT | None = None
        self.spectrogram: UNet | None = None
        self.waveform: UNet | None = None
        self.full_band: FullBand | None = None
        self.expander: ExpandedStem | None = None
        if "spectrogram" in config.domains:
            self._add_spectrogram(config)
        if "waveform" in config.domains:
            channels = config.audio_channels
            # The spectrogram branch answers a hop late; the waveform branch may look that hop ahead.
            lag = config.latency // config.hop
            self.waveform = UNet(config.waveform, channels, channels * len(config.sources), None, lag)
        if config.expander is not None:
            self.expander = ExpandedStem(config.expander, config.sources, config.hop, config.sample_rate)
        self.together = in_turn
        recurrent = config.transformer.kind == "lstm"
        self.has_graph = not recurrent
        self.transformer: CrossDomainTransformer | CrossDomainLSTM = (
            CrossDomainLSTM(config) if recurrent else CrossDomainTransformer(config)
        )
        self._check_lags()

    def _add_spectrogram(self, config: CausalConfig) -> None:
        stems, channels, bins = len(config.sources), config.audio_channels, config.window // 2
        self.stft = STFT(config.window, config.hop, channels)
        self.spectrum = Delay((channels, 2 * (bins + 1)), config.lookahead)
        self.istft = ISTFT(config.window, config.hop, (stems, channels))
        parts = 2 if config.complex_mask else 1
        self.spectrogram = UNet(config.spectrogram, 3 * channels, parts * channels * stems, bins, config.lookahead)
        if config.full_band:
            deep = (config.spectrogram.channels[-1], config.tokens)
            self.full_band = FullBand(channels, bins, deep, parts * channels * stems)
        with torch.no_grad():
            self.spectrogram.output_bias.view(stems, channels, parts)[..., 0] = 1 / stems

    def _check_lags(self) -> None:
        """Every path from the mix to the sum lags alike: in bottleneck frames first, then in samples."""
        if self.waveform is not None:
            same_lag(Serial(self.transformer, Lookahead(1)), self.waveform.skips[-1])
        if self.stft is not None and self.spectrum is not None and self.istft is not None:
            assert self.spectrogram is not None
            same_lag(self.transformer, self.spectrogram.skips[-1], self.spectrum)
            same_lag(Serial(self.stft, self.spectrum, self.istft), self.dry)

    @property
    def branches(self) -> list[UNet]:
        """The U-Nets that there are, the spectrogram's first."""
        return [branch for branch in (self.spectrogram, self.waveform) if branch is not None]

    def init_state(
        self, batch: int = 1, max_chunk: int = 1, device: Device = None, dtype: torch.dtype | None = None
    ) -> CausalState:
        """A fresh state for `batch` streams; one step may then bring up to `max_chunk` hops."""
        device, outside = device or self.level.ramp.device, dtype or self.level.ramp.dtype
        kinds = dict.fromkeys(CausalState._fields, outside)
        kinds |= dict.fromkeys((*DOMAINS, "transformer"), dtype or self.precision)
        modules: dict[str, Any] = {name: getattr(self, name) for name in CausalState._fields}
        parts: dict[str, Any] = {
            name: () if module is None else module.init_state(batch, max_chunk, device, kinds[name])
            for name, module in modules.items()
        }
        return CausalState(**parts)

    def dead_when_still(self, state: CausalState) -> tuple[Tensor, ...]:
        """The rings: where the clock does not advance, a step writes only slots that the next one writes first."""
        mind = state.transformer
        return (*mind.rings, mind.clock.held) if isinstance(mind, TransformerState) else ()

    @property
    def precision(self) -> torch.dtype:
        """What the branches and the transformer compute and remember in; all around them keeps its own type."""
        dtype: torch.dtype = self.transformer.norms[0].weight.dtype
        return dtype

    def fused(self, precision: torch.dtype = torch.float32, side_by_side: bool = False) -> CausalHTDemucs:
        """A copy that only steps, in fewer and larger operations, its networks in `precision`; see `causal_fused`."""
        from streamsep.models.causal_fused import fuse

        return fuse(self, precision, side_by_side)

    def step(self, mix: Tensor, state: CausalState) -> tuple[Tensor, CausalState]:
        """Separate the next hops of each stream.

        Shape:
            mix `[B, C, n * hop]` -> sources `[B, S, C, n * hop]`
        """
        sources, after = self._run(mix, state)
        assert after is not None
        return sources, after

    def onnx_graph(self, facts: dict[str, str] | None = None) -> bytes:
        """`step` for one hop of one stream as an ONNX model, with `facts` in its metadata; see `causal_graph`.

        Raises:
            StreamsepError: onnx is missing, or the model has recurrent layers.
        """
        from streamsep.models.causal_graph import build_graph

        return build_graph([self], facts)

    def forward(self, mix: Tensor) -> Tensor:
        """The whole signal in one pass: `[B, C, n * hop] -> [B, S, C, n * hop]`, lagging by `latency`."""
        return self._run(mix, None)[0]

    def _run(self, mix: Tensor, state: CausalState | None) -> tuple[Tensor, CausalState | None]:
        s: Any = state or CausalState(*[None] * len(CausalState._fields))  # type: ignore[arg-type]
        heard, ears = self.listen(mix, s)
        states = [getattr(s, name) for name in self.config.domains]
        inputs = [x.to(self.precision) for x in heard.inputs]
        answers, minds = self.network(inputs, states, lambda deep: run(self.transformer, deep, s.transformer))
        sources, voice = self.speak([answer.to(mix.dtype) for answer in answers], heard, s)
        return sources, None if state is None else CausalState(*(*ears, *minds, *voice))

    def listen(self, mix: Tensor, s: CausalState) -> tuple[Heard, tuple[Any, ...]]:
        """What the networks are given, and the states of level, dry line, STFT and delayed spectrum."""
        if not mix.shape[-1] or mix.shape[-1] % self.hop:
            raise ValueError(f"{mix.shape[-1]} samples are not whole hops of {self.hop}")
        if mix.dtype not in (torch.float32, torch.float64):
            raise ValueError(
                f"there is no STFT of {mix.dtype}; keep the model in float32, or use fused(torch.bfloat16)"
            )
        level, level_after = run(self.level, mix, s.level)
        dry, dry_after = run(self.dry, torch.cat([mix, level], 1), s.dry)
        normed = mix / level
        inputs: tuple[Tensor, ...] = () if self.waveform is None else (normed,)
        if self.stft is None or self.spectrum is None:
            return Heard(inputs, None, dry), (level_after, dry_after, s.stft, s.spectrum)
        spectrum, stft_after = run(self.stft, normed, s.stft)
        late, spectrum_after = _delay_spectrum(self.spectrum, spectrum, s.spectrum)
        heard = Heard((self._features(spectrum), *inputs), late, dry)
        return heard, (level_after, dry_after, stft_after, spectrum_after)

    def network(
        self,
        inputs: Sequence[Tensor],
        states: Sequence[UNetState | None],
        think: Callable[[Deep], tuple[Deep, Any]],
    ) -> tuple[list[Tensor], tuple[Any, ...]]:
        """Masks and waveforms, and the states of both branches and of what `think` makes of their bottlenecks."""
        branches = self.branches
        encoded = self.together([partial(b.encode, x, s) for b, x, s in zip(branches, inputs, states, strict=True)])
        bottoms = [bottom for bottom, _, _ in encoded]
        if self.full_band is not None:
            bottoms[0] = bottoms[0] + self.full_band.hear(inputs[0][:, 2::3])  # see `_features`
        deep, mind = think(tuple(bottoms))
        parts = zip(branches, deep, encoded, strict=True)
        decoded = self.together([partial(b.decode, x, skips, state) for b, x, (_, skips, state) in parts])
        after: dict[str, Any] = dict.fromkeys(DOMAINS, ())
        after |= {name: state for name, (_, state) in zip(self.config.domains, decoded, strict=True)}
        answers = [answer for answer, _ in decoded]
        if self.full_band is not None:
            answers[0] = answers[0] + self.full_band.answer(deep[0])
        return answers, (*after.values(), mind)

    def speak(self, answers: Sequence[Tensor], heard: Heard, s: CausalState) -> tuple[Tensor, tuple[Any, Any]]:
        """The stems from the networks' answers, and the states of the inverse STFT and the expander."""
        level, mix, voices, late = heard.dry[:, None, -1:], heard.dry[:, :-1], [], s.istft
        if self.istft is not None and heard.spectrum is not None:
            masked, late = run(self.istft, self._masked(answers[0], heard.spectrum), s.istft)
            voices.append(masked * level)
        if self.waveform is not None:
            wave = answers[-1].unflatten(1, (len(self.sources), -1))
            # At the floor the waveform branch falls silent: what it answers to silence must not be heard.
            voices.append(wave * F.threshold(level, self.level.floor, 0.0))
        sources = sum(voices[1:], voices[0])
        if self.mix_consistency:
            sources = share_missing(sources, mix)
        if self.expander is None or self.training:
            return sources, (late, s.expander)
        sources, after = self.expander(sources, mix, s.expander, self.mix_consistency)
        return sources, (late, after)

    def _features(self, spectrum: Tensor) -> Tensor:
        """Compressed real, imaginary and magnitude parts, `[B, 3 * C, bins, T]`, without the Nyquist bin."""
        parts = torch.view_as_real(spectrum[:, :, :-1])
        energy = parts.square().sum(-1, keepdim=True) + 1e-4
        parts = torch.cat([parts, energy.sqrt()], -1) * energy.pow((self.config.compression - 1) / 2)
        return parts.movedim(-1, 2).flatten(1, 2)

    def _masked(self, mask: Tensor, spectrum: Tensor) -> Tensor:
        """Each stem's spectrum by its mask; the Nyquist bin takes the mask of its neighbour."""
        full = torch.cat([mask, mask[:, :, -1:]], 2).unflatten(1, (len(self.sources), spectrum.shape[1], -1))
        if self.config.complex_mask:
            full = full.float()  # there are no complex numbers of bfloat16 parts
            return torch.complex(full[:, :, :, 0], full[:, :, :, 1]) * spectrum[:, None]
        # Real by real: a complex product would promote the mask and cost three times as much.
        return torch.view_as_complex(full[:, :, :, 0, ..., None] * torch.view_as_real(spectrum)[:, None])


def _delay_spectrum(delay: Delay, spectrum: Tensor, state: Any) -> tuple[Tensor, Any]:
    """The spectrum that the mask will meet, delayed by the look-ahead."""
    if not delay.lag:
        return spectrum, state
    late, after = run(delay, torch.cat([spectrum.real, spectrum.imag], 2), state)
    return torch.complex(*late.chunk(2, 2)), after
