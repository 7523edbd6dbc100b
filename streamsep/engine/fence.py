"""Memory fences: what one side of a ring wrote before it moved its counter, the other side finds there.

x86-64 keeps the order of stores and of loads by itself. Elsewhere (Arm) the processor may reorder them, so both sides
fence between frames and counter. A fence needs compiled code; without numba two sides may only be threads of one
interpreter, whose lock orders memory when it changes hands.
"""

from __future__ import annotations

import functools
import platform
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

ORDERED = platform.machine().lower() in ("x86_64", "amd64")


@functools.cache
def compiled_fence() -> Callable[[], None]:
    """A full fence, callable from numba's compiled code and from Python.

    Raises:
        ImportError: numba is missing.
    """
    from numba import njit
    from numba.core import types
    from numba.extending import intrinsic

    @intrinsic
    def barrier(typing: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            builder.fence("seq_cst")
            return context.get_dummy_value()

        return types.void(), generate

    @njit
    def fence() -> None:
        barrier()

    return fence


def processes_in_order() -> bool:
    """Whether two processes may share a ring here."""
    return ORDERED or find_spec("numba") is not None


def _nothing() -> None:
    """The fence of a machine that needs none."""


fence: Callable[[], None] = _nothing if ORDERED or not find_spec("numba") else compiled_fence()
