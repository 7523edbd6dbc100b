"""The ONNX executor gives the numbers of the model itself, and says what it cannot do."""

from __future__ import annotations

import sys

import pytest
import torch

from streamsep.engine.executor import best_executor, make_executor
from streamsep.engine.onnx_executor import OnnxExecutor
from streamsep.engine.state import clone_state
from streamsep.errors import StreamsepError
from streamsep.models.causal_htdemucs import CausalHTDemucs
from tests.contract import at_position
from tests.engine_toys import DelaySplit
from tests.models import preset, tiny

pytest.importorskip("onnxruntime", reason="needs the extra onnx")

MODELS = {
    "tiny": lambda: tiny(0, True),
    "tiny-real-mask": lambda: tiny(0, False),
    "tiny-look-ahead": lambda: tiny(2, True),
    "live-23-small": lambda: preset("live-23-small"),
    "live-93-small": lambda: preset("live-93-small"),
}


def play(executor: OnnxExecutor, x: torch.Tensor, hops: int, start: int = 0) -> torch.Tensor:
    """The signal through an executor, `hops` at a time, from an empty state at position `start`."""
    state = at_position(executor.init_state(), start)
    parts = []
    for chunk in x.split(hops * executor.separator.hop, -1):
        y, state = executor(chunk, state)
        parts.append(y.clone())
    return torch.cat(parts, -1)


def error(got: torch.Tensor, wanted: torch.Tensor) -> float:
    return float((got - wanted).abs().max() / wanted.abs().max())


@pytest.mark.parametrize("name", MODELS)
def test_equals_the_full_pass(name: str) -> None:
    """Longer than the ring, so that every slot has been written twice where the model is tiny."""
    model = MODELS[name]()
    executor = OnnxExecutor(model, max_chunk=3)
    x = 0.1 * torch.randn(1, 2, 24 * model.hop)
    with torch.inference_mode():
        wanted = model(x)
    assert error(play(executor, x, 1), wanted) <= executor.tolerance
    assert error(play(executor, x, 3), wanted) <= executor.tolerance


def test_does_not_age() -> None:
    model = tiny(1)
    executor, x = OnnxExecutor(model), 0.1 * torch.randn(1, 2, 20 * model.hop)
    young = play(executor, x, 1)
    for start in (10_000_000, 65_530):
        assert error(play(executor, x, 1, start), young) <= executor.tolerance


def test_forks_go_their_own_ways() -> None:
    model = tiny()
    executor = OnnxExecutor(model).fork()
    past, one, other = (0.1 * torch.randn(1, 2, 8 * model.hop) for _ in range(3))
    _, state = executor(past, executor.init_state())
    saved = clone_state(state)
    wanted, _ = executor(one, state)
    executor(other, clone_state(saved))
    again, _ = executor(one, saved)
    assert torch.equal(again, wanted)


def test_refuses_what_it_cannot_run() -> None:
    with pytest.raises(StreamsepError, match="one stream on the CPU"):
        make_executor("onnx", tiny(), batch=2)
    with pytest.raises(StreamsepError, match="no ONNX graph"):
        make_executor("onnx", DelaySplit())


def test_missing_runtime_names_the_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(StreamsepError, match=r"pip install 'streamsep\[onnx\]'"):
        OnnxExecutor(tiny())


def test_best_executor() -> None:
    cpu = torch.device("cpu")
    assert best_executor(tiny(), 1, cpu) == "onnx"
    assert best_executor(tiny(), 2, cpu) == "eager"
    assert best_executor(DelaySplit(), 1, cpu) == "eager"
    assert best_executor(tiny(), 1, torch.device("cuda")) == "cuda-graph"
    assert isinstance(make_executor("auto", tiny()), OnnxExecutor)


def test_export_needs_no_onnxscript(monkeypatch: pytest.MonkeyPatch) -> None:
    """The extra names onnx and onnxruntime alone."""
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    model = tiny()
    assert isinstance(model, CausalHTDemucs)
    assert callable(model.graph_step())
