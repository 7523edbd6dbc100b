"""The causal model without one of its parts: each still keeps the law and its latency, and lacks just that part."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from streamsep.engine.executor import best_executor, make_executor
from streamsep.errors import StreamsepError
from streamsep.models.causal_config import CausalConfig, TransformerConfig
from streamsep.models.causal_htdemucs import CausalHTDemucs
from streamsep.models.checkpoint import load_checkpoint, save_checkpoint
from streamsep.models.htdemucs import HTDemucs, HTDemucsConfig
from streamsep.models.registry import build_preset
from tests.contract import Case, stream, verify_contract, verify_graph
from tests.models import tiny, tiny_config, wake

VARIANTS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "waveform": ({"branches": "waveform"}, {}),
    "spectrogram": ({"branches": "spectrogram"}, {}),
    "no-cross": ({}, {"cross": False}),
    "lstm": ({}, {"kind": "lstm"}),
    "lstm-no-cross": ({}, {"kind": "lstm", "cross": False}),
    "spectrogram-lstm": ({"branches": "spectrogram"}, {"kind": "lstm"}),
}
ATTENTIVE = ("waveform", "spectrogram", "no-cross")
PRESETS = ("waveform", "spectrogram", "no-cross", "lstm")


def config(variant: str, lookahead: int = 0) -> CausalConfig:
    outside, inside = VARIANTS[variant]
    whole = tiny_config(lookahead)
    return replace(whole, transformer=replace(whole.transformer, **inside), **outside)


def build(variant: str, lookahead: int = 0) -> CausalHTDemucs:
    torch.manual_seed(0)
    return wake(CausalHTDemucs(config(variant, lookahead)))


def case_of(model: CausalHTDemucs, hops: int = 12, name: str = "") -> Case:
    return Case(model, lambda batch, n: 0.1 * torch.randn(batch, 2, n * model.hop), hops, name=name)


@pytest.mark.parametrize("lookahead", [0, 2])
@pytest.mark.parametrize("variant", VARIANTS)
def test_law(variant: str, lookahead: int) -> None:
    verify_contract(case_of(build(variant, lookahead), name=variant))


@pytest.mark.parametrize("lookahead", [0, 2])
@pytest.mark.parametrize("variant", VARIANTS)
def test_the_latency_stays_and_is_used(variant: str, lookahead: int) -> None:
    """Declared as for the whole model; an output sees to the end of its own hop, and not beyond."""
    model = build(variant, lookahead)
    assert model.latency == tiny(lookahead).latency == (1 + lookahead) * model.hop
    x = (0.1 * torch.randn(1, 2, 10 * model.hop)).requires_grad_()
    y = model(x)
    (gradient,) = torch.autograd.grad(y[0, 0, 0, 7 * model.hop - 1], x)
    assert int(gradient.abs().sum((0, 1)).nonzero().max()) == 7 * model.hop - 1


def test_impulse_through_the_spectrogram_branch_alone() -> None:
    model = build("spectrogram", 1)
    model.mix_consistency = False
    (branch,) = model.branches
    with torch.no_grad():
        nn.init.zeros_(branch.last.weight)
        nn.init.zeros_(branch.output_bias)
        branch.output_bias.view(4, 2, 2)[..., 0] = 1
    x = torch.zeros(1, 2, 8 * model.hop)
    x[..., 21] = 1
    with torch.inference_mode():
        y = stream(case_of(model), x, (1,))
    wanted = torch.zeros_like(x)
    wanted[..., 21 + model.latency] = 1
    torch.testing.assert_close(y[0], wanted.expand_as(y[0]), rtol=0, atol=1e-4)


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_parameter_learns(variant: str) -> None:
    model = build(variant, 1)
    sources = model(0.1 * torch.randn(1, 2, 12 * model.hop))
    (sources - 0.1 * torch.randn_like(sources)).square().sum().backward()
    assert not [name for name, p in model.named_parameters() if p.grad is None or p.grad.abs().max() == 0]


@pytest.mark.parametrize("variant", VARIANTS)
def test_stems_sum_to_the_delayed_mix(variant: str) -> None:
    model = build(variant)
    x = 0.1 * torch.randn(1, 2, 12 * model.hop)
    with torch.inference_mode():
        total = model(x).sum(1)[..., model.latency :]
    torch.testing.assert_close(total, x[..., : -model.latency], rtol=0, atol=1e-5)


@pytest.mark.parametrize("lookahead", [0, 1])
@pytest.mark.parametrize("variant", ["lstm-no-cross", "no-cross", "lstm", None])
def test_without_crossing_the_domains_do_not_hear_each_other(variant: str | None, lookahead: int) -> None:
    """At the bottleneck; with it they do."""
    model = tiny(lookahead) if variant is None else build(variant, lookahead)
    x = [torch.randn(1, 8, 2, 9).requires_grad_(), torch.randn(1, 8, 9).requires_grad_()]
    y = model.transformer(tuple(x))
    for own, other in ((0, 1), (1, 0)):
        gradients = torch.autograd.grad(y[own].square().sum(), x, retain_graph=True, allow_unused=True)
        assert gradients[own].abs().max() > 0
        crossed = gradients[other] is not None and bool(gradients[other].abs().max() > 0)
        assert crossed == (variant in (None, "lstm"))


@pytest.mark.parametrize("lookahead", [0, 2])
def test_recurrent_layers_remember_more_than_a_context(lookahead: int) -> None:
    """By gradient, the last frame hears the first; attention of five frames in two layers does not."""

    def hears_the_first(model: CausalHTDemucs) -> bool:
        x = (torch.randn(1, 8, 2, 40).requires_grad_(), torch.randn(1, 8, 40).requires_grad_())
        (gradient,) = torch.autograd.grad(model.transformer(x)[1][..., -1].square().sum(), x[1])
        return bool(gradient[..., 0].abs().max() > 0)

    assert hears_the_first(build("lstm", lookahead))
    assert not hears_the_first(tiny(lookahead))


def test_recurrent_layers_tell_of_every_token() -> None:
    """The waveform's frame hears each token of the spectrogram's, and each token hears the waveform's frame."""
    x = (torch.randn(1, 8, 2, 6).requires_grad_(), torch.randn(1, 8, 6).requires_grad_())
    y = build("lstm").transformer(x)
    (heard,) = torch.autograd.grad(y[1][..., -1].square().sum(), x[0], retain_graph=True)
    assert (heard[..., -1].abs().amax(1) > 0).all()
    for token in (0, 1):
        (heard,) = torch.autograd.grad(y[0][:, :, token, -1].square().sum(), x[1], retain_graph=True)
        assert heard[..., -1].abs().max() > 0


