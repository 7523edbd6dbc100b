"""Asks the system to run this process before others."""

from __future__ import annotations

import contextlib
import os
import sys


def raise_priority() -> bool:
    """Real-time round robin where the system lets us (on Linux: root, or a limit `rtprio`), else a smaller nice value.

    Returns:
        Whether the process is ahead of ordinary ones now.
    """
    if sys.platform == "win32":
        import ctypes

        kernel = ctypes.windll.kernel32
        return bool(kernel.SetPriorityClass(kernel.GetCurrentProcess(), 0x80))  # HIGH_PRIORITY_CLASS
    if hasattr(os, "sched_setscheduler"):
        with contextlib.suppress(OSError):
            # Far below the audio server's threads, which JACK puts at 10 or more.
            os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(5))
            return True
    with contextlib.suppress(OSError):
        return os.nice(-10) < 0
    return False
