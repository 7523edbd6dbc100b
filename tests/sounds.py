"""Sounds to write into files, and a user who may not."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from streamsep.files import Samples


def tones(rate: int, seconds: float, *frequencies: float) -> Samples:
    """One sine a channel."""
    time = np.arange(round(rate * seconds)) / rate
    return np.stack([0.25 * np.sin(2 * np.pi * f * time) for f in frequencies]).astype(np.float32)


def pitch(channel: Samples, rate: int) -> float:
    """The frequency of the highest peak of the spectrum, in Hz."""
    return float(np.abs(np.fft.rfft(channel)).argmax() * rate / len(channel))


@contextmanager
def plain_user() -> Iterator[None]:
    """Give root's rights up for a while, where the tests run as root."""
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)
