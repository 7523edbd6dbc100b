"""What a step is made of, counted on models whose counts are known."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from streamsep.bench.counting import count
from tests.engine_toys import DelaySplit
from tests.models import tiny


class Toy(nn.Module):
    """A step of 64 samples; `work` is what it does with `mix [1, 2, 64]` before it gives the mix four times."""

    hop, latency, sample_rate = 64, 0, 44100
    sources: tuple[str, ...] = ("a", "b", "c", "d")

    def init_state(self, batch: int = 1, max_chunk: int = 1, device: Any = None, dtype: Any = None) -> Any:
        return (torch.zeros(batch, 5), torch.zeros(batch, 2, dtype=torch.int64))

    def step(self, mix: Tensor, state: Any) -> tuple[Tensor, Any]:
        self.work(mix)
        return mix[:, None].expand(-1, 4, -1, -1), state

    def work(self, mix: Tensor) -> Any: ...


class Convolution(Toy):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv1d(2, 6, 4, stride=4)

    def work(self, mix: Tensor) -> Any:
        return self.layer(mix)


class Product(Toy):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(64, 10)

    def work(self, mix: Tensor) -> Any:
        return self.layer(mix).tanh()


class Looking(Toy):
    def work(self, mix: Tensor) -> Any:
        x = mix.reshape(1, 2, 16, 4)  # two heads, sixteen places
        return F.scaled_dot_product_attention(x[..., :3, :], x, x)


class Transform(Toy):
    def work(self, mix: Tensor) -> Any:
        return torch.fft.irfft(torch.fft.rfft(mix), 64), torch.fft.fft(torch.complex(mix, mix))


@pytest.mark.parametrize(
    ("model", "mflop", "transforms", "parameters"),
    [
        (Convolution(), 2 * 6 * 16 * (2 * 4), 0, 54),
        (Product(), 2 * 2 * 64 * 10, 0, 650),
        (Looking(), 2 * 2 * 3 * 16 * 4 + 2 * 2 * 3 * 16 * 4, 0, 0),
        (Transform(), 0, 2 * 64 * 6 * (2.5 + 2.5 + 5), 0),
    ],
    ids=["convolution", "product", "attention", "transforms"],
)
def test_operations(model: Toy, mflop: float, transforms: float, parameters: int) -> None:
    found = count(model)
    assert found.mflop == pytest.approx(mflop / 1e6) and found.transform_mflop == pytest.approx(transforms / 1e6)
    assert (found.parameters, found.weight_bytes) == (parameters, 4 * parameters)
    assert found.state_bytes == 5 * 4 + 2 * 8
    assert found.nodes is None


def test_dispatches() -> None:
    class Plain(Toy):
        def work(self, mix: Tensor) -> Any:
            return mix.add(1).mul(2).sum()

    assert count(Plain()).dispatches == count(Toy()).dispatches + 3


def test_a_separator_without_weights() -> None:
    found = count(DelaySplit())
    assert (found.parameters, found.mflop) == (0, 0) and found.state_bytes == 2 * 8 * 4 + 8


def test_nodes_of_a_graph() -> None:
    onnx = pytest.importorskip("onnx")
    model = tiny()
    found = count(model)
    assert found.nodes == len(onnx.load_from_string(model.onnx_graph()).graph.node)
    assert found.dispatches > 100 and found.parameters == sum(p.numel() for p in model.parameters())
