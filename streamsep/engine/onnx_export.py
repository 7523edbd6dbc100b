"""A causal model as an ONNX file for other people's programs, checked against the model before it is written."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from streamsep.engine.onnx_executor import check_single, open_session, zeros_for
from streamsep.errors import StreamsepError
from streamsep.files import staged
from streamsep.models.graph_nodes import NEXT, STATE

TOLERANCE = 1e-5
SEED_HOPS = 16  # checked beyond the attention's context, so that every slot of a ring has been overwritten


@dataclass(frozen=True)
class Exported:
    """What was written.

    Attributes:
        size: of the file in bytes; states: how many there are, and their bytes together.
        error: greatest difference from the model over `hops` hops, relative to the greatest output.
    """

    path: Path
    size: int
    states: int
    state_bytes: int
    hops: int
    error: float


def export_onnx(model: Any, path: str | Path, name: str) -> Exported:
    """Write `model` as an ONNX file, whole or not at all; see docs/onnx.md for its interface.

    Args:
        model: causal, in evaluation mode, on the CPU.
        name: of the model, for the file's metadata.

    Raises:
        StreamsepError: the model has no graph, is in training or not of float32, a package is missing, the graph
            differs from the model by more than `TOLERANCE`, or the file cannot be written.
    """
    if not hasattr(model, "onnx_graph"):
        raise StreamsepError(f"{name} is no causal model and has no ONNX graph; choose one of the live presets")
    if not model.has_graph:
        raise StreamsepError(f"{name} has recurrent layers and no ONNX graph; choose a model with attention")
    check_single(model)
    if model.training:
        raise StreamsepError(f"{name} is in training; call model.eval() before it is exported")
    facts = {"model": name, "tolerance": f"{TOLERANCE:g}"}
    graph: bytes = model.onnx_graph(facts)
    hops = model.config.context_frames + model.config.lookahead + SEED_HOPS
    session = open_session(graph)
    error = difference(model, session, hops)
    if not error <= TOLERANCE:
        raise StreamsepError(f"the graph of {name} differs from the model by {error:.1e}; please report it")
    with staged([Path(path)]) as (temporary,):
        temporary.write_bytes(graph)
    states = zeros_for(session)
    size = sum(value.nbytes for value in states.values())
    return Exported(Path(path), len(graph), len(states), size, hops, error)


@torch.inference_mode()
def difference(model: Any, session: Any, hops: int) -> float:
    """Greatest difference between the graph, hop by hop, and the model's full pass, relative to its greatest output.

    The signal is noise that comes in from silence and falls silent again.
    """
    generator = torch.Generator().manual_seed(0)
    swell = torch.sin(torch.linspace(0, torch.pi, hops * model.hop)).clamp_min(0).pow(4)
    mix = 0.3 * swell * torch.randn(1, 2, hops * model.hop, generator=generator)
    wanted: Tensor = model(mix)[0]
    outputs = [node.name for node in session.get_outputs()]
    state, worst = zeros_for(session), 0.0
    for hop, chunk in zip(mix[0].split(model.hop, -1), wanted.split(model.hop, -1), strict=True):
        given = {"mix": hop.contiguous().numpy(), **{STATE + key: value for key, value in state.items()}}
        answer = dict(zip(outputs, session.run(None, given), strict=True))
        worst = max(worst, float((torch.from_numpy(answer.pop("stems")) - chunk).abs().max()))
        state = {key.removeprefix(NEXT): value for key, value in answer.items()}
    return worst / max(float(wanted.abs().max()), 1e-6)
