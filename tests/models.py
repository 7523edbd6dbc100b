"""Causal models for tests: small ones, and the presets with their silent branches woken."""

from __future__ import annotations

import torch
from torch import nn

from streamsep.layers.attention import Attention
from streamsep.models.causal_config import BranchConfig, CausalConfig, TransformerConfig
from streamsep.models.causal_htdemucs import CausalHTDemucs
from streamsep.models.registry import build_preset

SMALL = ("live-6-small", "live-12-small", "live-23-small", "live-93-small")
LARGE = ("live-6", "live-12", "live-23", "live-93")


def tiny_config(lookahead: int = 0, complex_mask: bool = True, mix_consistency: bool = True) -> CausalConfig:
    """Hop 16, window 64: every part of the model, and milliseconds to run."""
    return CausalConfig(
        hop=16,
        window=64,
        waveform=BranchConfig((8, 8), (4, 4), dconv_depth=1),
        spectrogram=BranchConfig((8, 8), (4, 4), dconv_depth=1),
        transformer=TransformerConfig(dim=16, heads=2, layers=2, context=5 * 16 / 44100),
        lookahead=lookahead,
        complex_mask=complex_mask,
        mix_consistency=mix_consistency,
    )


def wake(model: CausalHTDemucs) -> CausalHTDemucs:
    """Give the silent last convolutions random weights, so that both branches are heard, and sharpen the attention.

    Fresh attention is nearly flat: it would answer alike whatever the positions of its queries.
    """
    torch.manual_seed(3)
    for branch in model.branches:
        nn.init.normal_(branch.last.weight, std=0.1)
    with torch.no_grad():
        for attention in model.transformer.modules():
            if isinstance(attention, Attention):
                attention.queries.weight.mul_(4)
                attention.keys_values.weight.mul_(4)
    return model.eval()


def tiny(lookahead: int = 0, complex_mask: bool = True, mix_consistency: bool = True) -> CausalHTDemucs:
    """A woken model of `tiny_config`."""
    torch.manual_seed(0)
    return wake(CausalHTDemucs(tiny_config(lookahead, complex_mask, mix_consistency)))


def preset(name: str) -> CausalHTDemucs:
    """A woken random model of one preset."""
    torch.manual_seed(0)
    model = build_preset(name)
    assert isinstance(model, CausalHTDemucs)
    return wake(model)
