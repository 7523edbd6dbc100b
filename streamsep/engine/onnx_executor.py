"""Runs a separator that offers its step as an ONNX graph (`onnx_graph`) on a CPU, without Python's overhead."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from streamsep.errors import StreamsepError, missing
from streamsep.models.graph_nodes import NEXT, STATE
from streamsep.models.separator import Separator

State = dict[str, Tensor]


class OnnxExecutor:
    """One stream on one thread of ONNX Runtime; a chunk is stepped hop by hop.

    Whatever the graph reads and writes is bound to memory that stays: states go to and fro between two places, and a
    ring of keys and values is overwritten where it lies. Run it on a thread that flushes denormals: ONNX Runtime's own
    setting would leak to every later thread.

    Raises:
        StreamsepError: more rows than one, another device than the CPU, no graph, weights that are not float32, or a
            missing package.
    """

    name = "onnx"
    tolerance = 1e-5

    def __init__(self, separator: Separator, batch: int = 1, device: str = "cpu", max_chunk: int = 1) -> None:
        if batch != 1 or torch.device(device).type != "cpu":
            raise StreamsepError("the executor onnx runs one stream on the CPU; use --executor eager")
        if not hasattr(separator, "onnx_graph"):
            raise StreamsepError("this model has no ONNX graph; use --executor eager")
        check_single(separator)
        self.separator, self.batch, self.max_chunk = separator, batch, max_chunk
        self.device = self.home = torch.device(device)
        self._session = open_session(separator.onnx_graph())
        self._bound: _Bound | None = None

    def init_state(self, batch: int | None = None) -> State:
        """A fresh state for one row, whatever `batch`."""
        return {name: torch.from_numpy(value)[None] for name, value in zeros_for(self._session).items()}

    def fork(self) -> OnnxExecutor:
        """One that shares the graph and binds memory of its own."""
        twin = object.__new__(OnnxExecutor)
        twin.__dict__.update(self.__dict__, _bound=None)
        return twin

    @torch.inference_mode()
    def __call__(self, mix: Tensor, state: State, active: Tensor | None = None) -> tuple[Tensor, State]:
        """See `Executor`; the state given is the memory of those that are returned from then on.

        Its one row steps whenever it is called.
        """
        if self._bound is None or state is not self._bound.present:
            self._bound = _Bound(self._session, state, self.separator)
        hop = self.separator.hop
        if mix.shape[-1] == hop:
            return self._bound.step(mix), self._bound.present
        parts = [self._bound.step(part).clone() for part in mix.split(hop, -1)]
        return torch.cat(parts, -1), self._bound.present


def check_single(model: Any) -> None:
    """StreamsepError where the model's weights are not float32, as those of a graph are."""
    kinds = {str(weight.dtype) for weight in model.parameters() if weight.is_floating_point()} - {"torch.float32"}
    if kinds:
        raise StreamsepError(f"an ONNX graph is of float32, and this model of {min(kinds)}; use model.float()")


def open_session(graph: bytes) -> Any:
    """A session of ONNX Runtime on one thread.

    Raises:
        StreamsepError: onnxruntime is missing.
    """
    try:
        import onnxruntime
    except ImportError:
        raise missing("onnxruntime", "onnx") from None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = 1, 1
    return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


def zeros_for(session: Any) -> dict[str, NDArray[Any]]:
    """The state with which a stream begins, by the names of its parts."""
    kinds = {"tensor(float)": np.float32, "tensor(int64)": np.int64}
    return {
        node.name.removeprefix(STATE): np.zeros(node.shape, kinds[node.type])
        for node in session.get_inputs()
        if node.name.startswith(STATE)
    }


class _Bound:
    """A session whose inputs and outputs are tied to memory: from `present` to the other state, and back.

    Attributes:
        present: the state that the next step reads.
    """

    def __init__(self, session: Any, state: State, separator: Separator) -> None:
        self._session = session
        in_place = session.get_modelmeta().custom_metadata_map["in_place"].removeprefix(NEXT)
        other = {name: value if name.startswith(in_place) else torch.empty_like(value) for name, value in state.items()}
        self._mix = torch.zeros(1, 2, separator.hop)
        self._stems = torch.zeros(1, len(separator.sources), 2, separator.hop)
        self.present, self._other = state, other
        self._there, self._back = self._bind(state, other), self._bind(other, state)

    def step(self, mix: Tensor) -> Tensor:
        """One hop; the stems live until the next."""
        self._mix.copy_(mix)
        self._session.run_with_iobinding(self._there)
        self._there, self._back = self._back, self._there
        self.present, self._other = self._other, self.present
        return self._stems

    def _bind(self, before: State, after: State) -> Any:
        binding = self._session.io_binding()
        for name, value in {"mix": self._mix, **{STATE + key: value for key, value in before.items()}}.items():
            binding.bind_input(name, "cpu", 0, *_memory(value))
        for name, value in {"stems": self._stems, **{NEXT + key: value for key, value in after.items()}}.items():
            binding.bind_output(name, "cpu", 0, *_memory(value))
        return binding


def _memory(value: Tensor) -> tuple[Any, tuple[int, ...], int]:
    kind = np.int64 if value.dtype == torch.int64 else np.float32
    return kind, tuple(value.shape[1:]), value.data_ptr()
