"""Ways to run one step of a separator: `(mix, state) -> (sources, state)`.

An executor knows the model and the hardware; it knows nothing of songs, rings or devices. All executors give the same
numbers, within the tolerance each one declares.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any, Protocol

import torch
from torch import Tensor

from streamsep.engine.onnx_executor import OnnxExecutor
from streamsep.engine.state import clone_state, copy_state
from streamsep.errors import StreamsepError
from streamsep.models.separator import Separator

NO_CUDA_GRAPH = "STREAMSEP_NO_CUDA_GRAPH"


class Executor(Protocol):
    """What a session needs in order to step.

    Attributes:
        name: as `make_executor` knows it.
        separator: the model that is run.
        batch: rows of a step.
        max_chunk: most hops of a step.
        device: where mix and sources live.
        tolerance: greatest difference from `separator.step` by absolute value (0: bit for bit).
    """

    name: str
    separator: Separator
    batch: int
    max_chunk: int
    device: torch.device
    tolerance: float

    def init_state(self) -> Any:
        """A fresh state for `batch` rows."""
        ...

    def fork(self) -> Executor:
        """An executor for a second session: itself, unless it keeps a session's state in buffers of its own."""
        ...

    def __call__(self, mix: Tensor, state: Any) -> tuple[Tensor, Any]:
        """`mix [B, 2, n * hop]` -> `sources [B, S, 2, n * hop]`; consumes `state`; results live until the next call."""
        ...


@contextmanager
def inference_thread(threads: int = 1) -> Iterator[None]:
    """The calling thread, set up for steps: inference mode, `threads` threads per operator, denormals flushed to zero.

    All three are settings of a thread, so the thread that steps must enter this itself. Were denormals kept, a decaying
    state would fill with them in a silence, and steps would become many times slower.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    torch.set_flush_denormal(True)
    try:
        with torch.inference_mode():
            yield
    finally:
        torch.set_flush_denormal(False)
        torch.set_num_threads(before)


class EagerExecutor:
    """Runs `separator.step` as it is."""

    name = "eager"
    tolerance = 0.0

    def __init__(self, separator: Separator, batch: int = 1, device: str = "cpu", max_chunk: int = 1) -> None:
        self.separator = separator
        self.batch = batch
        self.max_chunk = max_chunk
        self.device = torch.device(device)

    def init_state(self) -> Any:
        """A fresh state for `batch` rows."""
        return self.separator.init_state(batch=self.batch, max_chunk=self.max_chunk, device=self.device)

    def fork(self) -> EagerExecutor:
        """Itself: it keeps nothing."""
        return self

    @torch.inference_mode()
    def __call__(self, mix: Tensor, state: Any) -> tuple[Tensor, Any]:
        """See `Executor`."""
        return self.separator.step(mix, state)


class StaticExecutor:
    """Runs the step on buffers that never move, replayed as a CUDA graph where there is one.

    Input, state and output have fixed addresses; one graph for each chunk length is recorded at its first use. Without
    CUDA, or with the environment variable STREAMSEP_NO_CUDA_GRAPH=1, the very same function runs without the graph.
    The state it returns is its own buffer: clone it to keep it.
    """

    name = "cuda-graph"
    tolerance = 1e-6

    def __init__(self, separator: Separator, batch: int = 1, device: str = "cuda", max_chunk: int = 1) -> None:
        self.separator = separator
        self.batch = batch
        self.max_chunk = max_chunk
        self.device = torch.device(device)
        self.graphs = self.device.type == "cuda" and os.environ.get(NO_CUDA_GRAPH) != "1"
        self._state = self._fresh()
        self._runs: dict[int, tuple[Tensor, Tensor, Callable[[], None]]] = {}

    def init_state(self) -> Any:
        """A fresh state for `batch` rows, apart from the static one."""
        return self._fresh()

    def fork(self) -> StaticExecutor:
        """One with buffers and graphs of its own."""
        return StaticExecutor(self.separator, self.batch, str(self.device), self.max_chunk)

    @torch.inference_mode()
    def __call__(self, mix: Tensor, state: Any) -> tuple[Tensor, Any]:
        """See `Executor`; a state that is not the static one is copied in first."""
        frames = mix.shape[-1]
        if frames not in self._runs:
            self._runs[frames] = self._prepare(frames)
        static_mix, static_sources, run = self._runs[frames]
        if state is not self._state:
            copy_state(self._state, state)
        static_mix.copy_(mix)
        run()
        return static_sources, self._state

    @torch.inference_mode()
    def _fresh(self) -> Any:
        return self.separator.init_state(batch=self.batch, max_chunk=self.max_chunk, device=self.device)

    def _prepare(self, frames: int) -> tuple[Tensor, Tensor, Callable[[], None]]:
        """Buffers for a chunk of `frames`, and the function that steps on them; the state is as before afterwards."""
        kept = clone_state(self._state)
        mix = torch.zeros(self.batch, 2, frames, device=self.device)
        sources = torch.zeros(self.batch, len(self.separator.sources), 2, frames, device=self.device)

        def run() -> None:
            result, state = self.separator.step(mix, self._state)
            copy_state(self._state, state)
            sources.copy_(result)

        replay = self._record(run) if self.graphs else run
        copy_state(self._state, kept)
        return mix, sources, replay

    def _record(self, run: Callable[[], None]) -> Callable[[], None]:
        """Capture `run` after three rounds on a side stream, in which libraries choose algorithms and take memory."""
        stream = torch.cuda.Stream(self.device)
        stream.wait_stream(torch.cuda.current_stream(self.device))
        with torch.cuda.stream(stream):
            for _ in range(3):
                run()
        torch.cuda.current_stream(self.device).wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            run()
        return graph.replay


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


def make_executor(
    name: str, model: Separator, batch: int = 1, device: str | torch.device = "cpu", max_chunk: int = 1
) -> Executor:
    """An executor by name (`auto`: the best one), on `device`; the model must already be there.

    Raises:
        StreamsepError: an unknown name, or a device that this machine does not have.
    """
    if name == "auto":
        name = best_executor(model, batch, torch.device(device))
    if name not in EXECUTORS:
        raise StreamsepError(f"unknown executor {name!r}; choose one of auto, {', '.join(sorted(EXECUTORS))}")
    if torch.device(device).type == "cuda" and not torch.cuda.is_available():
        raise StreamsepError("there is no CUDA device on this machine; use --device cpu")
    if name == "cuda-graph" and torch.device(device).type != "cuda":
        raise StreamsepError("the executor cuda-graph needs a CUDA device; use --device cuda or --executor eager")
    return EXECUTORS[name](model, batch=batch, device=str(device), max_chunk=max_chunk)
