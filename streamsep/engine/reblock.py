"""Device blocks of any size -> whole hops, and what that costs in latency."""

from __future__ import annotations

import math

import numpy as np

from streamsep.engine.ring import Audio, Ring


def blocking_latency(hop: int, block: int | None) -> int:
    """Frames by which reblocking delays a stream: the most that can be left over in front of an incomplete hop.

    After k blocks of `block` frames, `k * block mod hop` frames wait for the rest of their hop; the largest of these
    remainders is `hop - gcd(hop, block)`. Blocks of varying size can leave any remainder: `hop - 1`.

    Args:
        hop: frames of one step.
        block: frames of one device block; None where the size varies.

    >>> blocking_latency(512, 256), blocking_latency(512, 512), blocking_latency(512, 480), blocking_latency(512, None)
    (256, 0, 480, 511)
    """
    if hop < 1 or (block is not None and block < 1):
        raise ValueError(f"hop and block must be positive, got {hop} and {block}")
    return hop - (1 if block is None else math.gcd(hop, block))


class Reblocker:
    """Takes whole hops off a ring that the device fills block by block.

    Args:
        ring: what the device writes into; this is its only reader.
        hop: frames of one step.
        max_chunk: most hops handed over at once.
    """

    def __init__(self, ring: Ring, hop: int, max_chunk: int = 1) -> None:
        if hop * max_chunk > ring.capacity:
            raise ValueError(f"a ring of {ring.capacity} frames never holds {max_chunk} hops of {hop}")
        self.hop = hop
        self.max_chunk = max_chunk
        self._ring = ring
        self._chunk: Audio = np.zeros((ring.channels, hop * max_chunk), dtype=np.float32)

    @property
    def index(self) -> int:
        """Absolute frame index of the next hop."""
        return self._ring.consumed

    @property
    def ready(self) -> int:
        """Whole hops that wait."""
        return self._ring.readable // self.hop

    def take(self) -> Audio | None:
        """The next chunk `[channels, n * hop]`, n <= max_chunk, or None; valid until the next call."""
        hops = min(self.ready, self.max_chunk)
        if hops == 0:
            return None
        chunk = self._chunk[:, : hops * self.hop]
        self._ring.read(chunk)
        return chunk

    def skip(self, hops: int) -> int:
        """Throw away up to `hops` waiting hops; returns how many went."""
        return self._ring.skip(min(hops, self.ready) * self.hop) // self.hop
