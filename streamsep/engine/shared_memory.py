"""Bytes that two processes see, freed when the last view of them is gone."""

from __future__ import annotations

import ctypes
import weakref
from multiprocessing.shared_memory import SharedMemory

import numpy as np
from numpy.typing import NDArray


class SharedBytes:
    """A block of zeroed bytes with a name by which another process finds it.

    The standard class unmaps when it is told to and fails while there are views; here the views themselves keep the
    mapping, and the last of them takes it along.

    Args:
        nbytes: size of a new block.
        name: of a block that another process has made, to join it.

    Attributes:
        name: what the other process needs.
        array: all bytes, uint8.
    """

    def __init__(self, nbytes: int, name: str | None = None) -> None:
        self._memory = SharedMemory(name=name, create=name is None, size=nbytes)
        self.name = self._memory.name
        kind = ctypes.c_uint8 * nbytes
        assert self._memory.buf is not None
        base = kind.from_address(ctypes.addressof(kind.from_buffer(self._memory.buf)))
        weakref.finalize(base, self._memory.close)
        self.array: NDArray[np.uint8] = np.ctypeslib.as_array(base)

    def unlink(self) -> None:
        """Take the name away: nobody can join from now on."""
        self._memory.unlink()
