"""glibc's allocator told to keep the memory that one segment frees, since the next asks for the same.

By default every large tensor is a mapping of its own, which the kernel fills with zeros page by page: some hundred
thousand page faults a segment. `STREAMSEP_MALLOC=system` leaves the allocator as it is.
"""

from __future__ import annotations

import ctypes
import os
import platform

# from malloc.h: no mappings, nothing trimmed, the heap grown by 256 MiB at a time, one heap for all threads
_SETTINGS = {
    "M_MMAP_MAX": (-4, 0),
    "M_TRIM_THRESHOLD": (-1, 2**31 - 1),
    "M_TOP_PAD": (-2, 1 << 28),
    "M_ARENA_MAX": (-8, 1),
}


def keep_memory() -> bool:
    """Apply the settings to this process; whether it was done: not without glibc, nor against the user's wish."""
    if os.environ.get("STREAMSEP_MALLOC") == "system" or platform.libc_ver()[0] != "glibc":
        return False
    libc = ctypes.CDLL(None)
    return all([libc.mallopt(code, value) for code, value in _SETTINGS.values()])
