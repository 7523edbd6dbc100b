"""A wider model starts where the narrower one is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from streamsep.errors import StreamsepError
from streamsep.models.causal_config import BranchConfig, CausalConfig
from streamsep.models.causal_htdemucs import CausalHTDemucs
from streamsep.models.checkpoint import save_checkpoint
from streamsep.training.start import start_from
from streamsep.training.widen import widen
from tests.models import tiny, tiny_config


def wider(config: CausalConfig, times: tuple[int, ...], layers: int = 0) -> CausalConfig:
    """Each level `times` as wide, the transformer twice, with more layers."""

    def branch(old: BranchConfig) -> BranchConfig:
        return replace(old, channels=tuple(n * c for n, c in zip(times, old.channels, strict=True)))

    inner = config.transformer
    inner = replace(inner, dim=2 * inner.dim, heads=2 * inner.heads, layers=inner.layers + layers)
    return replace(config, waveform=branch(config.waveform), spectrogram=branch(config.spectrogram), transformer=inner)


def shaken(model: CausalHTDemucs) -> CausalHTDemucs:
    """No weight is zero, none alike."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model


CONFIG = tiny_config(1)
LEVELS = len(CONFIG.waveform.channels)


@pytest.mark.parametrize("times", [(1,) * (LEVELS - 1) + (2,), (2,) * LEVELS, (3,) * LEVELS])
@pytest.mark.parametrize("layers", [0, 2])
def test_it_answers_as_the_narrow_one(times: tuple[int, ...], layers: int) -> None:
    narrow = shaken(CausalHTDemucs(CONFIG)).double().eval()
    wide = CausalHTDemucs(wider(CONFIG, times, layers)).double().eval()
    x = 0.1 * torch.randn(2, 2, 24 * CONFIG.hop, dtype=torch.double)
    with torch.inference_mode():
        assert not torch.allclose(narrow(x), wide(x), atol=1e-3)
        widen(narrow, wide)
        torch.testing.assert_close(wide(x), narrow(x), atol=1e-7, rtol=1e-6)


def bare(config: CausalConfig) -> CausalConfig:
    """Without what a level may lack."""

    def branch(old: BranchConfig) -> BranchConfig:
        return replace(old, dconv_depth=1, decoder_dconv=False, encoder_rewrite=False)

    return replace(config, waveform=branch(config.waveform), spectrogram=branch(config.spectrogram))


PARTS: dict[str, Any] = {"dconv_depth": 3, "decoder_dconv": True, "encoder_rewrite": True}


@pytest.mark.parametrize("more", [PARTS, *({name: value} for name, value in PARTS.items())])
@pytest.mark.parametrize("times", [1, 2])
def test_new_parts_of_a_level_change_nothing_at_first(more: dict[str, Any], times: int) -> None:
    config = wider(bare(CONFIG), (times,) * LEVELS)
    config = replace(config, spectrogram=replace(config.spectrogram, **more), waveform=replace(config.waveform, **more))
    narrow, wide = shaken(CausalHTDemucs(bare(CONFIG))).double().eval(), CausalHTDemucs(config).double().eval()
    x = 0.1 * torch.randn(2, 2, 24 * CONFIG.hop, dtype=torch.double)
    with torch.inference_mode():
        widen(narrow, wide)
        torch.testing.assert_close(wide(x), narrow(x), atol=1e-7, rtol=1e-6)
    wide(x).square().sum().backward()
    still = [name for name, p in wide.named_parameters() if p.grad is None or not p.grad.any()]
    # A block that adds nothing learns first how much to add.
    assert all(".blocks." in name or "transformer" in name for name in still), still
    assert not any(name.endswith("scale") for name in still)


def test_copies_learn_different_things() -> None:
    wide = CausalHTDemucs(wider(CONFIG, (2,) * LEVELS))
    widen(shaken(CausalHTDemucs(CONFIG)), wide)
    wide(0.1 * torch.randn(1, 2, 24 * CONFIG.hop)).square().sum().backward()
    for name, parameter in wide.named_parameters():
        assert parameter.grad is not None
        if name.endswith("encoders.0.layers.0.conv.weight"):
            first, second = parameter.grad[::2], parameter.grad[1::2]
            assert not torch.allclose(first, second, rtol=0.05), name


def test_what_is_no_multiple_is_refused(tmp_path: Path) -> None:
    narrow, odd = CONFIG, wider(CONFIG, (2,) * LEVELS)
    odd = replace(odd, transformer=replace(odd.transformer, heads=CONFIG.transformer.heads))
    with pytest.raises(ValueError, match="as wide, and more of them"):
        widen(CausalHTDemucs(narrow), CausalHTDemucs(odd))
    with pytest.raises(ValueError, match="no multiple"):
        widen(CausalHTDemucs(wider(CONFIG, (2,) * LEVELS)), CausalHTDemucs(CONFIG))
    with pytest.raises(ValueError, match=r"the wider model has no waveform\.|the wider model has no spectrogram\."):
        widen(CausalHTDemucs(CONFIG), CausalHTDemucs(bare(CONFIG)))
    alone = replace(CONFIG, branches="waveform")
    with pytest.raises(ValueError, match="they differ in branches"):
        widen(CausalHTDemucs(alone), CausalHTDemucs(CONFIG))
    save_checkpoint(CausalHTDemucs(odd), tmp_path / "odd.safetensors", {})
    with pytest.raises(StreamsepError, match="another model than the configuration's, and no narrower one"):
        start_from(CausalHTDemucs(CONFIG), tmp_path / "odd.safetensors")


def test_a_run_may_start_from_a_narrower_checkpoint(tmp_path: Path) -> None:
    narrow = shaken(tiny())
    save_checkpoint(narrow, tmp_path / "narrow.safetensors", {})
    same, wide = tiny(), CausalHTDemucs(wider(narrow.config, (2,) * len(narrow.config.waveform.channels))).eval()
    start_from(same, tmp_path / "narrow.safetensors")
    assert all(torch.equal(a, b) for a, b in zip(same.parameters(), narrow.parameters(), strict=True))
    start_from(wide, tmp_path / "narrow.safetensors")
    x = 0.1 * torch.randn(1, 2, 16 * narrow.hop)
    with torch.inference_mode():
        torch.testing.assert_close(wide(x), narrow(x), atol=1e-3, rtol=1e-3)
