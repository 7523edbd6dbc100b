"""Stems -> what leaves the engine: levels that move by ramps, as one mix or each stem on channels of its own."""

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
    """The level of every stem, applied hop by hop.

    Args:
        sources: names of the stems, in the order of the separator.
        routing: "mix" (one stereo sum) or "stems" (each stem on its own pair of channels, in order).
        ramp: frames that a change of level takes.

    Attributes:
        peaks: greatest absolute sample of each stem in the last call of `process`, after its level.
    """

    def __init__(self, sources: tuple[str, ...], routing: Routing = "mix", ramp: int = 441) -> None:
        self.sources = sources
        self.routing = routing
        self.ramp = max(1, ramp)
        self.peaks: NDArray[np.float64] = np.zeros(len(sources))
        self._current: NDArray[np.float64] = np.ones(len(sources))
        self._start = self._current.copy()
        self._target = self._current.copy()
        self._left = 0

    @property
    def channels(self) -> int:
        """Channels that leave the mixer."""
        return channels_of(self.routing, self.sources)

    def aim(self, levels: NDArray[np.float64]) -> None:
        """Move the linear gains to `levels [S]` within the ramp."""
        self._start[:] = self._current
        self._target[:] = levels
        self._left = self.ramp

    def settle(self) -> None:
        """Finish any ramp at once: before a stream starts there is nothing to click."""
        self._left = 0
        self._current[:] = self._target

    def process(self, sources: Audio) -> Audio:
        """Apply the levels to `sources [S, 2, n]`; returns `[channels, n]`."""
        frames = sources.shape[-1]
        scaled = sources * self._gains(frames)[:, None, :]
        self.peaks = np.maximum(scaled.max(axis=(1, 2)), -scaled.min(axis=(1, 2)))
        return scaled.sum(axis=0) if self.routing == "mix" else scaled.reshape(-1, frames)

    def _gains(self, frames: int) -> NDArray[np.float32]:
        """The gain of every stem at every frame, `[S, n]` (or `[S, 1]` at rest), and the ramp moved on."""
        if self._left == 0:
            return self._current[:, None].astype(np.float32)
        done = np.minimum(self.ramp - self._left + 1 + np.arange(frames), self.ramp) / self.ramp
        gains = self._start[:, None] + (self._target - self._start)[:, None] * done
        self._left = max(0, self._left - frames)
        self._current[:] = gains[:, -1] if self._left else self._target
        return gains.astype(np.float32)


def channels_of(routing: Routing, sources: tuple[str, ...]) -> int:
    """Channels that a mixer of this routing has.

    Raises:
        StreamsepError: a routing that there is not.
    """
    if routing not in ("mix", "stems"):
        raise StreamsepError(f"unknown output {routing!r}; choose mix or stems")
    return 2 if routing == "mix" else 2 * len(sources)
