"""glibc, told to keep its memory: what is freed is used again without the kernel, in every thread."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

from streamsep.cli.allocator import keep_memory

# Prints whether it was set, and the page faults of the second 80 MB in a thread after the first 80 MB were freed there.
SCRIPT = """
import ctypes, resource, threading
from streamsep.cli.allocator import keep_memory
print(keep_memory())
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
libc.free.argtypes = [ctypes.c_void_p]
def fill():
    place = libc.malloc(80 << 20)
    ctypes.memset(place, 1, 80 << 20)
    libc.free(place)
def work():
    fill()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    fill()
    print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
thread = threading.Thread(target=work)
thread.start()
thread.join()
"""


def faults(**environment: str) -> tuple[str, int]:
    given = {key: value for key, value in os.environ.items() if key != "STREAMSEP_MALLOC"} | environment
    words = subprocess.run([sys.executable, "-c", SCRIPT], env=given, check=True, capture_output=True, text=True)
    done, count = words.stdout.split()
    return done, int(count)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the settings are glibc's")
def test_memory_is_kept_unless_the_user_says_no() -> None:
    done, count = faults()
    assert done == "True" and count < 100
    done, count = faults(STREAMSEP_MALLOC="system")
    assert done == "False" and count > 10_000


def test_other_libraries_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("STREAMSEP_MALLOC")
    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    assert not keep_memory()
