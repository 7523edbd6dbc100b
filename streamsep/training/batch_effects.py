"""Random effects on whole batches of stems, on any device: tone, gain, polarity, sides, silent stems, single views.

All is drawn on the CPU from (seed, step), so that a batch is the same on every device and after every resumption. The
mixture is the sum of the stems afterwards.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from streamsep.models.config_checks import check_order, check_range
from streamsep.training.layouts import STEMS

RATE = 44100
_LOWEST, _HIGHEST = 40.0, 16000.0  # Hz, between which the equaliser's knobs lie
_SILENCE = 1e-8  # mean square of what is taken for silence, 80 dB below full scale
_LOWS = 80.0  # Hz below which the lows lie: the two lower octaves of a bass, the body of a bass drum
_PAD = 4096  # samples of silence that take up what the equaliser smears beyond the end


@dataclass(frozen=True)
class EffectsConfig:
    """What befalls a batch; probabilities in 0..1 for each stem, or for each mixture where it says so.

    Attributes:
        tone: probability of an equaliser.
        tone_gain: dB, root mean square of its two shelves' and two bells' gains.
        polarity: probability that a stem is inverted.
        swap: probability that a stem's left and right are exchanged.
        gain: dB by which a stem is moved, drawn evenly between the two.
        silence: probability that a stem falls silent.
        instrumental: probability that a mixture loses its vocals, if something else sounds in it.
        vocals_only: probability that a mixture is its vocals alone, if they sound.
        lows: stem -> dB by which its lows (below 80 Hz) are lifted, drawn evenly between the two; its level stays.
            Sampled basses lack the lows that records give them, and a model that never met them takes them for drums.
        seed: of all draws.
    """

    tone: float = 0.5
    tone_gain: float = 4.0
    polarity: float = 0.5
    swap: float = 0.5
    gain: tuple[float, float] = (-4.0, 4.0)
    silence: float = 0.05
    instrumental: float = 0.05
    vocals_only: float = 0.02
    lows: dict[str, tuple[float, float]] = field(default_factory=dict)
    seed: int = 0

    def __post_init__(self) -> None:
        names = ("tone", "polarity", "swap", "silence", "instrumental", "vocals_only")
        wrong = [name for name in names if not 0 <= getattr(self, name) <= 1]
        if wrong or self.instrumental + self.vocals_only > 1:
            raise ValueError(f"{wrong[0] if wrong else 'instrumental + vocals_only'} must lie between 0 and 1")
        check_order("gain", self.gain)
        check_range("tone_gain", self.tone_gain, 0, 300)
        if unknown := sorted(set(self.lows) - set(STEMS)):
            raise ValueError(f"lows must be of {', '.join(STEMS)}, not of {unknown[0]!r}")
        for stem, ends in self.lows.items():
            check_order(f"lows of {stem}", ends)
            for end in ends:
                check_range(f"lows of {stem}", end, -60, 60)


class BatchEffects:
    """Draws and applies the effects of batch number `step`."""

    def __init__(self, config: EffectsConfig, sources: Sequence[str]) -> None:
        self.config, self.sources = config, tuple(sources)

    def __call__(self, stems: Tensor, step: int) -> Tensor:
        """Stems `[B, S, 2, T]` at 44.1 kHz, changed; the given ones stay as they are."""
        config, shape = self.config, tuple(stems.shape[:2])
        draw = torch.Generator().manual_seed(hash((config.seed, step)) % (1 << 63))
        toned = torch.rand(shape, generator=draw) < config.tone
        curves = draw_curves(shape, stems.shape[-1] + _PAD, config.tone_gain, draw)
        swapped = torch.rand(shape, generator=draw) < config.swap
        factors = self._gains(shape, draw) * self._kept(sounding(stems), draw)
        out = equalise_batch(stems, torch.where(toned[..., None], curves, 0.0)) if toned.any() else stems
        out = self._lift_lows(out, draw) if config.lows else out
        out = torch.where(swapped[..., None, None].to(stems.device), out.flip(2), out)
        return out * factors[..., None, None].to(stems)

    def _gains(self, shape: tuple[int, ...], draw: torch.Generator) -> Tensor:
        low, high = self.config.gain
        decibels = low + (high - low) * torch.rand(shape, generator=draw)
        sign = torch.where(torch.rand(shape, generator=draw) < self.config.polarity, -1.0, 1.0)
        return sign * 10 ** (decibels / 20)

    def _lift_lows(self, stems: Tensor, draw: torch.Generator) -> Tensor:
        """The stems `[B, S, 2, T]` with other lows, at the levels (RMS) that they had."""
        ends = torch.tensor([self.config.lows.get(name, (0.0, 0.0)) for name in self.sources])
        decibels = ends[:, 0] + (ends[:, 1] - ends[:, 0]) * torch.rand(stems.shape[:2], generator=draw)
        lifted = equalise_batch(stems, low_shelf(decibels, stems.shape[-1] + _PAD))
        before, after = (x.float().square().mean((2, 3), keepdim=True) for x in (stems, lifted))
        return lifted * (before / after.clamp(min=1e-12)).sqrt().to(stems)

    def _kept(self, sounds: Tensor, draw: torch.Generator) -> Tensor:
        """1 where a stem is kept, 0 where not; of what `sounds [B, S]` in a mixture something is always left."""
        kept = torch.rand(sounds.shape, generator=draw) >= self.config.silence
        kept = kept | ~(kept & sounds).any(1, keepdim=True)
        view = torch.rand(len(sounds), generator=draw)
        if "vocals" in self.sources:
            vocals = torch.tensor([name == "vocals" for name in self.sources])
            alone = view < self.config.vocals_only
            without = ~alone & (view < self.config.vocals_only + self.config.instrumental)
            alone, without = alone & (sounds & vocals).any(1), without & (sounds & ~vocals).any(1)
            kept = torch.where(alone[:, None], vocals, torch.where(without[:, None], ~vocals, kept))
        return kept.to(torch.float32)


def sounding(stems: Tensor) -> Tensor:
    """Which of the stems `[B, S, 2, T]` are no silence: `[B, S]`, on the CPU."""
    return (stems.float().square().mean((2, 3)) > _SILENCE).cpu()


def draw_curves(shape: Sequence[int], frames: int, strength: float, draw: torch.Generator) -> Tensor:
    """Random tone controls: dB `[*shape, frames // 2 + 1]` of a spectrum of `frames` samples at 44.1 kHz.

    A low and a high shelf and two bells, each of `strength` dB in the root mean square, in octaves of frequency.
    """
    octaves = torch.log2(torch.fft.rfftfreq(frames, 1 / RATE).clamp(min=10.0))
    gains = strength * torch.randn((*shape, 4, 1), generator=draw)
    low, high = (torch.log2(torch.tensor(edge)) for edge in (_LOWEST, _HIGHEST))
    places = low + (high - low) * torch.rand((*shape, 4, 1), generator=draw)
    widths = 0.4 + 0.8 * torch.rand((*shape, 4, 1), generator=draw)
    away = (octaves - places) / widths
    shelves = gains[..., 0, :] * torch.sigmoid(-2 * away[..., 0, :]) + gains[..., 1, :] * torch.sigmoid(
        2 * away[..., 1, :]
    )
    return shelves + (gains[..., 2:, :] * torch.exp(-(away[..., 2:, :] ** 2))).sum(-2)


def low_shelf(decibels: Tensor, frames: int) -> Tensor:
    """Tone controls `[*shape, frames // 2 + 1]` in dB that move what lies below 80 Hz by `decibels [*shape]`."""
    octaves = torch.log2(torch.fft.rfftfreq(frames, 1 / RATE).clamp(min=10.0) / _LOWS)
    return decibels[..., None] * torch.sigmoid(-6 * octaves)


def equalise_batch(stems: Tensor, curves: Tensor) -> Tensor:
    """Stems `[B, S, 2, T]` with the gains `curves` (dB, `[B, S, N // 2 + 1]`) of a spectrum of N >= T samples."""
    size = 2 * (curves.shape[-1] - 1)
    gains = 10 ** (curves / 20)
    spectrum = torch.fft.rfft(stems.float(), size) * gains[:, :, None].to(stems.device)
    return torch.fft.irfft(spectrum, size)[..., : stems.shape[-1]].to(stems.dtype)
