"""The STFT of scipy (`scipy.signal.stft` and `istft` as they come: Hann, zeros at both ends) in blocks of frames.

A song of any length passes through in bounded memory; the frames and samples are those of scipy on the whole.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Spectrum = NDArray[np.complex128]
_BLOCK = 64  # frames at a time


@dataclass(frozen=True)
class Transform:
    """Sizes of an STFT.

    Args:
        size: samples of a frame.
        hop: samples from frame to frame; Hann windows overlap to more than nothing from `size / 2` down.
    """

    size: int = 4096
    hop: int = 1024

    def __post_init__(self) -> None:
        if self.size < 16 or self.size % 2 or not 0 < self.hop <= self.size // 2:
            raise ValueError("an STFT has an even size of at least 16 and a hop of at most half of it")

    @property
    def window(self) -> Array:
        """Periodic Hann window."""
        return 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(self.size) / self.size)

    def frames(self, length: int) -> int:
        """Frames of a sound of `length` samples with half a window of zeros at both ends, filled up to whole hops."""
        return -(-length // self.hop) + 1

    def analyse(self, samples: NDArray[Any], first: int, count: int) -> Spectrum:
        """Frames `first` to `first + count` of `samples [T, ...]`, as `[..., bins, count]`."""
        start = first * self.hop - self.size // 2
        stop = start + (count - 1) * self.hop + self.size
        inside = np.asarray(samples[max(start, 0) : max(stop, 0)], np.float64)
        left = max(0, -start)
        pad = [(left, stop - start - left - len(inside)), *[(0, 0)] * (inside.ndim - 1)]
        views = np.lib.stride_tricks.sliding_window_view(np.pad(inside, pad), self.size, axis=0)[:: self.hop]
        window = self.window
        return np.moveaxis(np.fft.rfft(views * window) / window.sum(), 0, -1)

    def blocks(self, length: int) -> Iterator[tuple[int, int]]:
        """(first frame, frames) of each block."""
        total = self.frames(length)
        return ((first, min(_BLOCK, total - first)) for first in range(0, total, _BLOCK))


class Synthesis:
    """Overlap-add of frames that come in blocks, in order.

    Args:
        length: samples of the sound to be.
    """

    def __init__(self, transform: Transform, length: int) -> None:
        self.transform, self.length = transform, length
        self._tail: Array | None = None
        self._weights = np.zeros(transform.size)
        self._at = -(transform.size // 2)  # place of the first sample that is not out yet
        self._left = transform.frames(length)

    def add(self, spectrum: Spectrum) -> Array:
        """The samples `[n, ...]` that are finished by the next frames `[..., bins, count]`."""
        size, hop, window = self.transform.size, self.transform.hop, self.transform.window
        count = spectrum.shape[-1]
        waves = np.fft.irfft(np.moveaxis(spectrum, -1, 0), size) * (window * window.sum())  # [count, ..., size]
        total = np.zeros((*waves.shape[1:-1], size + (count - 1) * hop))
        weights = np.zeros(total.shape[-1])
        if self._tail is not None:
            total[..., : size - hop] += self._tail
            weights[: size - hop] += self._weights
        for index, wave in enumerate(waves):
            total[..., index * hop : index * hop + size] += wave
            weights[index * hop : index * hop + size] += window**2
        self._left -= count
        done = total.shape[-1] if self._left <= 0 else count * hop
        out = total[..., :done] / np.where(weights[:done] > 1e-10, weights[:done], 1.0)
        self._tail, self._weights = total[..., done:], weights[done:]
        begin, end = max(0, -self._at), min(done, self.length - self._at)
        self._at += done
        return np.moveaxis(out[..., begin : max(begin, end)], -1, 0)
