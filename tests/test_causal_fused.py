"""The causal model for inference alone is the causal model: every part, every variant, in fewer operations."""

from __future__ import annotations

from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from streamsep.engine.operations import count_operations
from streamsep.layers import together
from streamsep.layers.dconv import Block
from streamsep.layers.together import SideBySide, in_turn
from streamsep.models.causal_fused import FusedBlock, FusedGate, fuse
from streamsep.models.causal_htdemucs import CausalHTDemucs
from streamsep.models.causal_unet import rewrite
from streamsep.models.registry import build_preset
from tests.contract import Case, verify_contract
from tests.models import preset, tiny
from tests.test_ablations import VARIANTS, build


def largest_difference(model: CausalHTDemucs, twin: CausalHTDemucs, *chunks: int) -> float:
    """Over chunks of these many hops, as often as the rings need to go round."""
    before, after, worst = model.init_state(2, 3), twin.init_state(2, 3), 0.0
    with torch.inference_mode():
        for hops in (chunks or (1, 3, 2, 1, 1)) * 3:
            mix = 0.3 * torch.randn(2, 2, hops * model.hop)
            expected, before = model.step(mix, before)
            found, after = twin.step(mix, after)
            worst = max(worst, float((found - expected).abs().max()))
    return worst


@pytest.mark.parametrize("lookahead", [0, 2])
@pytest.mark.parametrize("variant", ["whole", *VARIANTS])
def test_every_variant_is_the_same(variant: str, lookahead: int) -> None:
    model = tiny(lookahead) if variant == "whole" else build(variant, lookahead)
    assert largest_difference(model, model.fused()) < 1e-6


@pytest.mark.parametrize("name", ["live-12-small", "live-93-small"])
def test_presets_are_the_same(name: str) -> None:
    model = preset(name)
    assert largest_difference(model, model.fused(), 1, 2) < 1e-6


def test_a_fused_model_keeps_the_law_of_streams() -> None:
    """Its `forward` is another model's business: steps of any cut agree, rows are apart, states keep their shape."""
    twin = tiny(1).fused()
    model = tiny(1)

    class Stepper(nn.Module):
        hop, forward = model.hop, staticmethod(model.forward)
        init_state, step = staticmethod(twin.init_state), staticmethod(twin.step)

    verify_contract(Case(Stepper(), lambda batch, n: 0.1 * torch.randn(batch, 2, n * model.hop), 12, name="fused"))


@pytest.mark.parametrize("bins", [None, 4])
def test_blocks_and_gates(bins: int | None) -> None:
    block, gate = Block(8, bins, 4, 2), rewrite(8, bins)
    assert isinstance(gate.function, nn.Sequential)
    with torch.no_grad():
        for parameter in block.parameters():
            nn.init.normal_(parameter)
        x = torch.randn(2, 8, 6) if bins is None else torch.randn(2, 8, bins, 6)
        torch.testing.assert_close(FusedBlock(block)(x), block(x), rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(FusedGate(gate.function[0])(x), gate(x), rtol=1e-5, atol=1e-5)


def test_the_model_itself_stays_as_it_is() -> None:
    model = tiny()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    twin = model.fused(torch.bfloat16)
    assert (model.precision, twin.precision) == (torch.float32, torch.bfloat16)
    assert (model.has_graph, twin.has_graph) == (True, False)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not any(parameter.requires_grad for parameter in twin.parameters())
    assert all(not part.weight.is_floating_point() or part.weight.dtype == torch.bfloat16 for part in gates(twin))


def gates(model: nn.Module) -> list[Any]:
    return [part for part in model.modules() if isinstance(part, FusedGate)]


def test_the_model_for_a_stage_takes_two_thirds_of_the_operations() -> None:
    with torch.device("meta"):
        model = build_preset("live-12").eval()
    assert isinstance(model, CausalHTDemucs)
    counts = []
    with torch.inference_mode():
        for network in (model, model.fused()):
            state, mix = network.init_state(), torch.zeros(1, 2, network.hop, device="meta")
            counts.append(count_operations(lambda n=network, m=mix, s=state: n.step(m, s), mix.device))  # type: ignore[misc]
    assert counts[1] < 0.71 * counts[0]
    assert counts[1] < 650


def test_tasks_side_by_side_fork_from_the_trunk_and_join_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """While a graph is recorded: every fork waits for the trunk before any task, and the trunk for all forks after."""
    seen, current = list[str](), ["trunk"]

    class Stream(SimpleNamespace):
        def wait_stream(self, other: Any) -> None:
            seen.append(f"{self.name} waits for {other.name}")

    class On:
        def __init__(self, stream: Stream) -> None:
            self.stream = stream

        def __enter__(self) -> None:
            current.append(self.stream.name)

        def __exit__(self, *error: object) -> None:
            current.pop()

    names = iter(["fork 1", "fork 2"])
    cuda = SimpleNamespace(
        is_available=lambda: True,
        is_current_stream_capturing=lambda: True,
        current_stream=lambda: Stream(name=current[-1]),
        Stream=lambda: Stream(name=next(names)),
        stream=On,
    )
    monkeypatch.setattr(together, "torch", SimpleNamespace(cuda=cuda))

    def task(i: int) -> int:
        seen.append(f"task {i} on {current[-1]}")
        return i

    tasks, run = [partial(task, i) for i in range(3)], SideBySide()
    for _ in range(2):  # streams are made once
        seen.clear()
        assert run(tasks) == [0, 1, 2]
        forked = ["fork 1 waits for trunk", "fork 2 waits for trunk"]
        done = ["task 0 on trunk", "task 1 on fork 1", "task 2 on fork 2"]
        assert seen == [*forked, *done, "trunk waits for fork 1", "trunk waits for fork 2"]


def test_tasks_are_done_in_turn_elsewhere() -> None:
    tasks = [lambda i=i: i for i in range(3)]
    assert SideBySide()(tasks) == in_turn(tasks) == [0, 1, 2]
    model = tiny(2)
    twin = fuse(model, torch.float32, side_by_side=True)
    assert isinstance(twin.together, SideBySide)
    assert twin.together is twin.transformer.together
    assert largest_difference(model, twin) < 1e-6
