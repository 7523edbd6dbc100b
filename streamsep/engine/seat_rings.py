"""The memory of a pool's seats: for each row a ring of hops that wait for the model, and one of those that left it.

Hops of all rows are taken and given at once; nothing here waits, and whoever calls holds the pool's lock.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from streamsep.engine.ring import Audio
from streamsep.errors import StreamsepError

Mask = NDArray[np.bool_]


class SeatRings:
    """Rings of `backlog` whole hops, with one more on the way in for the hop that is not yet whole.

    Args:
        rows, stems, hop: of a batch `[rows, 2, hop]` that becomes `[rows, stems, 2, hop]`.
    """

    def __init__(self, rows: int, stems: int, hop: int, backlog: int) -> None:
        self.hop, self._every = hop, np.arange(rows)
        self._mix = np.zeros((rows, backlog + 1, 2, hop), np.float32)
        self._stems = np.zeros((rows, backlog, stems, 2, hop), np.float32)
        # Of each row since it was cleared: frames that came, hops that were taken and given, frames that were read.
        self._fed, self._taken, self._given, self._read = np.zeros((4, rows), np.int64)

    def clear(self, row: int) -> None:
        """Forget all of a row."""
        for count in (self._fed, self._taken, self._given, self._read):
            count[row] = 0

    def room(self, row: int) -> int:
        """Frames that may be fed."""
        whole = (self._mix.shape[1] - 1) * self.hop
        return int(whole - (self._fed[row] - self._taken[row] * self.hop))

    def feed(self, row: int, mix: Audio) -> None:
        """Append `mix [2, n]`.

        Raises:
            ValueError: it is not `[2, n]`.
            StreamsepError: there is no room for all of it.
        """
        if mix.ndim != 2 or mix.shape[0] != 2:
            raise ValueError(f"a mix is [2, n], got {mix.shape}")
        frames = mix.shape[1]
        if frames > self.room(row):
            raise StreamsepError(
                f"{frames} frames, and a seat has room for {self.room(row)}; tick the pool and read the stems first"
            )
        done = 0
        while done < frames:
            slot, offset = divmod(int(self._fed[row]), self.hop)
            part = min(frames - done, self.hop - offset)
            place = self._mix[row, slot % self._mix.shape[1]]
            place[:, offset : offset + part] = mix[:, done : done + part]
            self._fed[row] += part
            done += part

    def ready(self) -> Mask:
        """Rows in which a hop is whole and has room to come out, `[rows]`."""
        whole = self._fed // self.hop > self._taken
        unread = self._given - self._read // self.hop
        return whole & (unread < self._stems.shape[1])

    def take(self, rows: Mask) -> Audio:
        """The next hop of the masked rows, silence in all others, `[rows, 2, hop]`."""
        mix = self._mix[self._every, self._taken % self._mix.shape[1]]
        mix[~rows] = 0.0
        self._taken[rows] += 1
        return mix

    def give(self, rows: Mask, stems: Audio) -> None:
        """Append a hop `[rows, stems, 2, hop]` to what the masked rows may read."""
        slots = self._given % self._stems.shape[1]
        for row in np.flatnonzero(rows):  # each is one block of memory; a masked assignment would copy twice
            self._stems[row, slots[row]] = stems[row]
        self._given[rows] += 1

    def waiting(self, row: int) -> int:
        """Frames that may be read."""
        return int(self._given[row] * self.hop - self._read[row])

    def most(self, row: int) -> int:
        """Frames that may ever wait, if none is read meanwhile: a hop keeps its place until all of it is read."""
        return int(self._stems.shape[1] * self.hop - self._read[row] % self.hop)

    def read(self, row: int, most: int | None) -> Audio:
        """The next stems, `[stems, 2, n]` with n at most `most`."""
        there = self.waiting(row)
        frames = there if most is None else max(0, min(there, most))
        parts = [self._stems[row, 0, ..., :0]]
        while frames:
            slot, offset = divmod(int(self._read[row]), self.hop)
            part = min(frames, self.hop - offset)
            parts.append(self._stems[row, slot % self._stems.shape[1], ..., offset : offset + part])
            self._read[row] += part
            frames -= part
        return np.concatenate(parts, -1)
