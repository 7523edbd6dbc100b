"""The mixing desk: where the knobs stand, in memory that the worker reads before every step.

Whoever turns a knob writes one number; nobody waits, and a worker that starts anew finds the knobs as they are.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from streamsep.engine.link import KNOBS
from streamsep.errors import StreamsepError

if TYPE_CHECKING:
    from streamsep.engine.mixer import Mixer
    from streamsep.engine.session import Session

MAX_STEMS = 16
_RESETS, _GAIN, _MUTE, _SOLO = 0, 16, 32, 48


class Desk:
    """Knobs of every stem.

    Args:
        sources: names of the stems.
        knobs: `KNOBS` numbers (float64) to live in; None: own memory.

    Raises:
        StreamsepError: more stems than the desk has strips.
    """

    def __init__(self, sources: tuple[str, ...], knobs: NDArray[np.float64] | None = None) -> None:
        if len(sources) > MAX_STEMS:
            raise StreamsepError(f"a desk has {MAX_STEMS} strips and this model {len(sources)} stems; use another")
        self.sources = sources
        self._knobs = np.zeros(KNOBS) if knobs is None else knobs

    def clear(self) -> None:
        """All stems at unity, none muted or soloed."""
        self._knobs[:] = 0.0
        self._knobs[_GAIN : _GAIN + MAX_STEMS] = 1.0

    def gain(self, stem: str) -> float:
        """Linear gain of a stem."""
        return float(self._knobs[_GAIN + self._strip(stem)])

    def muted(self, stem: str) -> bool:
        """Whether a stem is muted."""
        return bool(self._knobs[_MUTE + self._strip(stem)])

    def soloed(self, stem: str) -> bool:
        """Whether a stem is soloed."""
        return bool(self._knobs[_SOLO + self._strip(stem)])

    def set_gain(self, stem: str, gain: float) -> None:
        """Move the linear gain of a stem by a ramp.

        Raises:
            StreamsepError: no such stem, or a gain that is negative or not finite.
        """
        if not 0 <= gain < math.inf:
            raise StreamsepError(f"the gain of {stem} is {gain}; choose a finite one, from 0 for silence")
        self._knobs[_GAIN + self._strip(stem)] = gain

    def set_mute(self, stem: str, on: bool) -> None:
        """Mute a stem, or let it sound again."""
        self._knobs[_MUTE + self._strip(stem)] = on

    def set_solo(self, stem: str, on: bool) -> None:
        """Solo a stem, or take the solo back: while any stem is soloed, only soloed stems sound."""
        self._knobs[_SOLO + self._strip(stem)] = on

    def reset(self) -> None:
        """Ask for a reset of the state: a new song, a seek."""
        self._knobs[_RESETS] += 1

    @property
    def resets(self) -> int:
        """Resets asked for so far."""
        return int(self._knobs[_RESETS])

    def levels(self) -> NDArray[np.float64]:
        """What gain, mute and solo make of every stem together: a linear gain each, `[S]`."""
        count = len(self.sources)
        gain, mute, solo = (self._knobs[first : first + count] for first in (_GAIN, _MUTE, _SOLO))
        return np.where((mute == 0) & ((solo != 0) | (not solo.any())), gain, 0.0)

    def _strip(self, stem: str) -> int:
        if stem not in self.sources:
            raise StreamsepError(f"there is no stem {stem!r}; this model has {', '.join(self.sources)}")
        return self.sources.index(stem)


class DeskFollower:
    """Carries a desk's knobs to a mixer and a session; the worker's end.

    Args:
        desk: where the knobs are.
        session: reset when the desk asks.
        mixer: takes the levels; it starts with them, without a ramp.
    """

    def __init__(self, desk: Desk, session: Session, mixer: Mixer) -> None:
        self._desk, self._session, self._mixer = desk, session, mixer
        self._resets, self._levels = desk.resets, desk.levels()
        mixer.aim(self._levels)
        mixer.settle()

    def follow(self) -> bool:
        """Carry out what has changed since the last call; True if the session was reset."""
        if reset := self._desk.resets != self._resets:
            self._resets = self._desk.resets
            self._session.reset()
        levels = self._desk.levels()
        if (levels != self._levels).any():
            self._levels = levels
            self._mixer.aim(levels)
        return reset
