"""Ways to run one step of a separator: `(mix, state) -> (sources, state)`.

An executor knows the model and the hardware; it knows nothing of songs, rings or devices. All executors give the same
numbers, within the tolerance each one declares.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any, Protocol

import torch
from torch import Tensor

from streamsep.engine.onnx_executor import OnnxExecutor
from streamsep.engine.state import hold, let_rest
from streamsep.engine.static_executor import StaticExecutor
from streamsep.engine.static_options import StaticOptions
from streamsep.errors import StreamsepError
from streamsep.models.separator import Separator


class Executor(Protocol):
    """What a session needs in order to step.

    Attributes:
        name: as `make_executor` knows it.
        separator: the model that is run.
        batch: rows of a step.
        max_chunk: most hops of a step.
        device: what computes, and where the state lives.
        home: where sources are returned, and where a mix is given with the least to do.
        tolerance: greatest difference from `separator.step` by absolute value (0: bit for bit).
    """

    name: str
    separator: Separator
    batch: int
    max_chunk: int
    device: torch.device
    home: torch.device
    tolerance: float

    def init_state(self, batch: int | None = None) -> Any:
        """A fresh state for `batch` rows (default: its own)."""
        ...

    def fork(self) -> Executor:
        """An executor for a second session: itself, unless it keeps a session's state in buffers of its own."""
        ...

    def __call__(self, mix: Tensor, state: Any, active: Tensor | None = None) -> tuple[Tensor, Any]:
        """`mix [B, 2, n * hop]` -> `sources [B, S, 2, n * hop]`; consumes `state`; results live until the next call.

        Args:
            active: `[B]`, bool, on the CPU: the rows that step (default: all). The others' state stays as it is, and
                what is returned for them means nothing.
        """
        ...


class _OperatorThreads:
    """How many threads an operator takes: a setting of each thread, and of all that ask for the first time later.

    What later threads start with must outlast all changes, so the first to make one notes it and the last restores it.
    """

    def __init__(self) -> None:
        self._lock, self._inside, self._before = threading.Lock(), 0, 0

    @contextmanager
    def changed(self, threads: int) -> Iterator[None]:
        """`threads` of them in the calling thread."""
        with self._lock:
            own = torch.get_num_threads()
            self._before = self._before if self._inside else own
            self._inside += 1
            torch.set_num_threads(threads)
        try:
            yield
        finally:
            with self._lock:
                self._inside -= 1
                torch.set_num_threads(own if self._inside else self._before)


_operator_threads = _OperatorThreads()


@contextmanager
def inference_thread(threads: int = 1) -> Iterator[None]:
    """The calling thread, set up for steps: inference mode, `threads` threads per operator, denormals flushed to zero.

    All three are settings of a thread, so the thread that steps must enter this itself. Were denormals kept, a decaying
    state would fill with them in a silence, and steps would become many times slower.
    """
    flushed = sys.float_info.min / 2 == 0  # PyTorch cannot be asked, but it is the same setting for Python's numbers
    with _operator_threads.changed(threads), torch.inference_mode():
        torch.set_flush_denormal(True)
        try:
            yield
        finally:
            torch.set_flush_denormal(flushed)


class EagerExecutor:
    """Runs `separator.step` as it is."""

    name = "eager"
    tolerance = 0.0

    def __init__(self, separator: Separator, batch: int = 1, device: str = "cpu", max_chunk: int = 1) -> None:
        self.separator = separator
        self.batch = batch
        self.max_chunk = max_chunk
        self.device = self.home = torch.device(device)

    @torch.inference_mode()
    def init_state(self, batch: int | None = None) -> Any:
        """A fresh state for `batch` rows (default: its own)."""
        return self.separator.init_state(batch=batch or self.batch, max_chunk=self.max_chunk, device=self.device)

    def fork(self) -> EagerExecutor:
        """Itself: it keeps nothing."""
        return self

    @torch.inference_mode()
    def __call__(self, mix: Tensor, state: Any, active: Tensor | None = None) -> tuple[Tensor, Any]:
        """See `Executor`."""
        if active is None or bool(active.all()):
            return self.separator.step(mix, state)
        before = hold(state, self.separator)
        sources, after = self.separator.step(mix, state)
        return sources, let_rest(after, before, active.to(self.device))


EXECUTORS: dict[str, Callable[..., Executor]] = {
    "cuda-graph": StaticExecutor,
    "eager": EagerExecutor,
    "onnx": OnnxExecutor,
}


def best_executor(model: Separator, batch: int, device: torch.device) -> str:
    """The quickest executor that this model, machine and installation allow."""
    if device.type == "cuda":
        # A step that asks the device for a number, as the inverse STFT of the offline models does, cannot be recorded.
        return "cuda-graph" if getattr(model, "recordable", True) else "eager"
    graph = batch == 1 and device.type == "cpu" and getattr(model, "has_graph", False)
    return "onnx" if graph and find_spec("onnx") and find_spec("onnxruntime") else "eager"


def check_executor(name: str) -> None:
    """Raise StreamsepError unless there is such an executor."""
    if name != "auto" and name not in EXECUTORS:
        raise StreamsepError(f"unknown executor {name!r}; choose one of auto, {', '.join(sorted(EXECUTORS))}")


def make_executor(
    name: str,
    model: Separator,
    batch: int = 1,
    device: str | torch.device = "cpu",
    max_chunk: int = 1,
    precision: str | None = None,
) -> Executor:
    """An executor by name (`auto`: the best one), on `device`; the model must already be there.

    Args:
        precision: of the executor cuda-graph, see `StaticOptions`; the others know float32 alone.

    Raises:
        StreamsepError: an unknown name, a device that this machine does not have, or a precision that it does not know.
    """
    check_executor(name)
    if name == "auto":
        name = best_executor(model, batch, torch.device(device))
    if torch.device(device).type == "cuda" and not torch.cuda.is_available():
        raise StreamsepError("there is no CUDA device on this machine; use --device cpu")
    if name == "cuda-graph" and torch.device(device).type != "cuda":
        raise StreamsepError("the executor cuda-graph needs a CUDA device; use --device cuda or --executor eager")
    if name == "cuda-graph":
        return StaticExecutor(model, batch, str(device), max_chunk, StaticOptions(precision or "float32"))
    if precision not in (None, "float32"):
        raise StreamsepError(f"the executor {name} computes in float32; choose cuda-graph for {precision}")
    return EXECUTORS[name](model, batch=batch, device=str(device), max_chunk=max_chunk)
