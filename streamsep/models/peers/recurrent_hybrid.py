"""A recurrent hybrid after the description of HS-TasNet, to be trained beside our models.

S. Venkatesh et al., "Real-time Low-latency Music Source Separation using Hybrid Spectrogram-TasNet", 2024: a branch
that masks the spectrogram and one that masks a learned transform of the waveform, each with an LSTM before and after
one that both share. What the paper does not have is what our models have at their edge: the running level and the sum
that is the mix; and a norm before the masks, without which such models train badly.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from streamsep.layers.base import Delay, Device, run, same_lag
from streamsep.layers.conv import CausalConv1d, CausalConvTranspose1d
from streamsep.layers.norm import LevelState, RunningLevel
from streamsep.layers.recurrent import LSTM, Memory
from streamsep.layers.stft import ISTFT, STFT
from streamsep.models.config_checks import MAX_WIDTH, SAMPLE_RATES, check_range, check_sources, check_stereo
from streamsep.models.consistency import share_missing


@dataclass(frozen=True)
class RecurrentHybridConfig:
    """What sizes the model; the defaults are the paper's.

    Attributes:
        hop: samples of a step; both branches see windows of two hops.
        units: of an LSTM of one branch.
        filters: of the learned transform.
        small: one layer in each LSTM, and the branches' sum in the middle; else two, and both side by side.
        level_seconds: time constant of the running input level.
        mix_consistency: share what the stems miss of the mix equally among them.
    """

    hop: int = 512
    units: int = 500
    filters: int = 1500
    small: bool = False
    level_seconds: float = 3.0
    mix_consistency: bool = True
    sample_rate: int = 44100
    audio_channels: int = 2
    sources: tuple[str, ...] = ("drums", "bass", "other", "vocals")

    def __post_init__(self) -> None:
        check_sources(self.sources)
        check_range("hop", self.hop, 1, 65536)
        check_range("units", self.units, 1, MAX_WIDTH)
        check_range("filters", self.filters, 1, MAX_WIDTH)
        check_range("level_seconds", self.level_seconds, 0.001, 600)
        check_range("sample_rate", self.sample_rate, *SAMPLE_RATES)
        check_stereo(self.audio_channels)


class RecurrentHybridState(NamedTuple):
    """All that a stream remembers."""

    level: LevelState
    dry: Tensor
    stft: Tensor
    encoder: Tensor
    first: Memory
    first_wave: Memory
    shared: Memory
    last: Memory
    last_wave: Memory
    istft: Tensor
    decoder: Tensor


class Masks(nn.Module):
    """Frames of features to `count` masks of `size` values: `[B, units, n] -> [B, count, size, n]`."""

    def __init__(self, units: int, count: int, size: int, start: float) -> None:
        super().__init__()
        self.count, self.norm, self.project = count, nn.LayerNorm(units), nn.Linear(units, count * size)
        nn.init.zeros_(self.project.weight)
        nn.init.constant_(self.project.bias, start)

    def forward(self, x: Tensor) -> Tensor:
        masks: Tensor = self.project(self.norm(x.transpose(1, 2)))
        return masks.transpose(1, 2).unflatten(1, (self.count, -1))


class RecurrentHybrid(nn.Module):
    """Streaming separator; satisfies `Separator` and, for training, `forward` over whole signals.

    Attributes:
        hop, latency: in samples; `latency + hop` is the algorithmic latency.
        mix_consistency: the stems sum to the delayed mix; may be switched while it runs.
    """

    def __init__(self, config: RecurrentHybridConfig) -> None:
        super().__init__()
        self.config, self.hop, self.latency = config, config.hop, config.hop
        self.sample_rate, self.sources = config.sample_rate, config.sources
        self.mix_consistency = config.mix_consistency
        hop, window, channels, stems = config.hop, 2 * config.hop, config.audio_channels, len(config.sources)
        units, filters, layers = config.units, config.filters, 1 if config.small else 2
        joined = units if config.small else 2 * units
        self.level = RunningLevel(hop, config.sample_rate, config.level_seconds)
        self.dry = Delay((channels + 1,), hop)
        self.stft, self.istft = STFT(window, hop, channels), ISTFT(window, hop, (stems, channels))
        self.encoder = CausalConv1d(channels, 2 * filters, window, hop)
        self.decoder = CausalConvTranspose1d(filters, channels, window, hop)
        self.into = nn.Conv1d(channels * (hop + 1), units, 1)
        self.into_wave = nn.Conv1d(filters, units, 1)
        self.first, self.first_wave = LSTM(units, units, layers), LSTM(units, units, layers)
        self.shared = LSTM(joined, joined, layers)
        self.last, self.last_wave = LSTM(units, units, layers), LSTM(units, units, layers)
        self.masks = Masks(units, stems, channels * (hop + 1), 1 / stems)
        # An untrained waveform branch adds nothing.
        self.masks_wave = Masks(units, stems, filters, 0.0)
        assert self.decoder.conv.bias is not None
        nn.init.zeros_(self.decoder.conv.bias)
        same_lag(self.dry, self.istft)

    def init_state(
        self, batch: int = 1, max_chunk: int = 1, device: Device = None, dtype: torch.dtype | None = None
    ) -> RecurrentHybridState:
        """A fresh state for `batch` streams; nothing in it depends on `max_chunk`."""
        device, dtype = device or self.into.weight.device, dtype or self.into.weight.dtype
        modules: dict[str, Any] = {name: getattr(self, name) for name in RecurrentHybridState._fields}
        states: dict[str, Any] = {name: m.init_state(batch, 1, device, dtype) for name, m in modules.items()}
        stems = len(self.sources)
        tail = self.decoder.init_state(batch * stems, 1, device, dtype).unflatten(0, (batch, stems))
        return RecurrentHybridState(**states | {"decoder": tail})

    def step(self, mix: Tensor, state: RecurrentHybridState) -> tuple[Tensor, RecurrentHybridState]:
        """Separate the next hops of each stream.

        Shape:
            mix `[B, C, n * hop]` -> sources `[B, S, C, n * hop]`
        """
        sources, after = self._run(mix, state)
        assert after is not None
        return sources, after

    def forward(self, mix: Tensor) -> Tensor:
        """The whole signal in one pass: `[B, C, n * hop] -> [B, S, C, n * hop]`, lagging by `latency`."""
        return self._run(mix, None)[0]

    def _run(self, mix: Tensor, state: RecurrentHybridState | None) -> tuple[Tensor, RecurrentHybridState | None]:
        if not mix.shape[-1] or mix.shape[-1] % self.hop:
            raise ValueError(f"{mix.shape[-1]} samples are not whole hops of {self.hop}")
        after: dict[str, Any] = {}

        def go(name: str, x: Tensor) -> Tensor:
            y, after[name] = run(getattr(self, name), x, None if state is None else getattr(state, name))
            out: Tensor = y
            return out

        level = go("level", mix)
        dry = go("dry", torch.cat([mix, level], 1))
        spectrum = go("stft", mix / level)
        signal, gate = go("encoder", mix / level).chunk(2, 1)
        basis = signal.relu() * gate.sigmoid()
        masks, masks_wave = self._think(go, spectrum.abs().flatten(1, 2), basis)
        masked = masks.unflatten(2, spectrum.shape[1:3]) * spectrum[:, None]
        voices = go("istft", masked) + self._synthesise(masks_wave * basis[:, None], state, after)
        sources = voices * dry[:, None, -1:]
        if self.mix_consistency:
            sources = share_missing(sources, dry[:, :-1])
        return sources, None if state is None else RecurrentHybridState(**after)

    def _think(self, go: Any, magnitudes: Tensor, basis: Tensor) -> tuple[Tensor, Tensor]:
        """Both branches' masks; residual paths go around each LSTM, and around the shared part of the model."""
        heard, heard_wave = self.into(magnitudes), self.into_wave(basis)
        x, wave = heard + go("first", heard), heard_wave + go("first_wave", heard_wave)
        joint = x + wave if self.config.small else torch.cat([x, wave], 1)
        joint = joint + go("shared", joint)
        x, wave = (joint, joint) if self.config.small else joint.chunk(2, 1)
        x, wave = x + heard, wave + heard_wave
        return self.masks(x + go("last", x)), self.masks_wave(wave + go("last_wave", wave))

    def _synthesise(self, basis: Tensor, state: RecurrentHybridState | None, after: dict[str, Any]) -> Tensor:
        """`[B, S, filters, n]` back to sound, one decoder for all stems."""
        tail = None if state is None else state.decoder.flatten(0, 1)
        wave, tail = run(self.decoder, basis.flatten(0, 1), tail)
        after["decoder"] = None if tail is None else tail.unflatten(0, basis.shape[:2])
        sound: Tensor = wave.unflatten(0, basis.shape[:2])
        return sound
