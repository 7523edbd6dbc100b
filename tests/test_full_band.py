"""The matrices beside the spectrogram's U-Net: the law, the graph, and that each bin and each token counts."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from streamsep.models.causal_config import BranchConfig
from streamsep.models.causal_htdemucs import CausalHTDemucs
from streamsep.models.registry import build_preset
from streamsep.training.widen import widen
from tests.contract import Case, verify_contract, verify_graph
from tests.models import tiny_config, wake

WIDE = BranchConfig((8, 12), (4, 2), dconv_depth=1)  # four tokens


def build(lookahead: int = 0, complex_mask: bool = True, branches: str = "both") -> CausalHTDemucs:
    torch.manual_seed(0)
    config = replace(tiny_config(lookahead, complex_mask), full_band=True, spectrogram=WIDE, branches=branches)
    model = wake(CausalHTDemucs(config))
    assert model.full_band is not None
    for part in model.full_band.parameters():
        nn.init.normal_(part, std=0.2)
    return model


@pytest.mark.parametrize("lookahead", [0, 2])
@pytest.mark.parametrize("branches", ["both", "spectrogram"])
def test_law(lookahead: int, branches: str) -> None:
    model = build(lookahead, branches=branches)
    verify_contract(Case(model, lambda batch, n: 0.1 * torch.randn(batch, 2, n * model.hop), 12, name="full band"))


@pytest.mark.parametrize("lookahead", [0, 1])
@pytest.mark.parametrize("complex_mask", [True, False])
def test_graph_agrees(lookahead: int, complex_mask: bool) -> None:
    verify_graph(build(lookahead, complex_mask))


def test_fused_agrees() -> None:
    model = build()
    x = 0.1 * torch.randn(1, 2, 12 * model.hop)
    with torch.inference_mode():
        y, _ = model.fused().step(x, model.init_state(1, 12))
        torch.testing.assert_close(y, model(x), rtol=0, atol=1e-5)
        narrow = model.fused(torch.bfloat16)
        y, _ = narrow.step(x, narrow.init_state(1, 12))
        torch.testing.assert_close(y, model(x), rtol=0, atol=0.1)


def test_every_magnitude_is_heard_and_every_mask_answered() -> None:
    full_band = build().full_band
    assert full_band is not None
    magnitudes = torch.rand(1, 2, 32, 3, requires_grad=True)
    told = full_band.hear(magnitudes)
    assert told.shape == (1, 12, 4, 3)
    masks = full_band.answer(told)
    assert masks.shape == (1, 16, 32, 3)
    (heard,) = torch.autograd.grad(masks[..., 1].sum(), magnitudes)
    assert heard[..., 1].all() and not heard[..., [0, 2]].any(), "of one frame alone"


def test_it_is_silent_at_first() -> None:
    config = replace(tiny_config(), spectrogram=WIDE)
    plain, with_it = CausalHTDemucs(config).eval(), CausalHTDemucs(replace(config, full_band=True)).eval()
    with_it.load_state_dict(plain.state_dict(), strict=False)
    x = 0.1 * torch.randn(1, 2, 12 * config.hop)
    with torch.inference_mode():
        assert torch.equal(with_it(x), plain(x))


@pytest.mark.parametrize("before", [True, False])
def test_widened(before: bool) -> None:
    """A model with it or without becomes a wider one with it, and answers alike."""
    narrow = build().double() if before else wake(CausalHTDemucs(replace(tiny_config(), spectrogram=WIDE))).double()
    channels = tuple(2 * width for width in WIDE.channels)
    config = replace(narrow.config, full_band=True, spectrogram=replace(WIDE, channels=channels))
    wide = CausalHTDemucs(config).double().eval()
    x = 0.1 * torch.randn(1, 2, 12 * narrow.hop, dtype=torch.double)
    with torch.inference_mode():
        widen(narrow, wide)
        torch.testing.assert_close(wide(x), narrow(x), atol=1e-7, rtol=1e-6)


def test_a_waveform_alone_has_no_bins() -> None:
    with pytest.raises(ValueError, match="full_band is a part of the spectrogram branch"):
        replace(tiny_config(), full_band=True, branches="waveform")


def test_the_preset_is_the_shipped_one_with_a_wider_bottleneck() -> None:
    with torch.device("meta"):
        model, whole = build_preset("live-23-small-full-band"), build_preset("live-23-small")
    assert isinstance(model, CausalHTDemucs) and isinstance(whole, CausalHTDemucs)
    config, plain = model.config, whole.config
    assert config.full_band and not plain.full_band and model.latency == whole.latency
    assert config == replace(plain, full_band=True, spectrogram=config.spectrogram, transformer=config.transformer)
    assert config.spectrogram == replace(plain.spectrogram, channels=(*plain.spectrogram.channels[:-1], 256))
