"""Muon in float32 or bfloat16: the same steps as PyTorch's, which rounds to bfloat16 on the way."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from streamsep.training.muon import QuickMuon, orthogonal, precision_of

SHAPES = [(20, 50), (96, 33), (7, 7)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("quick_at_bfloat16", [False, True])
def test_steps_are_those_of_pytorch(
    shape: tuple[int, int], quick_at_bfloat16: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Five steps from the same weights by the same gradients, one of them left out."""
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": quick_at_bfloat16})
    torch.manual_seed(0)
    start = torch.randn(shape)
    ours, theirs = (nn.Parameter(start.clone()) for _ in range(2))
    quick = QuickMuon([ours], lr=1e-2, weight_decay=0.1)
    known = torch.optim.Muon([theirs], lr=1e-2, weight_decay=0.1, adjust_lr_fn="match_rms_adamw")
    for number in range(6):
        gradient = None if number == 3 else torch.randn(shape)
        for parameter, optimiser in ((ours, quick), (theirs, known)):
            parameter.grad = None if gradient is None else gradient.clone()
            optimiser.step()
    assert (ours - theirs).norm() < 0.02 * (theirs - start).norm()


def test_states_are_interchangeable() -> None:
    """A run that PyTorch's began goes on."""
    weight = nn.Parameter(torch.randn(8, 8))
    known = torch.optim.Muon([weight], lr=1e-2, adjust_lr_fn="match_rms_adamw")
    weight.grad = torch.randn(8, 8)
    known.step()
    quick = QuickMuon([weight], lr=1e-2)
    quick.load_state_dict(known.state_dict())
    assert torch.equal(quick.state[weight]["momentum_buffer"], known.state[weight]["momentum_buffer"])
    quick.step()


@pytest.mark.parametrize("shape", SHAPES)
def test_orthogonal(shape: tuple[int, int]) -> None:
    """The directions of the matrix, all alike long (the iteration's own bounds)."""
    torch.manual_seed(1)
    u, sizes, v = torch.linalg.svd(torch.randn(shape), full_matrices=False)
    made = orthogonal(u * sizes.clamp_min(sizes.max() / 20) @ v, torch.float32)
    along = u.T @ made @ v.T
    assert (along - torch.diag(along.diagonal())).abs().max() < 1e-3
    assert along.diagonal().min() > 0.65 and along.diagonal().max() < 1.25


@pytest.mark.parametrize(
    ("capabilities", "expected"),
    [({}, torch.float32), ({"avx512_bf16": False}, torch.float32), ({"avx512_bf16": True}, torch.bfloat16)],
)
def test_a_processor_computes_in_what_it_is_fast_at(
    capabilities: dict[str, bool], expected: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    assert precision_of(torch.zeros(1)) == expected
    assert precision_of(torch.zeros(1, device="meta")) == torch.bfloat16
