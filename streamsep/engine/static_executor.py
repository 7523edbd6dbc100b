"""Runs a step on memory that never moves: on a GPU as a CUDA graph, between pinned buffers on the host."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from streamsep.engine.operations import count_operations
from streamsep.engine.state import copy_state
from streamsep.engine.static_options import TOLERANCES, TYPES, StaticOptions, overruled
from streamsep.engine.static_step import StaticStep
from streamsep.errors import StreamsepError
from streamsep.models.separator import Separator

NO_CUDA_GRAPH = "STREAMSEP_NO_CUDA_GRAPH"


class StaticExecutor:
    """Steps on static input, state and output, replayed as a CUDA graph where there is CUDA.

    One graph for each chunk length is recorded at its first use. A mix is given and sources are returned on the host;
    copies go through pinned memory on the executor's own stream, and a call returns when its sources have arrived. The
    state it returns is its own: clone it to keep it. Without CUDA, or with STREAMSEP_NO_CUDA_GRAPH=1, the very same
    functions run without the graph.

    Attributes:
        options: how it computes, the environment heard.
        graphs: whether steps are recorded.
        tolerance: greatest difference from `separator.step` by absolute value, for sound within +-1.

    Raises:
        StreamsepError: an unknown precision, or one that the model does not offer.
    """

    name = "cuda-graph"

    def __init__(
        self,
        separator: Separator,
        batch: int = 1,
        device: str = "cuda",
        max_chunk: int = 1,
        options: StaticOptions | None = None,
    ) -> None:
        self.separator, self.batch, self.max_chunk = separator, batch, max_chunk
        self.device, self.home = torch.device(device), torch.device("cpu")
        self.options = overruled(options or StaticOptions())
        self.tolerance = TOLERANCES[self.options.precision]
        self._network = _network(separator, self.options)
        self._cuda = self.device.type == "cuda"
        self.graphs = self._cuda and os.environ.get(NO_CUDA_GRAPH) != "1"
        self._begin()

    def _begin(self) -> None:
        """Memory of its own."""
        self._stream = torch.cuda.Stream(self.device) if self._cuda else None
        self._pool = torch.cuda.graph_pool_handle() if self.graphs else None
        self._state = self.init_state()
        self._active = torch.ones(self.batch, dtype=torch.bool, device=self.device)
        self._all = torch.ones(self.batch, dtype=torch.bool)
        self._chunks: dict[int, _Chunk] = {}

    @torch.inference_mode()
    def init_state(self, batch: int | None = None) -> Any:
        """A fresh state for `batch` rows (default: its own), apart from the static one."""
        return self._network.init_state(batch=batch or self.batch, max_chunk=self.max_chunk, device=self.device)

    def fork(self) -> StaticExecutor:
        """One with the same networks, and with buffers and graphs of its own."""
        twin = copy.copy(self)
        twin._begin()
        return twin

    @torch.inference_mode()
    def __call__(self, mix: Tensor, state: Any, active: Tensor | None = None) -> tuple[Tensor, Any]:
        """See `Executor`; a state that is not the static one is copied in first."""
        chunk = self._chunk(mix.shape[-1])
        with self._on_stream():
            if state is not self._state:
                copy_state(self._state, state)
            if self.batch > 1:
                self._active.copy_(self._all if active is None else active)
            chunk.mix.copy_(mix)
            chunk.step.mix.copy_(chunk.mix, non_blocking=True)
            chunk.run()
            chunk.sources.copy_(chunk.step.sources, non_blocking=True)
        if self._stream is not None:
            self._stream.synchronize()
        return chunk.sources, self._state

    @torch.inference_mode()
    def operations(self, hops: int = 1) -> int:
        """Kernels and copies of a step on a GPU, or operators that are more than views elsewhere; see `operations`."""
        chunk = self._chunk(hops * self.separator.hop)
        with self._on_stream():
            return chunk.step.put_back(lambda: count_operations(chunk.step.run, self.device))

    @contextmanager
    def _on_stream(self) -> Iterator[None]:
        """The executor's stream, behind what the caller's has been given so far."""
        if self._stream is None:
            yield
            return
        self._stream.wait_stream(torch.cuda.current_stream(self.device))
        with torch.cuda.stream(self._stream):
            yield

    def _chunk(self, frames: int) -> _Chunk:
        if frames not in self._chunks:
            self._chunks[frames] = self._prepare(frames)
        return self._chunks[frames]

    def _prepare(self, frames: int) -> _Chunk:
        """What a chunk of `frames` needs; the state is afterwards as before.

        Three rounds come before the recording: libraries choose algorithms and take memory in them.
        """
        active = self._active if self.batch > 1 else None
        with self._on_stream():
            step = StaticStep(self._network, self._state, active, (self.batch, frames), self.options)
            step.rehearse(3 if self._cuda else 0)
        mix, sources = (torch.zeros(there.shape, pin_memory=self._cuda) for there in (step.mix, step.sources))
        if not self.graphs:
            return _Chunk(step, mix, sources, step.run)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._pool, stream=self._stream):
            step.run()
        return _Chunk(step, mix, sources, graph.replay)


@dataclass(frozen=True)
class _Chunk:
    """A step for chunks of one length, its input and output on the host, and what runs it: the graph, or itself."""

    step: StaticStep
    mix: Tensor
    sources: Tensor
    run: Callable[[], None]


def _network(separator: Any, options: StaticOptions) -> Any:
    """What is to be stepped: the model's own form for inference, where it has one.

    Raises:
        StreamsepError: half precision of a model that has none.
    """
    if hasattr(separator, "fused"):
        return separator.fused(TYPES.get(options.precision, torch.float32), options.side_by_side)
    if options.precision in TYPES:
        raise StreamsepError(f"this model does not compute in {options.precision}; choose float32")
    return separator
