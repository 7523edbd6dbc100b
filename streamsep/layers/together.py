"""Tasks that do not need each other's results: one after the other, or side by side on a GPU."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import torch

T = TypeVar("T")


def in_turn(tasks: Sequence[Callable[[], T]]) -> list[T]:
    """Their results, one task after the other."""
    return [task() for task in tasks]


class SideBySide:
    """The same; but while a CUDA graph is recorded, tasks after the first fork off to streams of their own.

    Kernels of small steps leave most of a GPU idle, and those of two branches then overlap. Each task may read what was
    there before the call, and write nothing that another one touches. The tasks hold what they read until all have been
    recorded, so that none of that memory is given to a kernel of another branch.
    """

    def __init__(self) -> None:
        self._streams: list[torch.cuda.Stream] = []

    def __call__(self, tasks: Sequence[Callable[[], T]]) -> list[T]:
        """See `in_turn`."""
        if not (torch.cuda.is_available() and torch.cuda.is_current_stream_capturing()):
            return in_turn(tasks)
        while len(self._streams) < len(tasks) - 1:
            self._streams.append(torch.cuda.Stream())
        trunk, forks = torch.cuda.current_stream(), self._streams[: len(tasks) - 1]
        for fork in forks:
            fork.wait_stream(trunk)
        results = [tasks[0]()]
        for task, fork in zip(tasks[1:], forks, strict=True):
            with torch.cuda.stream(fork):
                results.append(task())
        for fork in forks:
            trunk.wait_stream(fork)
        return results
