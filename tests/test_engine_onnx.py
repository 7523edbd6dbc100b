"""The ONNX executor gives the numbers of the model itself, and says what it cannot do."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from streamsep.engine.executor import best_executor, make_executor
from streamsep.engine.onnx_executor import OnnxExecutor
from streamsep.engine.onnx_export import export_onnx
from streamsep.engine.session import Session
from streamsep.engine.state import clone_state
from streamsep.errors import StreamsepError
from streamsep.layers.rotary import PERIOD
from streamsep.models.causal_config import BranchConfig
from streamsep.models.causal_htdemucs import CausalHTDemucs
from streamsep.models.causal_transformer import CrossDomainTransformer
from tests.contract import play
from tests.engine_toys import DelaySplit
from tests.models import preset, tiny, tiny_config, wake

pytest.importorskip("onnxruntime", reason="needs the extra onnx")


def deep() -> CausalHTDemucs:
    """All that the presets leave out: blocks of two dilations, no decoder blocks, other powers, one row in time."""
    branch = BranchConfig((8, 12, 8), (4, 2, 2), dconv_depth=3, dconv_compress=2, decoder_dconv=False)
    config = replace(tiny_config(1), waveform=branch, spectrogram=branch, compression=0.3, mix_consistency=False)
    torch.manual_seed(0)
    return wake(CausalHTDemucs(config))


MODELS = {
    "tiny": lambda: tiny(0, True),
    "tiny-real-mask": lambda: tiny(0, False),
    "tiny-look-ahead": lambda: tiny(2, True),
    "deep": deep,
    "live-12-small": lambda: preset("live-12-small"),
    "live-23-small": lambda: preset("live-23-small"),
    "live-93-small": lambda: preset("live-93-small"),
}


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
    for start in (10_000_000, PERIOD - 6, 2**40):
        assert error(play(executor, x, 1, start), young) <= executor.tolerance


def test_a_ring_is_written_where_it_lies() -> None:
    """One slot a hop, the oldest, in the memory that was given; everything else of it stays."""
    model = tiny(1)
    executor, x = OnnxExecutor(model), 0.1 * torch.randn(1, 2, 9 * model.hop)
    state = executor.init_state()
    rings = {name: value for name, value in state.items() if name.startswith("ring.")}
    assert isinstance(model.transformer, CrossDomainTransformer)
    assert len(rings) == 2 * 4 * len(model.transformer.layers)
    for hop, chunk in enumerate(x.split(model.hop, -1)):
        before = {name: value.clone() for name, value in rings.items()}
        _, state = executor(chunk, state)
        assert state["clock"].tolist() == [[hop + 1, min(hop + 1, model.transformer.context + 1)]]
        for name, ring in rings.items():
            assert state[name] is ring
            changed = (ring != before[name]).any(-1).any(1)[0].nonzero().flatten().tolist()
            assert changed == [hop % ring.shape[2]], name


def test_states_keep_their_shapes() -> None:
    model = tiny(2)
    executor = OnnxExecutor(model)
    state = executor.init_state()
    shapes = {name: (value.shape, value.dtype) for name, value in state.items()}
    for chunk in torch.randn(1, 2, 5 * model.hop).split(model.hop, -1):
        _, state = executor(chunk, state)
        assert {name: (value.shape, value.dtype) for name, value in state.items()} == shapes


def test_a_session_resets_to_the_beginning() -> None:
    model = tiny(0)
    session, x = Session(OnnxExecutor(model), fade=1), 0.1 * torch.randn(1, 2, 6 * model.hop)
    first = session.process(x).clone()
    session.reset()
    again = session.process(x)
    torch.testing.assert_close(again[..., 1:], first[..., 1:], rtol=0, atol=1e-6)


def test_forks_go_their_own_ways() -> None:
    """Two states through one executor in turn, and a twin that shares the graph, all from the same moment."""
    model = tiny()
    executor = OnnxExecutor(model)
    past, one, other = (0.1 * torch.randn(1, 2, 8 * model.hop) for _ in range(3))
    _, state = executor(past, executor.init_state())
    saved, kept = clone_state(state), clone_state(state)
    wanted = executor(one, state)[0].clone()
    differs = executor(other, clone_state(saved))[0].clone()
    again = executor(one, saved)[0].clone()
    twin = executor.fork()(one, kept)[0]
    assert torch.equal(again, wanted) and torch.equal(twin, wanted) and not torch.equal(differs, wanted)


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
    assert model.onnx_graph()


def test_nobody_is_called(tmp_path: Path) -> None:
    """ONNX Runtime would keep a number of this machine in the user's home, and send it."""
    graph = tmp_path / "graph.onnx"
    graph.write_bytes(tiny().onnx_graph())
    code = "import sys; from streamsep.engine.onnx_executor import open_session as o; o(open(sys.argv[1], 'rb').read())"
    home = tmp_path / "home"
    home.mkdir()
    environment = {key: value for key, value in os.environ.items() if key != "ORT_DISABLE_TELEMETRY"}
    environment |= {"HOME": str(home), "XDG_CACHE_HOME": str(home / ".cache"), "PYTHONDONTWRITEBYTECODE": "1"}
    subprocess.run([sys.executable, "-c", code, str(graph)], env=environment, check=True)
    assert [path for path in home.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("kind", [torch.float64, torch.float16])
def test_graphs_are_of_float32(kind: torch.dtype, tmp_path: Path) -> None:
    name = str(kind)
    with pytest.raises(StreamsepError, match=f"an ONNX graph is of float32, and this model of {name}; use model.float"):
        OnnxExecutor(tiny().to(kind))
    with pytest.raises(StreamsepError, match="is of float32"):
        export_onnx(tiny().to(kind), tmp_path / "a.onnx", "tiny")
    assert not list(tmp_path.iterdir())


def test_what_is_in_training_is_not_exported(tmp_path: Path) -> None:
    with pytest.raises(StreamsepError, match=r"tiny is in training; call model\.eval\(\)"):
        export_onnx(tiny().train(), tmp_path / "a.onnx", "tiny")
