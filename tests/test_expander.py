"""The expander: its curve, its law inside a model, and that the stems still sum to the mix."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from streamsep.layers.expander import Expander
from streamsep.models.causal_config import ExpanderConfig
from streamsep.models.causal_htdemucs import CausalHTDemucs
from tests.contract import Case, verify_contract, verify_graph
from tests.models import tiny_config, wake

VOCALS = 3
STRICT = ExpanderConfig("vocals", threshold_db=-3.0, ratio=2.0, seconds=0.002)  # a few hops of the tiny model


def build(expander: ExpanderConfig | None = STRICT, mix_consistency: bool = True) -> CausalHTDemucs:
    torch.manual_seed(0)
    return wake(CausalHTDemucs(replace(tiny_config(mix_consistency=mix_consistency), expander=expander)))


def sound(model: CausalHTDemucs, batch: int = 1, hops: int = 24) -> Tensor:
    return 0.1 * torch.randn(batch, 2, hops * model.hop)


@pytest.mark.parametrize(("below", "ratio", "gain"), [(0, 2, 0), (10, 2, -10), (10, 3, -20), (10, 1, 0), (-5, 4, 0)])
def test_each_decibel_below_the_threshold_becomes_ratio(below: float, ratio: float, gain: float) -> None:
    expander = Expander(8, 8000, -12.0, ratio, 0.01)
    mix = torch.randn(1, 2, 8 * 200)
    got = expander((mix * 10 ** ((-12 - below) / 20), mix))[..., -1]
    assert 20 * torch.log10(got).item() == pytest.approx(gain, abs=1e-3)


def test_the_gain_is_a_line_over_each_hop_and_starts_open() -> None:
    expander = Expander(8, 8000, -12.0, 2.0, 0.01)
    mix = torch.randn(1, 2, 8 * 4)
    gain = expander((0.01 * mix, mix))[0, 0]
    steps = gain.diff(prepend=torch.ones(1)).unflatten(0, (4, 8))
    torch.testing.assert_close(steps, steps[:, :1].expand(4, 8), rtol=0, atol=1e-6)


def test_silence_leaves_it_open() -> None:
    """A voice that begins after a rest of everything is whole from its first sample."""
    expander, rest, voice = Expander(8, 8000, -12.0, 2.0, 0.01), torch.zeros(1, 2, 64), torch.randn(1, 2, 64)
    song = torch.cat([0.01 * voice, torch.zeros(1, 2, 8 * 400), voice], -1)
    assert (expander((rest, rest)) == 1).all()
    assert (expander((song, song))[..., -64:] == 1).all()
    torch.testing.assert_close(expander((0 * song, song))[..., 3200:3264], torch.ones(1, 1, 64), rtol=0, atol=1e-6)


@pytest.mark.parametrize("mix_consistency", [True, False])
def test_law_of_a_model(mix_consistency: bool) -> None:
    model = build(mix_consistency=mix_consistency)
    verify_contract(Case(model, lambda batch, n: sound(model, batch, n), 12, name="expander"))


@pytest.mark.parametrize("mix_consistency", [True, False])
def test_graph_agrees(mix_consistency: bool) -> None:
    verify_graph(build(mix_consistency=mix_consistency))


def test_fused_agrees() -> None:
    model = build()
    x = sound(model)
    with torch.inference_mode():
        y, _ = model.fused().step(x, model.init_state(1, 24))
        torch.testing.assert_close(y, model(x), rtol=0, atol=1e-5)


@torch.inference_mode()
def test_one_stem_is_turned_down_and_the_others_take_what_it_gives() -> None:
    model, free = build(), build(None)
    x = sound(model)
    ours, plain = model(x), free(x)
    gone = plain[:, VOCALS] - ours[:, VOCALS]
    assert gone.square().mean() > 0.01 * plain[:, VOCALS].square().mean()  # the strict threshold is not idle here
    torch.testing.assert_close(ours.sum(1), plain.sum(1), rtol=0, atol=1e-6)
    for stem in range(VOCALS):
        torch.testing.assert_close(ours[:, stem], plain[:, stem] + gone / 3, rtol=0, atol=1e-6)


@torch.inference_mode()
def test_without_consistency_nobody_takes_it() -> None:
    x = sound(build())
    ours, plain = build(mix_consistency=False)(x), build(None, mix_consistency=False)(x)
    assert (ours[:, VOCALS] - plain[:, VOCALS]).abs().max() > 0
    torch.testing.assert_close(ours[:, :VOCALS], plain[:, :VOCALS], rtol=0, atol=0)


def test_training_does_not_see_it() -> None:
    model, free = build().train(), build(None).train()
    x = sound(model)
    torch.testing.assert_close(model(x), free(x), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("changed", "message"),
    [({"threshold_db": 1.0}, "threshold_db"), ({"ratio": 0.5}, "ratio"), ({"seconds": 0.0}, "seconds")],
)
def test_bad_numbers_are_named(changed: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ExpanderConfig(**changed)  # type: ignore[arg-type]


def test_the_stem_must_be_one_of_the_model() -> None:
    with pytest.raises(ValueError, match="the expander's stem must be one of drums"):
        replace(tiny_config(), expander=ExpanderConfig("guitar"))
