"""Bytes that two processes see, freed when the last view of them is gone."""

from __future__ import annotations

import ctypes
import os
import weakref
from multiprocessing.shared_memory import SharedMemory

import numpy as np
from numpy.typing import NDArray

from streamsep.errors import StreamsepError


class SharedBytes:
    """A block of zeroed bytes with a name by which another process finds it.

    The standard class unmaps when it is told to and fails while there are views; here the views themselves keep the
    mapping, and the last of them takes it along.

    Args:
        nbytes: size of a new block.
        name: of a block that another process has made, to join it.

    Raises:
        StreamsepError: there is no room for a new block.

    Attributes:
        name: what the other process needs.
        array: all bytes, uint8.
    """

    def __init__(self, nbytes: int, name: str | None = None) -> None:
        try:
            self._memory = SharedMemory(name=name, create=name is None, size=nbytes)
        except OSError as error:
            if name is not None:
                raise
            raise _no_room(nbytes, error) from None
        self.name = self._memory.name
        if name is None:
            self._reserve(nbytes)
        kind = ctypes.c_uint8 * nbytes
        assert self._memory.buf is not None
        base = kind.from_address(ctypes.addressof(kind.from_buffer(self._memory.buf)))
        weakref.finalize(base, self._memory.close)
        self.array: NDArray[np.uint8] = np.ctypeslib.as_array(base)

    def _reserve(self, nbytes: int) -> None:
        """Take the memory now: where there is too little, the system kills whoever touches it later."""
        try:
            if hasattr(os, "posix_fallocate") and (descriptor := getattr(self._memory, "_fd", -1)) >= 0:
                os.posix_fallocate(descriptor, 0, nbytes)
        except OSError as error:
            self._memory.close()
            self._memory.unlink()
            raise _no_room(nbytes, error) from None

    def unlink(self) -> None:
        """Take the name away: nobody can join from now on."""
        self._memory.unlink()


def _no_room(nbytes: int, error: OSError) -> StreamsepError:
    return StreamsepError(
        f"there is no room for {nbytes / 1e6:.0f} MB of shared memory ({error.strerror}); make /dev/shm "
        "larger, or choose --worker thread"
    )
