"""How many operations a step is: on a GPU their number, not their size, is most of its time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode


def count_operations(run: Callable[[], Any], device: torch.device) -> int:
    """What `run` has the device do.

    On CUDA: kernels, copies and fills, as the profiler saw them start. Elsewhere: operators that PyTorch dispatched and
    that are more than another view of the same memory, which tells as much about two ways of writing one step.
    """
    return _kernels(run, device) if device.type == "cuda" else _operators(run)


def _kernels(run: Callable[[], Any], device: torch.device) -> int:
    torch.cuda.synchronize(device)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as seen:
        run()
        torch.cuda.synchronize(device)
    return sum(event.device_type == torch.autograd.DeviceType.CUDA for event in seen.events() or ())


def _operators(run: Callable[[], Any]) -> int:
    with _Counter() as counter:
        run()
    return counter.found


class _Counter(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.found = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.found += not func.is_view
        return func(*args, **(kwargs or {}))
