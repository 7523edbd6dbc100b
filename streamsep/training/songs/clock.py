"""Beats to seconds: tempo, swing, and the slow wander of people who play without a click."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Clock:
    """A song's time.

    Attributes:
        tempo: beats a minute.
        swing: delay of every second sixteenth, as a fraction of a sixteenth.
        shuffle: eighths fall on thirds of a beat (long, short).
        wander: seconds by which the pulse wanders at most.
        phase: of the wander, in radians.
    """

    tempo: float
    swing: float = 0.0
    shuffle: bool = False
    wander: float = 0.0
    phase: float = 0.0

    def seconds(self, beat: float) -> float:
        """When a beat (counted from 0) sounds."""
        whole, part = divmod(beat, 1.0)
        if self.shuffle:
            part = part * 4 / 3 if part < 0.5 else 2 / 3 + (part - 0.5) * 2 / 3
        elif round(part * 4) % 2 and abs(part * 4 - round(part * 4)) < 0.01:
            part += 0.25 * self.swing
        return self.straight(whole + part)

    def straight(self, beat: float) -> float:
        """When a beat sounds that needs no swing."""
        drift = self.wander * float(np.sin(2 * np.pi * beat / 53 + self.phase) - np.sin(self.phase))
        return max(beat * 60 / self.tempo + drift, 0.0)
