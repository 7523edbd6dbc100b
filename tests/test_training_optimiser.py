"""What steadies a run: the learning rate, the gradient's limit, the averaged weights, and which weights Muon moves."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from streamsep.errors import StreamsepError
from streamsep.training.config import OptimiserConfig
from streamsep.training.data import Library
from streamsep.training.loop import train
from streamsep.training.optimiser import Average, Muon, learning_rate, optimiser_of
from streamsep.training.report import Report
from tests.models import tiny
from tests.test_training_validation import HELD
from tests.training_toys import CONFIG, Toy


@pytest.mark.parametrize("clip", [1e-3, 1e3])
def test_a_gradient_larger_than_the_limit_is_scaled_down_to_it(tmp_path: Path, clip: float) -> None:
    """The log tells the norm that it had before."""
    model, config = Toy(), replace(CONFIG, optimiser=replace(CONFIG.optimiser, clip=clip))
    library = Library((HELD,), {}, ())
    config = replace(config, loop=replace(CONFIG.loop, steps=1), batch=replace(CONFIG.batch, extra={}))
    train(model, library, config, tmp_path, report=Report(tmp_path, seconds=0.0, quiet=True))
    told = float(np.genfromtxt(tmp_path / "log.csv", delimiter=",", names=True)["norm"])
    norm = float(torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None]).norm())
    assert 1e-2 < told < 1e3 and norm == pytest.approx(min(clip, told), rel=1e-3)


def test_of_buffers_the_average_has_the_newest_and_its_updates_are_counted() -> None:
    model = nn.BatchNorm1d(3)
    average = Average(model, 0.9)
    assert not average.model.training and not any(p.requires_grad for p in average.model.parameters())
    for value in (1.0, 5.0):
        model.get_buffer("running_mean").fill_(value)
        model.get_buffer("num_batches_tracked").fill_(int(value))
        average.update(model)
    assert torch.equal(average.model.get_buffer("running_mean"), torch.full((3,), 5.0))
    assert int(average.model.get_buffer("num_batches_tracked")) == 5 and average.updates == 2
    model.get_buffer("running_mean").fill_(7.0)
    assert float(average.model.get_buffer("running_mean")[0]) == 5.0


@pytest.mark.parametrize(
    ("layer", "by_muon"),
    [
        (nn.Linear(8, 8), True),
        (nn.Linear(7, 8), False),
        (nn.Linear(8, 7), False),
        (nn.Conv1d(4, 8, 2), True),  # eight outputs by four inputs times two
        (nn.Conv1d(7, 16, 1), False),
        (nn.Conv1d(7, 16, 2), True),
        (nn.ConvTranspose1d(8, 1, 8), True),
        (nn.ConvTranspose1d(7, 4, 8), False),
    ],
)
def test_muon_moves_kernels_of_eight_by_eight_and_more(layer: nn.Module, by_muon: bool) -> None:
    """By a gradient of one number alone AdamW moves one number, by the learning rate."""
    model = nn.Sequential(layer, nn.Linear(16, 16))
    optimiser = Muon(model, OptimiserConfig(kind="muon", lr=1e-2, weight_decay=0.0))
    weight = layer.get_parameter("weight")
    before = weight.detach().clone()
    weight.grad = torch.zeros_like(weight)
    weight.grad.flatten()[0] = 0.25
    optimiser.step()
    moved = float((weight.detach() - before).norm())
    largest = max(weight.flatten(1).shape)
    assert moved == pytest.approx(1e-2 * (0.2 * largest**0.5 if by_muon else 1), rel=0.35 if by_muon else 1e-4)
    optimiser.zero_grad()
    assert weight.grad is None


@pytest.mark.parametrize("model", [nn.Linear(7, 7), nn.Linear(8, 8, bias=False)])
def test_muon_with_nothing_for_it_or_nothing_else_is_told_of(model: nn.Module) -> None:
    with pytest.raises(StreamsepError, match="set optimiser: kind to adamw"):
        optimiser_of(model, OptimiserConfig(kind="muon"))


@pytest.mark.parametrize("kind", ["adamw", "muon"])
def test_frozen_weights_stay_and_adamw_has_the_betas_of_the_configuration(kind: str) -> None:
    model = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8))
    model[1].requires_grad_(False)
    optimiser = optimiser_of(model, OptimiserConfig(kind=kind, lr=1e-2, weight_decay=0.5, betas=(0.5, 0.7)))
    held = {id(p) for group in optimiser.param_groups for p in group["params"]}
    assert not held & {id(p) for p in model[1].parameters()}
    before = [p.detach().clone() for p in model.parameters()]
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimiser.step()
    moved = [not torch.equal(p, old) for p, old in zip(model.parameters(), before, strict=True)]
    assert moved == [True, True, False, False]
    assert {tuple(group["betas"]) for group in optimiser.param_groups if "betas" in group} == {(0.5, 0.7)}


@pytest.mark.parametrize("kind", ["adamw", "muon"])
def test_weights_decay_by_rate_times_learning_rate_and_biases_do_not(kind: str) -> None:
    """Without a gradient to speak of."""
    model = nn.Linear(8, 8)
    nn.init.ones_(model.bias)
    before = model.weight.detach().clone()
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimiser_of(model, OptimiserConfig(kind=kind, lr=0.1, weight_decay=0.5)).step()
    torch.testing.assert_close(model.weight.detach(), before * (1 - 0.1 * 0.5))
    assert torch.equal(model.bias.detach(), torch.ones(8))


def test_scales_of_a_channel_each_do_not_decay() -> None:
    model = tiny()
    optimiser = optimiser_of(model, OptimiserConfig(weight_decay=0.1))
    decaying = {id(p) for group in optimiser.param_groups if group["weight_decay"] for p in group["params"]}
    names = {name for name, p in model.named_parameters() if id(p) in decaying}
    assert any(name.endswith("weight") for name in names) and not any(name.endswith("scale") for name in names)
    assert any(name.endswith("scale") and p.ndim > 1 for name, p in model.named_parameters())


def test_average_is_the_bias_corrected_mean() -> None:
    model = nn.Linear(1, 1, bias=False)
    average, decay, values = Average(model, 0.9), 0.9, [3.0, -1.0, 5.0]
    for value in values:
        nn.init.constant_(model.weight, value)
        average.update(model)
    weights = [decay ** (len(values) - 1 - i) for i in range(len(values))]
    expected = sum(w * v for w, v in zip(weights, values, strict=True)) / sum(weights)
    assert float(next(average.model.parameters())) == pytest.approx(expected, rel=1e-6)


def test_learning_rate_rises_then_falls_to_its_end() -> None:
    config = OptimiserConfig(lr=1.0, warm_up=10, final=0.1)
    assert learning_rate(0, 0.0, config) == pytest.approx(0.1)
    assert learning_rate(9, 0.0, config) == 1.0
    assert learning_rate(50, 0.5, config) == pytest.approx(0.55)
    assert learning_rate(99, 1.0, config) == learning_rate(99, 2.0, config) == pytest.approx(0.1)


def test_muon_moves_a_kernel_alike_in_all_directions_and_the_rest_as_adamw() -> None:
    """A step's singular values are near the learning rate times 0.2 sqrt(longest side), whatever the gradient's."""
    model = nn.Sequential(nn.Conv1d(12, 16, 1), nn.Conv1d(16, 2, 3))
    optimiser = optimiser_of(model, OptimiserConfig(kind="muon", lr=1e-2, weight_decay=0.0))
    before = [p.detach().clone() for p in model.parameters()]
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    kernel = next(model.parameters())
    kernel.grad = torch.zeros_like(kernel)
    for place, value in enumerate((4.0, -1.0, 0.5)):
        kernel.grad[place, place] = value
    optimiser.step()
    moved = [p.detach() - old for p, old in zip(model.parameters(), before, strict=True)]
    sizes = -moved[0][:, :, 0].diagonal() / (1e-2 * 0.2 * 16**0.5)
    assert ((sizes[:3] * torch.tensor([1, -1, 1]) - 1).abs() < 0.4).all() and sizes[3:].abs().max() == 0
    assert all(torch.allclose(step, torch.full_like(step, -1e-2), rtol=1e-2) for step in moved[1:])
    assert {group["lr"] for group in optimiser.param_groups} == {1e-2}
    with pytest.raises(ValueError, match="no optimiser 'sgd'; choose adamw or muon"):
        OptimiserConfig(kind="sgd")


@pytest.mark.parametrize("largest", [100, 99])
def test_muon_leaves_matrices_larger_than_the_largest_to_adamw(largest: int) -> None:
    """AdamW moves numbers of unlike gradients alike, Muon does not."""
    model = nn.Sequential(nn.Linear(10, 10), nn.Linear(8, 8))
    matrix = model.get_parameter("0.weight")
    optimiser = Muon(model, OptimiserConfig(kind="muon", lr=1e-2, weight_decay=0.0), largest=largest)
    before = matrix.detach().clone()
    matrix.grad = torch.zeros(10, 10)
    matrix.grad[0, :2] = torch.tensor([4.0, 0.5])
    optimiser.step()
    moved = (matrix.detach() - before)[0, :2] / -1e-2
    alike = torch.allclose(moved, torch.ones(2), rtol=1e-2)
    assert alike == (largest < 100)
