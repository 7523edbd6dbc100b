"""Stems -> what leaves the engine: gains that move by ramps, mute, solo, and the routing to output channels."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from streamsep.engine.ring import Audio
from streamsep.errors import StreamsepError

Routing = Literal["mix", "stems"]


def from_decibels(level: float) -> float:
    """Linear gain of a level in dB; -inf is 0.

    >>> from_decibels(0.0), round(from_decibels(-6.0), 4), from_decibels(float("-inf"))
    (1.0, 0.5012, 0.0)
    """
    return float(10.0 ** (level / 20.0))


class Mixer:
    """Gains, mutes and solos of `sources`, applied hop by hop.

    Args:
        sources: names of the stems, in the order of the separator.
        routing: "mix" (one stereo sum) or "stems" (each stem on its own pair of channels, in order).
        ramp: frames that a change of gain takes.
    """

    def __init__(self, sources: tuple[str, ...], routing: Routing = "mix", ramp: int = 441) -> None:
        if routing not in ("mix", "stems"):
            raise StreamsepError(f"unknown output {routing!r}; choose mix or stems")
        self.sources = sources
        self.routing = routing
        self.ramp = max(1, ramp)
        self._gain = np.ones(len(sources), dtype=np.float64)
        self._mute = np.zeros(len(sources), dtype=bool)
        self._solo = np.zeros(len(sources), dtype=bool)
        self._current = self._gain.copy()
        self._start = self._current.copy()
        self._target = self._current.copy()
        self._left = 0

    @property
    def channels(self) -> int:
        """Channels that leave the mixer."""
        return 2 if self.routing == "mix" else 2 * len(self.sources)

    def stem(self, name: str) -> int:
        """Number of a stem.

        Raises:
            StreamsepError: no stem of that name.
        """
        if name not in self.sources:
            raise StreamsepError(f"there is no stem {name!r}; this model has {', '.join(self.sources)}")
        return self.sources.index(name)

    def set_gain(self, stem: int, gain: float) -> None:
        """Move the linear gain of a stem to `gain` within the ramp."""
        self._gain[stem] = gain
        self._aim()

    def set_mute(self, stem: int, on: bool) -> None:
        """Silence a stem, or let it sound again."""
        self._mute[stem] = on
        self._aim()

    def set_solo(self, stem: int, on: bool) -> None:
        """While any stem is soloed, only soloed stems sound."""
        self._solo[stem] = on
        self._aim()

    def settle(self) -> None:
        """Finish any ramp at once: before a stream starts there is nothing to click."""
        self._left = 0
        self._current[:] = self._target

    def process(self, sources: Audio) -> Audio:
        """Apply the gains to `sources [S, 2, n]`; returns `[channels, n]`."""
        frames = sources.shape[-1]
        scaled = sources * self._gains(frames)[:, None, :]
        return scaled.sum(axis=0) if self.routing == "mix" else scaled.reshape(-1, frames)

    def _aim(self) -> None:
        audible = ~self._mute & (self._solo if self._solo.any() else True)
        self._start[:] = self._current
        self._target[:] = np.where(audible, self._gain, 0.0)
        self._left = self.ramp

    def _gains(self, frames: int) -> NDArray[np.float32]:
        """The gain of every stem at every frame, `[S, n]` (or `[S, 1]` at rest), and the ramp moved on."""
        if self._left == 0:
            return self._current[:, None].astype(np.float32)
        done = np.minimum(self.ramp - self._left + 1 + np.arange(frames), self.ramp) / self.ramp
        gains = self._start[:, None] + (self._target - self._start)[:, None] * done
        self._left = max(0, self._left - frames)
        self._current[:] = gains[:, -1] if self._left else self._target
        return gains.astype(np.float32)
