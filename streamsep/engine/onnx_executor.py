"""Runs the step of a separator that offers a graph of itself (`graph_step`) without Python's overhead, on a CPU."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from streamsep.errors import StreamsepError
from streamsep.models.separator import Separator


class OnnxExecutor:
    """One stream on one thread of ONNX Runtime; a chunk is stepped hop by hop.

    Raises:
        StreamsepError: more rows than one, another device than the CPU, no graph, or a missing package.
    """

    name = "onnx"
    tolerance = 1e-5

    def __init__(self, separator: Separator, batch: int = 1, device: str = "cpu", max_chunk: int = 1) -> None:
        if batch != 1 or torch.device(device).type != "cpu":
            raise StreamsepError("the executor onnx runs one stream on the CPU; use --executor eager")
        if not hasattr(separator, "graph_step"):
            raise StreamsepError("this model has no ONNX graph; use --executor eager")
        self.separator, self.batch, self.max_chunk = separator, batch, max_chunk
        self.device = torch.device(device)
        self._step = separator.graph_step()

    def init_state(self) -> Any:
        """A fresh state for one row."""
        return self.separator.init_state(1, 1)

    def fork(self) -> OnnxExecutor:
        """Itself: all memory is in the state."""
        return self

    @torch.inference_mode()
    def __call__(self, mix: Tensor, state: Any) -> tuple[Tensor, Any]:
        """See `Executor`."""
        sources, after = self._step(mix, state)
        return sources, after