@pytest.mark.parametrize("variant", VARIANTS)
def test_what_is_left_out_is_gone(variant: str) -> None:
    names = {name for name, _ in build(variant).named_parameters()}
    whole = {name for name, _ in tiny().named_parameters()}
    outside, inside = VARIANTS[variant]
    for branch in ("spectrogram", "waveform"):
        kept = outside.get("branches", branch) == branch
        assert any(name.startswith(f"{branch}.") for name in names) == kept
    crossing = inside.get("cross", True) and not outside
    assert any(".crosses." in name for name in names) == crossing
    assert any(".lstms." in name for name in names) == (inside.get("kind") == "lstm")
    assert (names < whole) == (variant in ("no-cross", "waveform", "spectrogram"))


@pytest.mark.parametrize("variant", VARIANTS)
def test_checkpoints(variant: str, tmp_path: Path) -> None:
    model = build(variant)
    save_checkpoint(model, tmp_path / "a.safetensors", {})
    loaded = load_checkpoint(tmp_path / "a.safetensors")
    assert isinstance(loaded, CausalHTDemucs) and loaded.config == model.config
    x = 0.1 * torch.randn(1, 2, 6 * model.hop)
    with torch.inference_mode():
        assert torch.equal(loaded(x), model(x))


def test_a_config_of_before_is_the_whole_model() -> None:
    """Records that say nothing of ablations mean none."""
    whole = tiny_config()
    assert (whole.branches, whole.transformer.cross, whole.transformer.kind) == ("both", True, "attention")


@pytest.mark.parametrize("lookahead", [0, 1])
@pytest.mark.parametrize("variant", ATTENTIVE)
def test_graph_agrees(variant: str, lookahead: int) -> None:
    verify_graph(build(variant, lookahead))


def test_recurrent_layers_have_no_graph() -> None:
    pytest.importorskip("onnxruntime")
    model = build("lstm")
    with pytest.raises(StreamsepError, match="recurrent layers has no ONNX graph; use --executor eager"):
        make_executor("onnx", model)
    assert best_executor(model, 1, torch.device("cpu")) == "eager"


@pytest.mark.parametrize("variant", PRESETS)
def test_presets(variant: str) -> None:
    """The shipped preset less one part, at its hop and latency."""
    with torch.device("meta"):
        model, whole = build_preset(f"live-23-small-{variant}"), build_preset("live-23-small")
    assert isinstance(model, CausalHTDemucs) and isinstance(whole, CausalHTDemucs)
    outside, inside = VARIANTS[variant]
    assert model.config == replace(whole.config, transformer=replace(whole.config.transformer, **inside), **outside)


@pytest.mark.parametrize(("change", "message"), [({"branches": "wave"}, "branches"), ({"kind": "gru"}, "kind")])
def test_unknown_parts_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"{message} must be one of .*, not"):
        TransformerConfig(dim=8, **change) if "kind" in change else replace(tiny_config(), **change)


@pytest.mark.parametrize("cross", [True, False])
def test_offline_domains_cross_or_not(cross: bool, tmp_path: Path) -> None:
    config = HTDemucsConfig(channels=8, depth=2, nfft=128, bottom_channels=0, layers=3, heads=2, cross=cross)
    model = HTDemucs(config)
    x, xt = torch.randn(1, 16, 4, 5, requires_grad=True), torch.randn(1, 16, 9, requires_grad=True)
    y, _ = model.crosstransformer(x, xt)
    gradients = torch.autograd.grad(y.square().sum(), (x, xt), allow_unused=True)
    assert gradients[0] is not None and (gradients[1] is not None) == cross
    save_checkpoint(model, tmp_path / "a.safetensors", {})
    loaded = load_checkpoint(tmp_path / "a.safetensors")
    assert isinstance(loaded, HTDemucs) and loaded.config.cross == cross
