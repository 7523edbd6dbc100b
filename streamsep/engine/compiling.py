"""Compiles plain module-level functions by numba, each seeing the compiled form of those that it calls.

Beside them, what compiled code in a foreign thread needs of the system: a view of an array by its address, a byte
written to a file descriptor, a nap.
"""

from __future__ import annotations

import functools
import hashlib
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import FunctionType
from typing import Any

# Where compiled code comes from.
SOURCES = ("compil*.py", "edge*.py", "drift.py", "fence.py", "link.py", "resampler.py")


def compile_functions(
    functions: Sequence[Callable[..., Any]], known: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The compiled functions by name; the first call of each takes seconds.

    Args:
        functions: callees before callers.
        known: what the functions are to see under a name instead of what their module has there.

    Raises:
        ImportError: numba is missing.
    """
    from numba import njit

    compiled = dict(known or {})
    for function in functions:
        compiled[function.__name__] = njit(_seeing(function, compiled), error_model="numpy", nogil=True)
    return compiled


def compile_c(function: Callable[..., Any], signature: Any, known: Mapping[str, Any]) -> Any:
    """`function` as a C function; it has an `address`. The machine code is kept on disk for the next start.

    A digest of its sources is part of the name under which it is kept: whatever changes there, it is made anew. Where
    the disk is full or read-only, or what is kept there is damaged, it is made without it.
    """
    from numba import cfunc

    copy = _seeing(function, known)
    copy.__qualname__ = f"{function.__name__}_{_sources()}"
    try:
        return cfunc(signature, error_model="numpy", cache=True)(copy)
    except Exception:  # what is wrong with the function itself is raised again
        return cfunc(signature, error_model="numpy")(copy)


def _seeing(function: Callable[..., Any], names: Mapping[str, Any]) -> FunctionType:
    """A copy of a module-level function that finds `names` where it would find its module's."""
    assert isinstance(function, FunctionType)
    return FunctionType(function.__code__, {**function.__globals__, **names}, function.__name__)


@functools.cache
def _sources() -> str:
    digest = hashlib.sha256()
    for pattern in SOURCES:
        for path in sorted(Path(__file__).parent.glob(pattern)):
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def array_views() -> dict[str, Any]:
    """Compiled views `float32_1(table, i)`, `float32_2`, ...: the array whose address and sizes stand from `i` on."""
    import numpy as np
    from numba import carray, njit
    from numba.core import cgutils, types
    from numba.extending import intrinsic

    @intrinsic
    def pointer(typing: Any, address: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return builder.inttoptr(arguments[0], cgutils.voidptr_t)

        return types.voidptr(address), generate

    def views(dtype: Any) -> dict[str, Any]:
        def one(table: Any, i: int) -> Any:
            return carray(pointer(table[i]), (table[i + 1],), dtype)

        def two(table: Any, i: int) -> Any:
            return carray(pointer(table[i]), (table[i + 1], table[i + 2]), dtype)

        return {f"{np.dtype(dtype).name}_1": njit(one), f"{np.dtype(dtype).name}_2": njit(two)}

    return views(np.float32) | views(np.float64) | views(np.int64)


def ring_bell(fd: int, byte: int) -> None:
    """Write the byte at the address `byte` to `fd`, once compiled: see `system_calls`."""


def nap() -> None:
    """Sleep for 100 microseconds, once compiled: see `system_calls`."""


def read_clock(address: int) -> None:
    """Write seconds and nanoseconds of the monotonic clock to `address`, once compiled: see `system_calls`."""


def system_calls() -> dict[str, Any]:
    """Compiled `ring_bell`, `nap` and `read_clock`; elsewhere than on POSIX systems they do nothing."""
    from numba import njit, types

    if os.name != "posix":
        return {function.__name__: njit(function) for function in (ring_bell, nap, read_clock)}
    # By name, not by address, so that the code can be kept on disk. Pointers go as numbers, the same way.
    write = types.ExternalFunction("write", types.intp(types.int32, types.intp, types.intp))
    usleep = types.ExternalFunction("usleep", types.int32(types.uint32))
    clock_gettime, monotonic = types.ExternalFunction("clock_gettime", types.int32(types.int32, types.intp)), _MONOTONIC

    def ring(fd: int, byte: int) -> None:
        write(fd, byte, 1)

    def sleep() -> None:
        usleep(100)

    def clock(address: int) -> None:
        clock_gettime(monotonic, address)

    return {"ring_bell": njit(ring), "nap": njit(sleep), "read_clock": njit(clock)}


_MONOTONIC = int(getattr(time, "CLOCK_MONOTONIC", 0))
