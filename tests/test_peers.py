"""The peers obey the law that ours obey, are as late as they say, start as the best guess, and learn."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from streamsep.layers.recurrent import LSTM
from streamsep.models.causal_config import CausalConfig, TransformerConfig
from streamsep.models.causal_htdemucs import CausalHTDemucs
from streamsep.models.checkpoint import load_checkpoint, save_checkpoint
from streamsep.models.peers.recurrent_hybrid import RecurrentHybrid, RecurrentHybridConfig
from streamsep.models.registry import build_preset, preset_info
from streamsep.models.separator import Separator
from tests.contract import Case, stream, verify_contract
from tests.models import tiny_config, wake

PRESETS = ("peer-hs-tasnet", "peer-unet")


def hybrid(small: bool, mix_consistency: bool = True) -> RecurrentHybrid:
    """Hop 16, and masks that are not flat, so that both branches are heard."""
    torch.manual_seed(0)
    config = RecurrentHybridConfig(hop=16, units=12, filters=20, small=small, mix_consistency=mix_consistency)
    model = RecurrentHybrid(config)
    for masks in (model.masks, model.masks_wave):
        nn.init.normal_(masks.project.weight, std=0.3)
    return model.eval()


def unet() -> CausalHTDemucs:
    """As the preset: the waveform branch without a single transformer layer."""
    torch.manual_seed(0)
    config: CausalConfig = replace(
        tiny_config(), branches="waveform", transformer=TransformerConfig(dim=16, heads=2, layers=0)
    )
    return wake(CausalHTDemucs(config))


def case_of(model: nn.Module, name: str) -> Case:
    hop = int(model.hop)  # type: ignore[arg-type]
    return Case(model, lambda batch, n: 0.1 * torch.randn(batch, 2, n * hop), 12, name=name)


@pytest.mark.parametrize("layers", [1, 2])
def test_law_of_the_recurrent_layer(layers: int) -> None:
    torch.manual_seed(0)
    layer = LSTM(5, 7, layers).eval()
    verify_contract(Case(layer, lambda batch, n: torch.randn(batch, 5, n), name="lstm"))


@pytest.mark.parametrize("small", [True, False])
@pytest.mark.parametrize("mix_consistency", [True, False])
def test_law_of_the_hybrid(small: bool, mix_consistency: bool) -> None:
    verify_contract(case_of(hybrid(small, mix_consistency), f"small={small}"))


def test_law_of_the_unet() -> None:
    verify_contract(case_of(unet(), "unet"))


@pytest.mark.parametrize("name", PRESETS)
def test_presets_stream_at_the_latency_of_ours(name: str) -> None:
    info = preset_info(name)
    assert (info.hop, info.latency, info.sources) == (512, 1024, ("drums", "bass", "other", "vocals"))
    torch.manual_seed(0)
    model = build_preset(name).eval()
    assert isinstance(model, Separator)
    case, x = case_of(model, name), 0.1 * torch.randn(2, 2, 6 * 512)
    with torch.inference_mode():
        torch.testing.assert_close(stream(case, x, (1, 2)), model(x), rtol=0, atol=1e-5)


def test_the_published_sizes() -> None:
    """Beside the filters, the masks and a norm: five LSTMs of 500 units, of one layer each in the small size."""
    parameters = dict(build_preset("peer-hs-tasnet").named_parameters())
    recurrent = {name: p for name, p in parameters.items() if ".lstm." in name}
    assert {p.shape[1] for name, p in recurrent.items() if "weight" in name} == {500}
    assert sum(p.numel() for p in recurrent.values()) == 5 * 4 * (2 * 500 * 500 + 2 * 500)


@pytest.mark.parametrize("small", [True, False])
def test_an_untrained_hybrid_shares_the_mix(small: bool) -> None:
    """Without the sum being mended: masks start at a share for each stem, one hop late."""
    torch.manual_seed(0)
    model = RecurrentHybrid(RecurrentHybridConfig(hop=16, units=8, filters=8, small=small, mix_consistency=False))
    x = 0.1 * torch.randn(1, 2, 16 * 40)
    with torch.inference_mode():
        y = model(x)
    wanted = (x[..., :-16] / 4)[:, None].expand(1, 4, 2, -1)
    # The level moves a little between the window's start and its end.
    torch.testing.assert_close(y[..., 32:], wanted[..., 16:], rtol=0, atol=2e-3)


def test_sees_to_the_end_of_its_own_hop() -> None:
    model, x = hybrid(True), (0.1 * torch.randn(1, 2, 160)).requires_grad_()
    (gradient,) = torch.autograd.grad(model(x)[0, 0, 0, 7 * 16 - 1], x)
    assert int(gradient.abs().sum((0, 1)).nonzero().max()) == 7 * 16 - 1


@pytest.mark.parametrize("small", [True, False])
def test_every_parameter_learns(small: bool) -> None:
    model = hybrid(small).train()
    sources = model(0.1 * torch.randn(1, 2, 16 * 12))
    (sources - 0.1 * torch.randn_like(sources)).square().sum().backward()
    assert not [name for name, p in model.named_parameters() if p.grad is None or p.grad.abs().max() == 0]


def test_stems_sum_to_the_delayed_mix() -> None:
    model, x = hybrid(False), 0.1 * torch.randn(1, 2, 16 * 12)
    with torch.inference_mode():
        torch.testing.assert_close(model(x).sum(1)[..., 16:], x[..., :-16], rtol=0, atol=1e-5)


def test_partial_hops_are_refused() -> None:
    with pytest.raises(ValueError, match="whole hops of 16"):
        hybrid(True)(torch.zeros(1, 2, 17))


def test_checkpoints(tmp_path: Path) -> None:
    model, x = hybrid(True), 0.1 * torch.randn(1, 2, 96)
    save_checkpoint(model, tmp_path / "a.safetensors", {})
    loaded = load_checkpoint(tmp_path / "a.safetensors")
    assert isinstance(loaded, RecurrentHybrid) and loaded.config == model.config
    with torch.inference_mode():
        assert torch.equal(loaded(x), model(x))
