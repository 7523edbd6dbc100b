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
from streamsep.engine.state import copy_state, hold, leaves, rows_like, same_memory
from streamsep.errors import StreamsepError
from streamsep.models.separator import Separator

NO_CUDA_GRAPH = "STREAMSEP_NO_CUDA_GRAPH"
PRECISION = "STREAMSEP_PRECISION"

# Greatest difference of a stem from `separator.step` in float32, by absolute value, for sound within +-1; the tests
# measure that of the shipped model on music. TF32 keeps ten bits of a float32, as float16 does.
TOLERANCES = {"float32": 1e-5, "tf32": 5e-3, "bfloat16": 5e-2, "float16": 5e-3}
TYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16}


class StaticExecutor:
    """Steps on static input, state and output, replayed as a CUDA graph where there is CUDA.

    One graph for each chunk length is recorded at its first use. A mix is given and sources are returned on the host;
    copies go through pinned memory on the executor's own stream, and a call returns when its sources have arrived. The
    state it returns is its own: clone it to keep it. Without CUDA, or with STREAMSEP_NO_CUDA_GRAPH=1, the very same
    functions run without the graph.

    Args:
        precision: of the networks: float32 (to the last bit), tf32 (products in TF32), bfloat16 or float16; None:
            float32. Transforms, level, masks and synthesis are float32 in any case. The environment variable
            STREAMSEP_PRECISION overrules it.

    Attributes:
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
        precision: str | None = None,
    ) -> None:
        self.separator, self.batch, self.max_chunk = separator, batch, max_chunk
        self.device, self.home = torch.device(device), torch.device("cpu")
        self.precision = os.environ.get(PRECISION) or precision or "float32"
        self._network = _network(separator, self.precision)
        self.tolerance = TOLERANCES[self.precision]
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
            chunk.mix_here.copy_(mix)
            chunk.mix.copy_(chunk.mix_here, non_blocking=True)
            chunk.run()
            chunk.sources_here.copy_(chunk.sources, non_blocking=True)
        if self._stream is not None:
            self._stream.synchronize()
        return chunk.sources_here, self._state

    @torch.inference_mode()
    def operations(self, hops: int = 1) -> int:
        """Kernels and copies of a step on a GPU, or operators that are more than views elsewhere; see `operations`."""
        chunk = self._chunk(hops * self.separator.hop)
        kept = hold(self._state, self._network)
        with self._on_stream():
            found = count_operations(chunk.plain, self.device)
            copy_state(self._state, kept)
        return found

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
        """Buffers for a chunk of `frames`, and what steps on them; the state is afterwards as before.

        Three rounds come before the recording: libraries choose algorithms and take memory in them.
        """
        shapes = (self.batch, 2, frames), (self.batch, len(self.separator.sources), 2, frames)
        chunk = _Chunk(*(torch.zeros(shape, device=self.device) for shape in shapes))
        if self._cuda:
            chunk.mix_here, chunk.sources_here = (torch.zeros(shape).pin_memory() for shape in shapes)
        else:
            chunk.mix_here, chunk.sources_here = (torch.zeros(shape) for shape in shapes)
        kept = hold(self._state, self._network)
        with self._on_stream():
            written = self._written(chunk)
            copy_state(self._state, kept)
            chunk.run = chunk.plain = lambda: self._step(chunk, written)
            for _ in range(3 if self._cuda else 0):
                chunk.plain()
                copy_state(self._state, kept)
        if self.graphs:
            chunk.graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(chunk.graph, pool=self._pool, stream=self._stream):
                chunk.plain()
            chunk.run = chunk.graph.replay
        return chunk

    def _written(self, chunk: _Chunk) -> list[Tensor]:
        """Parts of the state that the step writes in place and a resting row needs back."""
        kept = hold(self._state, self._network)
        _, after = self._network.step(chunk.mix, self._state)
        triples = zip(leaves(self._state), leaves(after), leaves(kept), strict=True)
        return [
            leaf
            for leaf, new, copied in triples
            if leaf.numel() and same_memory(leaf, new) and not same_memory(leaf, copied)
        ]

    def _step(self, chunk: _Chunk, written: list[Tensor]) -> None:
        """One step on static memory; rows that rest keep what they had."""
        active = self._active if self.batch > 1 else None
        before = [] if active is None else [leaf.clone() for leaf in written]
        with _products("tf32" if self.precision == "tf32" else "ieee"):
            sources, after = self._network.step(chunk.mix, self._state)
        copy_state(self._state, after, active)
        for leaf, old in zip(written, before, strict=False):  # nothing is kept of a single row
            torch.where(rows_like(self._active, leaf), leaf, old, out=leaf)
        chunk.sources.copy_(sources)


@dataclass
class _Chunk:
    """Static buffers for chunks of one length, and the step on them: `run` as it is replayed, `plain` without graph."""

    mix: Tensor
    sources: Tensor
    mix_here: Tensor | None = None
    sources_here: Tensor | None = None
    run: Callable[[], None] | None = None
    plain: Callable[[], None] | None = None
    graph: Any = None


def _network(separator: Any, precision: str) -> Any:
    """What is to be stepped: the model's own form for inference, where it has one.

    Raises:
        StreamsepError: see `StaticExecutor`.
    """
    if precision not in TOLERANCES:
        raise StreamsepError(f"unknown precision {precision!r}; choose one of {', '.join(TOLERANCES)}")
    if hasattr(separator, "fused"):
        return separator.fused(TYPES.get(precision, torch.float32))
    if precision in TYPES:
        raise StreamsepError(f"this model does not compute in {precision}; choose float32")
    return separator


@contextmanager
def _products(kind: str) -> Iterator[None]:
    """Products of float32 matrices on a GPU as `ieee` or `tf32`; a graph keeps what it was recorded with."""
    places: tuple[Any, ...] = (torch.backends.cuda.matmul, torch.backends.cudnn.conv)
    before = [place.fp32_precision for place in places]
    try:
        for place in places:
            place.fp32_precision = kind
        yield
    finally:
        for place, value in zip(places, before, strict=True):
            place.fp32_precision = value
