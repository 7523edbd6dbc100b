"""Narrower numbers and compiled networks: how far the stems move, and that nothing else does."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from streamsep.errors import StreamsepError
from streamsep.models.apply import apply_model
from streamsep.models.bag import BagOfModels
from streamsep.models.htdemucs import HTDemucs, HTDemucsConfig
from streamsep.models.precision import compile_networks, compiled, quantise
from tests.reference import noise, relative_error

CONFIG = HTDemucsConfig(channels=8, nfft=2048, bottom_channels=32, layers=2, heads=4, segment=0.25)


@pytest.fixture(scope="module")
def model() -> HTDemucs:
    """A small model whose layer scales let through what the transformer says."""
    torch.manual_seed(0)
    made = HTDemucs(CONFIG).eval()
    with torch.no_grad():
        for name, parameter in made.named_parameters():
            if name.endswith("scale"):
                parameter.fill_(0.5)
    return made


@pytest.fixture(scope="module")
def mix() -> Tensor:
    return noise((1, 2, 20_000))


def test_bf16_is_near_and_is_no_float32(model: HTDemucs, mix: Tensor) -> None:
    exact = apply_model(model, mix)
    found = apply_model(model, mix, precision="bf16")
    assert found.dtype == torch.float32
    assert 1e-4 < relative_error(found, exact) < 3e-2
    assert torch.equal(apply_model(model, mix), exact)


def test_a_strided_convolution_is_right_in_bf16() -> None:
    """Wrong on CPUs with AMX, unless it is left alone: see `streamsep/__init__.py`."""
    x, conv = noise((1, 16, 1000)), nn.Conv1d(16, 32, 8, 4)
    with torch.inference_mode():
        exact = conv(x)
        assert relative_error(conv.bfloat16()(x.bfloat16()).float(), exact) < 1e-2


def test_bf16_reaches_the_workers(model: HTDemucs, mix: Tensor) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        alone, together = (apply_model(model, mix, precision="bf16", workers=workers) for workers in (1, 2))
    finally:
        torch.set_num_threads(before)
    assert relative_error(together, alone) < 3e-3


def test_int8_is_near_and_is_in_every_linear_layer(model: HTDemucs, mix: Tensor) -> None:
    exact = apply_model(model, mix)
    small = quantise(copy.deepcopy(model))
    assert not any(type(part) is torch.nn.Linear for part in small.modules())
    assert 1e-5 < relative_error(apply_model(small, mix), exact) < 3e-2  # type: ignore[arg-type]


def test_int8_on_a_gpu_names_what_to_choose_instead() -> None:
    with pytest.raises(StreamsepError, match="does not run on meta; choose --precision bf16"):
        quantise(HTDemucs(CONFIG).to("meta"))


def test_networks_compile_whole_and_say_the_same(model: HTDemucs, mix: Tensor) -> None:
    bag = BagOfModels([copy.deepcopy(model), copy.deepcopy(model)])
    graphs = []

    def backend(graph: torch.fx.GraphModule, inputs: list[Tensor]) -> torch.fx.GraphModule:
        graphs.append(graph)
        return graph

    compile_networks(bag, backend=backend)
    assert relative_error(apply_model(bag, mix, workers=1), apply_model(model, mix)) < 1e-5
    assert len(graphs) == 1, "one graph without breaks, which serves both members"


def test_what_the_compiler_cannot_do_is_a_sentence(model: HTDemucs, mix: Tensor) -> None:
    def backend(graph: torch.fx.GraphModule, inputs: list[Tensor]) -> torch.fx.GraphModule:
        raise RuntimeError("No working C++ compiler found\nin any of")

    compile_networks(model, backend=backend)
    told = r"^the model cannot be compiled \([^\n]*No working C\+\+ compiler found[^\n]*\); leave out --compile, or"
    with pytest.raises(StreamsepError, match=told):
        apply_model(model, mix)


def test_errors_of_a_compiled_function_stay_its_own() -> None:
    def refuse(x: Tensor) -> Tensor:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        compiled(refuse, "leave it", backend="eager")(torch.zeros(1))
