"""What the system may refuse: room in shared memory, and a place for compiled code."""

from __future__ import annotations

import os
from multiprocessing import shared_memory as standard
from pathlib import Path
from typing import Any

import pytest

from streamsep.engine import compiling, shared_memory
from streamsep.engine.shared_memory import SharedBytes
from streamsep.errors import StreamsepError


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="memory cannot be reserved here")
def test_shared_memory_is_there_when_it_is_given() -> None:
    """A sparse block would be refused by a signal that kills, when it is touched."""
    shared = SharedBytes(1 << 20)
    held = os.stat(f"/dev/shm/{shared.name}").st_blocks * 512
    shared.unlink()
    assert held >= 1 << 20


def test_no_room_in_shared_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    names: list[str] = []

    def noted(**options: Any) -> Any:
        made = standard.SharedMemory(**options)
        names.append(made.name)
        return made

    monkeypatch.setattr(os, "posix_fallocate", full, raising=False)
    monkeypatch.setattr(shared_memory, "SharedMemory", noted)
    with pytest.raises(StreamsepError, match=r"no room for 2 MB of shared memory \(No space left on device\); make"):
        SharedBytes(2_000_000)
    with pytest.raises(FileNotFoundError):
        standard.SharedMemory(names[0])


def test_no_shared_memory_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(**_: Any) -> None:
        raise OSError(27, "File too large")

    monkeypatch.setattr(shared_memory, "SharedMemory", refused)
    with pytest.raises(StreamsepError, match=r"no room for 2 MB of shared memory \(File too large\); make"):
        SharedBytes(2_000_000)


def twice(x: float) -> float:
    return 2 * x


def test_compiled_code_needs_no_place_to_be_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As installed where nobody may write, by somebody without a home; or with a cache that a power cut damaged."""
    numba = pytest.importorskip("numba")
    real = numba.cfunc

    def unkept(signature: Any, *, cache: bool = False, **options: Any) -> Any:
        if cache:
            raise RuntimeError("cannot cache function: no locator available")
        return real(signature, **options)

    monkeypatch.setattr(numba, "cfunc", unkept)
    assert compiling.compile_c(twice, numba.float64(numba.float64), {}).ctypes(21.0) == 42.0


def test_what_cannot_be_compiled_is_told_all_the_same() -> None:
    numba = pytest.importorskip("numba")

    with pytest.raises(numba.core.errors.TypingError):
        compiling.compile_c(unknown, numba.float64(numba.float64), {})


def unknown(x: float) -> Any:
    return x.nothing  # type: ignore[attr-defined]
