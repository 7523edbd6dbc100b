"""A session: one or more rows of audio going through a separator, and the state that belongs to them.

It knows nothing of devices, threads or time; chunks go in, stems come out.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Sequence

import torch
from torch import Tensor

from streamsep.engine.executor import Executor
from streamsep.engine.state import clone_state, fill_rows, rows_like
from streamsep.models.streaming import check_floating, dtype_of

# 36 dB over full scale: louder input is a fault, and squares of it must not overflow inside the model.
INPUT_LIMIT = 64.0


class Session:
    """Owns the state of `executor.batch` rows.

    Args:
        executor: runs the steps.
        fade: frames over which a reset row's old sound dies away and its new input comes in.

    Attributes:
        recoveries: times a row came out non-finite and was silenced and reset.
    """

    def __init__(self, executor: Executor, fade: int = 64) -> None:
        separator = executor.separator
        self.executor = executor
        self.hop, self.latency = separator.hop, separator.latency
        self.fade = min(fade, self.hop)
        self.recoveries = 0
        self._state, self._dtype = executor.init_state(), dtype_of(separator)
        shape = (executor.batch, len(separator.sources), 2)
        self._ramp = torch.arange(1, self.fade + 1, device=executor.home) / max(1, self.fade)
        self._last = torch.zeros(shape, device=executor.home)
        self._fading = torch.zeros(executor.batch, dtype=torch.bool)
        self._cut = torch.zeros(executor.batch, dtype=torch.bool)
        self._everyone = torch.ones(executor.batch, dtype=torch.bool)

    @torch.inference_mode()
    def process(self, mix: Tensor, active: Tensor | None = None) -> Tensor:
        """Separate the next chunk.

        Args:
            mix: `[B, 2, n * hop]` on any device and of any floating type; non-finite samples count as silence.
            active: `[B]`, bool: the rows that go on (default: all); for the others time stands still.

        Returns:
            `sources [B, S, 2, n * hop]` where the executor is at home, lagging by `latency`; valid until the next
            call, and without meaning in rows that rest.

        Raises:
            ValueError: a chunk that is not whole hops, not of `batch` rows, not stereo, or of integers.
        """
        frames = mix.shape[-1] if mix.dim() == 3 else 0
        if mix.shape[:-1] != (self.executor.batch, 2) or frames % self.hop or frames == 0:
            raise ValueError(f"a chunk is [{self.executor.batch}, 2, n * {self.hop}], got {tuple(mix.shape)}")
        check_floating(mix)
        pieces = mix.split(self.executor.max_chunk * self.hop, dim=-1)
        if len(pieces) == 1:
            return self._step(mix, active)
        return torch.cat([self._step(piece, active).clone() for piece in pieces], dim=-1)

    @torch.inference_mode()
    def finish(self) -> Tensor:
        """Feed silence for the declared lag; returns the last `latency` frames `[B, S, 2, latency]` of the stems."""
        hops = math.ceil(self.latency / self.hop)
        if hops == 0:
            return self._last.new_zeros(*self._last.shape, 0)
        silence = torch.zeros(self.executor.batch, 2, hops * self.hop, device=self.executor.home)
        return self.process(silence)[..., : self.latency]

    @torch.inference_mode()
    def reset(self, rows: Sequence[int] | None = None) -> None:
        """Forget the past of `rows` (default: all), as for a seek or a new song, with a short fade."""
        chosen = torch.tensor(range(self.executor.batch) if rows is None else rows, dtype=torch.int64)
        self._clear(chosen)
        self._fading[chosen] = True
        self._cut[chosen] = True

    @torch.inference_mode()
    def renew(self, rows: Sequence[int]) -> None:
        """Begin new streams in `rows`, with nothing left of those before and no fade."""
        chosen = torch.tensor(rows, dtype=torch.int64)
        self._clear(chosen)
        self._fading[chosen] = False
        self._cut[chosen] = False
        self._last[chosen] = 0.0

    def splice(self) -> None:
        """Announce a gap in the input: the state is kept, and the next input comes in with the short fade."""
        self._fading[:] = True

    @torch.inference_mode()
    def fork(self) -> Session:
        """An independent session that stands at the same place; it may share the executor, never the state."""
        twin = Session(self.executor.fork(), self.fade)
        twin._state = clone_state(self._state)
        twin._last, twin._fading, twin._cut = self._last.clone(), self._fading.clone(), self._cut.clone()
        return twin

    @torch.inference_mode()
    def warm_up(self, steps: int = 5, shortest: int = 1) -> list[float]:
        """Run `steps` chunks of noise of several lengths from `shortest` hops to the longest, and put the state back.

        Returns:
            Seconds a hop of the longest chunks.
        """
        kept, state = clone_state(self._state), clone_state(self._state)
        seconds: list[float] = []
        for hops in self._lengths(shortest):
            shape = (self.executor.batch, 2, hops * self.hop)
            noise = 0.1 * torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(self.executor.home)
            seconds = []
            for _ in range(steps):
                began = time.perf_counter()
                sources, state = self.executor(noise, state)
                sources.cpu()
                seconds.append((time.perf_counter() - began) / hops)
        self._state = kept
        return seconds

    def _lengths(self, shortest: int) -> list[int]:
        """Every length in hops where each is recorded apart; else doublings, for all of them would take minutes."""
        longest = self.executor.max_chunk
        if getattr(self.executor, "graphs", False):
            return list(range(shortest, longest + 1))
        return [*itertools.takewhile(lambda hops: hops < longest, (shortest << n for n in itertools.count())), longest]

    def _step(self, mix: Tensor, active: Tensor | None) -> Tensor:
        awake = self._everyone if active is None else active
        sources, self._state = self.executor(self._admit(mix, awake), self._state, active)
        # A sum tells as much as a look at every sample, and makes no mask of them.
        if not bool(torch.isfinite(sources.sum())):
            sources = self._recover(sources, awake)
        if (cut := self._cut & awake).any():
            sources = self._die_away(sources, cut)
        last = sources[..., -1].clone()
        self._last = last if active is None else torch.where(rows_like(awake, last), last, self._last)
        return sources

    def _admit(self, mix: Tensor, awake: Tensor) -> Tensor:
        """A finite, bounded copy of `mix` at the executor's home, faded in where a row has just been cut."""
        clean = torch.nan_to_num(mix.to(self.executor.home, self._dtype), nan=0.0, posinf=0.0, neginf=0.0)
        clean = clean.clamp_(-INPUT_LIMIT, INPUT_LIMIT)
        if (fading := self._fading & awake).any():
            clean[fading, :, : self.fade] *= self._ramp
            self._fading[fading] = False
        return clean

    def _die_away(self, sources: Tensor, cut: Tensor) -> Tensor:
        """Let the last sample of a cut row decay to nothing over the fade, under the new sound: no step, no click."""
        sources = sources.clone()
        sources[cut, ..., : self.fade] += self._last[cut].unsqueeze(-1) * (1 - self._ramp)
        self._cut[cut] = False
        return sources

    def _recover(self, sources: Tensor, awake: Tensor) -> Tensor:
        """Silence the rows that went non-finite and start them afresh: a poisoned state never heals by itself."""
        broken = ~torch.isfinite(sources).flatten(1).all(dim=1).cpu() & awake
        self.recoveries += int(broken.sum())
        sources = sources.clone()
        sources[broken] = 0.0
        self._clear(broken.nonzero().squeeze(1))
        self._fading[broken] = True
        self._cut[broken] = True
        return sources

    def _clear(self, rows: Tensor) -> None:
        fill_rows(self._state, self.executor.init_state(1), rows)
