"""Small separators that obey the contract, and helpers to run streams over them."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from streamsep.engine.backends.clocked import Clocking, Faults
from streamsep.engine.backends.fake import FakeDevice
from streamsep.engine.executor import make_executor
from streamsep.engine.stream import Stream, StreamConfig
from streamsep.engine.thread_host import ThreadHost

Audio = NDArray[np.float32]
NAMES = ("drums", "bass", "other", "vocals")
# Powers of two that sum to one: the split is exact in float32, the sum to the last bit.
SHARES = (0.5, 0.25, 0.125, 0.125)


class PastState(NamedTuple):
    """The last samples of the mix, `[B, 2, n]`, and a count of steps, `[B]`."""

    past: Tensor
    steps: Tensor


class DelaySplit:
    """Delays the mix by `latency` and gives each stem a fixed share; the stems sum to the delayed mix."""

    def __init__(self, hop: int = 8, latency: int = 8, sample_rate: int = 44100) -> None:
        self.hop, self.latency, self.sample_rate = hop, latency, sample_rate
        self.sources: tuple[str, ...] = NAMES

    def init_state(self, batch: int = 1, max_chunk: int = 1, device: Any = None, dtype: Any = None) -> PastState:
        past = torch.zeros(batch, 2, self.latency, device=device)
        return PastState(past, torch.zeros(batch, dtype=torch.int64, device=device))

    def step(self, mix: Tensor, state: PastState) -> tuple[Tensor, PastState]:
        joined = torch.cat([state.past, mix], dim=-1)
        frames = mix.shape[-1]
        delayed = joined[..., :frames]
        sources = torch.stack([delayed * share for share in SHARES], dim=1)
        return sources, PastState(joined[..., frames:], state.steps + 1)


class DiesAt(DelaySplit):
    """Fails at a certain step."""

    def __init__(self, hop: int = 8, latency: int = 8, sample_rate: int = 44100, step: int = 30) -> None:
        super().__init__(hop, latency, sample_rate)
        self._last = step

    def step(self, mix: Tensor, state: PastState) -> tuple[Tensor, PastState]:
        if int(state.steps[0]) == self._last:
            raise RuntimeError("boom")
        return super().step(mix, state)


class Fir:
    """Filters the mix by one causal kernel a stem; its state is written in place, as an attention ring is."""

    def __init__(self, hop: int = 8, taps: int = 21, latency: int = 5) -> None:
        generator = torch.Generator().manual_seed(3)
        self.hop, self.latency, self.sample_rate = hop, latency, 44100
        self.sources: tuple[str, ...] = NAMES
        self.kernels = torch.randn(4, 1, taps, generator=generator) / taps

    def init_state(self, batch: int = 1, max_chunk: int = 1, device: Any = None, dtype: Any = None) -> list[Tensor]:
        return [torch.zeros(batch, 2, self.kernels.shape[-1] - 1, device=device)]

    def step(self, mix: Tensor, state: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        joined = torch.cat([state[0], mix], dim=-1)
        state[0].copy_(joined[..., -state[0].shape[-1] :])
        batch, _, frames = joined.shape
        filtered = torch.nn.functional.conv1d(joined.reshape(batch * 2, 1, frames), self.kernels.to(mix.device))
        return filtered.reshape(batch, 2, 4, -1).transpose(1, 2), state


def noise(frames: int, seed: int = 0) -> Audio:
    """Stereo noise `[2, frames]`."""
    return np.random.default_rng(seed).uniform(-0.5, 0.5, (2, frames)).astype(np.float32)


def tone(frames: int, hertz: float = 200.0, sample_rate: int = 44100) -> Audio:
    """A stereo sine `[2, frames]`, whose samples differ by little: clicks stand out."""
    wave = 0.5 * np.sin(2 * np.pi * hertz * np.arange(frames) / sample_rate)
    return np.repeat(wave[None], 2, axis=0).astype(np.float32)


def delayed(samples: Audio, lag: int, frames: int) -> Audio:
    """`frames` frames of `samples` delayed by `lag`, silence around."""
    out = np.zeros((samples.shape[0], frames), dtype=np.float32)
    kept = min(samples.shape[1], frames - lag)
    out[:, lag : lag + kept] = samples[:, :kept]
    return out


def run_steps(separator: Any, samples: Audio, max_chunk: int = 1) -> Audio:
    """The separator alone over `samples`, hop by hop: `[S, 2, T]`, silence appended for the latency."""
    frames = samples.shape[1] + separator.latency
    padded = np.zeros((2, -(-frames // separator.hop) * separator.hop), dtype=np.float32)
    padded[:, : samples.shape[1]] = samples
    state = separator.init_state(1, max_chunk)
    outputs = []
    with torch.inference_mode():
        for piece in torch.from_numpy(padded)[None].split(separator.hop, dim=-1):
            sources, state = separator.step(piece, state)
            outputs.append(sources[0].clone())
    return torch.cat(outputs, dim=-1).numpy()


def make_stream(
    separator: Any,
    samples: Audio,
    config: StreamConfig | None = None,
    *,
    blocks: int | tuple[int, ...] = 8,
    realtime: bool = False,
    faults: Faults | None = None,
    max_chunk: int = 1,
    executor: str = "eager",
) -> tuple[Stream, FakeDevice]:
    """A stream of `separator` on a fake device that plays `samples`."""
    config = config or StreamConfig()
    outputs = 2 if config.output == "mix" else 2 * len(separator.sources)
    device = FakeDevice(samples, outputs, clocking=Clocking(blocks, realtime), faults=faults)
    return Stream(ThreadHost(make_executor(executor, separator, max_chunk=max_chunk)), device, config), device


def run_stream(stream: Stream) -> None:
    """Run a stream to its end and close it."""
    stream.start()
    while not stream.wait(0.05):
        pass
    stream.close()
    stream.host.close()
