"""The causal model keeps the law as a whole, has the latency it declares, and does not age."""

from __future__ import annotations

import resource
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from streamsep.models.causal_config import BranchConfig, CausalConfig, TransformerConfig
from streamsep.models.causal_htdemucs import CausalHTDemucs
from streamsep.models.causal_transformer import CrossDomainTransformer
from streamsep.models.separator import Separator
from tests.contract import Case, assert_close, at_position, chunking, describe, fixed_shapes, stream, verify_contract
from tests.models import LARGE, SMALL, preset, tiny, tiny_config, wake

LAGS = {"live-6": 128, "live-12": 256, "live-23": 512, "live-93": 3072}
ALGORITHMIC = {"live-6": 256, "live-12": 512, "live-23": 1024, "live-93": 4096}


def case_of(model: CausalHTDemucs, hops: int = 12, name: str = "model") -> Case:
    return Case(model, lambda batch, n: 0.1 * torch.randn(batch, 2, n * model.hop), hops, name=name)


@pytest.mark.parametrize("lookahead", [0, 1, 2])
@pytest.mark.parametrize("complex_mask", [True, False])
def test_law_of_the_whole_model(lookahead: int, complex_mask: bool) -> None:
    verify_contract(case_of(tiny(lookahead, complex_mask)))


@pytest.mark.parametrize("lookahead", [0, 2])
def test_law_and_reach_of_the_transformer(lookahead: int) -> None:
    """Each layer looks back twice, on itself and across; only the first looks ahead, and so reaches from later."""
    transformer = tiny(lookahead).transformer
    assert isinstance(transformer, CrossDomainTransformer)
    context, layers = transformer.context, len(transformer.layers)

    def make(batch: int, frames: int) -> tuple[Tensor, Tensor]:
        return torch.randn(batch, 8, 2, frames), torch.randn(batch, 8, frames)

    verify_contract(Case(transformer, make, 22, reach=1 + lookahead + layers * 2 * (context - 1), name="transformer"))


@pytest.mark.parametrize("name", SMALL)
def test_law_of_small_presets(name: str) -> None:
    verify_contract(case_of(preset(name), 6, name))


@pytest.mark.slow
@pytest.mark.parametrize("name", LARGE)
def test_law_of_large_presets(name: str) -> None:
    case = case_of(preset(name), 6, name)
    with torch.inference_mode():
        chunking(case)
        fixed_shapes(case)


@pytest.mark.parametrize("name", SMALL + LARGE)
def test_presets_declare_their_latency(name: str) -> None:
    with torch.device("meta"):
        model = preset(name)
    family = name.removesuffix("-small")
    assert isinstance(model, Separator)
    assert (model.latency, model.latency + model.hop) == (LAGS[family], ALGORITHMIC[family])


def identity(model: CausalHTDemucs) -> CausalHTDemucs:
    """Every mask one, the waveform branch silent, mix consistency off."""
    model.mix_consistency = False
    for branch in model.branches:
        nn.init.zeros_(branch.last.weight)
        nn.init.zeros_(branch.output_bias)
    stems, parts = len(model.sources), 2 if model.config.complex_mask else 1
    with torch.no_grad():
        model.branches[0].output_bias.view(stems, -1, parts)[..., 0] = 1
    return model


@pytest.mark.parametrize("name", SMALL)
def test_impulse_comes_out_exactly_late(name: str) -> None:
    model = identity(preset(name))
    x = torch.zeros(1, 2, 8 * model.hop)
    at = model.hop + model.hop // 3
    x[..., at] = 1
    with torch.inference_mode():
        y = stream(case_of(model), x, (1,))
    wanted = torch.zeros_like(x)
    wanted[..., at + model.latency] = 1
    torch.testing.assert_close(y[0], wanted.expand_as(y[0]), rtol=0, atol=1e-4)


@pytest.mark.parametrize("complex_mask", [True, False])
def test_masks_keep_left_and_right(complex_mask: bool) -> None:
    """A mask of one on the left and of nothing on the right lets the left through, whole, and silences the right."""
    model = identity(tiny(complex_mask=complex_mask))
    parts = 2 if complex_mask else 1
    with torch.no_grad():
        model.branches[0].output_bias.view(len(model.sources), 2, parts)[:, 1] = 0
        x = 0.1 * torch.randn(1, 2, 12 * model.hop)
        y = model(x)[..., model.latency :]
    left = x[:, None, 0, : -model.latency].expand_as(y[:, :, 0])
    torch.testing.assert_close(y[:, :, 0], left, rtol=0, atol=1e-5)
    assert y[:, :, 1].abs().max() == 0


@pytest.mark.parametrize("complex_mask", [True, False])
def test_nyquist_takes_the_mask_of_its_neighbour(complex_mask: bool) -> None:
    model, parts = tiny(complex_mask=complex_mask), 2 if complex_mask else 1
    mask = torch.randn(1, 4 * 2 * parts, 32, 3)
    met = model._masked(mask, torch.ones(1, 2, 33, 3, dtype=torch.complex64))
    assert torch.equal(met[:, :, :, :-1].real, mask.view(1, 4, 2, parts, 32, 3)[:, :, :, 0])
    assert torch.equal(met[:, :, :, -1], met[:, :, :, -2])


@pytest.mark.parametrize("compression", [0.3, 0.5])
def test_features_are_compressed(compression: float) -> None:
    """Parts and magnitude of a spectrum whose magnitudes are raised to the exponent, phases kept."""
    model = CausalHTDemucs(replace(tiny_config(), compression=compression))
    size, phase = 1 + 10 * torch.rand(1, 2, 33, 3), 6 * torch.rand(1, 2, 33, 3)
    squeezed = torch.polar(size**compression, phase)[:, :, :-1]
    wanted = torch.stack([squeezed.real, squeezed.imag, squeezed.abs()], 2).flatten(1, 2)
    torch.testing.assert_close(model._features(torch.polar(size, phase)), wanted, rtol=0, atol=1e-3)


def test_every_skip_is_heard() -> None:
    model = tiny()
    for branch, shape in zip(model.branches, ((1, 6, 32, 4), (1, 2, 4 * model.hop)), strict=True):
        deep, skips, _ = branch.encode(torch.randn(shape), None)
        skips = [skip.detach().requires_grad_() for skip in skips]
        out, _ = branch.decode(deep.detach(), skips, None)
        for gradient in torch.autograd.grad(out.square().sum(), skips):
            assert gradient.abs().max() > 0


@pytest.mark.parametrize("lookahead", [0, 1])
@pytest.mark.parametrize("complex_mask", [True, False])
def test_every_parameter_learns(lookahead: int, complex_mask: bool) -> None:
    model = tiny(lookahead, complex_mask)
    sources = model(0.1 * torch.randn(1, 2, 12 * model.hop))
    (sources - 0.1 * torch.randn_like(sources)).square().sum().backward()
    deaf = [name for name, p in model.named_parameters() if p.grad is None or p.grad.abs().max() == 0]
    assert not deaf


def test_wrong_lag_is_caught() -> None:
    """A dry line or a skip that waits otherwise than the rest is refused where the model is built."""

    class Hasty(CausalHTDemucs):
        def _check_lags(self) -> None:
            self.dry.lag -= self.hop
            super()._check_lags()

    with pytest.raises(ValueError, match="unequal lag"):
        Hasty(tiny_config())


@pytest.mark.parametrize("lookahead", [0, 2])
def test_newest_input_that_an_output_uses(lookahead: int) -> None:
    """Output sample t speaks of t - latency, and sees to the end of its own hop but not beyond."""
    model = tiny(lookahead)
    x = (0.1 * torch.randn(1, 2, 10 * model.hop)).requires_grad_()
    y = model(x)
    for t in (6 * model.hop, 7 * model.hop - 1):
        (gradient,) = torch.autograd.grad(y[0, 0, 0, t], x, retain_graph=True)
        newest = int(gradient.abs().sum((0, 1)).nonzero().max())
        assert newest == (t // model.hop + 1) * model.hop - 1
        assert newest - (t - model.latency) <= model.latency + model.hop - 1


def test_stems_sum_to_the_delayed_mix() -> None:
    model, free = tiny(1), tiny(1, mix_consistency=False)
    x = 0.1 * torch.randn(2, 2, 12 * model.hop)
    with torch.inference_mode():
        wanted, late = x[..., : -model.latency], slice(model.latency, None)
        torch.testing.assert_close(model(x).sum(1)[..., late], wanted, rtol=0, atol=1e-5)
        assert (free(x).sum(1)[..., late] - wanted).abs().max() > 1e-3


def test_untrained_model_shares_the_mix() -> None:
    """New branches start at zero: a fresh model answers a quarter of the mix in each stem."""
    model = CausalHTDemucs(tiny_config()).eval()
    x = 0.1 * torch.randn(1, 2, 12 * model.hop)
    with torch.inference_mode():
        y = model(x)[..., model.latency :]
    torch.testing.assert_close(y, x[:, None, :, : -model.latency].expand_as(y) / 4, rtol=0, atol=1e-5)


def test_level_does_not_matter() -> None:
    """A stream 20 dB quieter separates alike: the running level takes the gain out."""
    model = tiny()
    x = torch.randn(1, 2, 20 * model.hop)
    with torch.inference_mode():
        loud, quiet = model(x), model(0.1 * x)
    torch.testing.assert_close(quiet, 0.1 * loud, rtol=0, atol=1e-5)


def test_silence_in_silence_out() -> None:
    model = tiny(1)
    with torch.inference_mode():
        assert model(torch.zeros(1, 2, 12 * model.hop)).abs().max() == 0


@pytest.mark.slow
def test_twenty_thousand_steps_change_nothing() -> None:
    """Error against the full pass, state and memory after 20,000 steps are what they were early on.

    Three streams in one batch: a young one, one ten million frames old, and one that passes the wrap of the table.
    """
    thin = BranchConfig((8,), (16,), dconv_depth=1, decoder_dconv=False, encoder_rewrite=False)
    config = replace(tiny_config(), waveform=thin, spectrogram=replace(thin, strides=(8,)))
    # A level that forgets soon: rounding in one that remembers for thousands of steps would look like ageing.
    config = replace(config, transformer=replace(config.transformer, layers=1), level_seconds=0.05)
    model, steps = wake(CausalHTDemucs(config)), 20_000
    x = case_of(model, steps).make(3, steps)
    with torch.inference_mode():
        whole = model(x)
        state = at_position(model.init_state(3, 1), torch.tensor([0, 10_000_000, 65_536 - 1000]))
        shapes, errors, sizes = describe(state), [], []
        for i, hop in enumerate(x.split(model.hop, -1)):
            y, state = model.step(hop, state)
            errors.append((y - whole[..., i * model.hop : (i + 1) * model.hop]).abs().amax((1, 2, 3)))
            if i in (2000, steps - 1):
                sizes.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
    assert describe(state) == shapes
    error, scale = torch.stack(errors, -1), float(whole.abs().max())
    assert error.max() <= 1e-5 * scale
    early, late = error[:, 3000:6000].mean(-1), error[:, -3000:].mean(-1)
    assert (late <= 1.25 * early).all()
    assert sizes[1] - sizes[0] < 4096  # KiB: less than a quarter of a KiB a step


def test_steps_must_be_whole_hops() -> None:
    model = tiny()
    with pytest.raises(ValueError, match="whole hops"):
        model(torch.zeros(1, 2, model.hop + 1))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"waveform": BranchConfig((4, 4), (4, 8))}, "multiply to the hop"),
        ({"window": 24}, "two hops"),
        ({"window": 65}, "window and the strides of the spectrogram branch must be even"),
        ({"spectrogram": BranchConfig((4, 4), (4, 1))}, "must be even"),
        ({"spectrogram": BranchConfig((4, 4), (2, 3)), "window": 96}, "must be even"),
        ({"audio_channels": 1}, "audio_channels must be 2 for a model that streams, not 1"),
        ({"window": 72}, "do not divide"),
        ({"transformer": TransformerConfig(dim=18, heads=2)}, "twice its heads"),
    ],
)
def test_configurations_that_cannot_work(change: dict[str, object], message: str) -> None:
    good = {name: getattr(tiny_config(), name) for name in CausalConfig.__dataclass_fields__}
    with pytest.raises(ValueError, match=message):
        CausalConfig(**(good | change))


def test_branch_needs_a_stride_for_each_level() -> None:
    with pytest.raises(ValueError, match="strides"):
        BranchConfig((4, 4), (4,))


def test_double_precision_agrees() -> None:
    """The float32 stream against the full pass in float64: nothing accumulates."""
    model = tiny(1)
    x = 0.1 * torch.randn(1, 2, 200 * model.hop)
    with torch.inference_mode():
        got = stream(case_of(model), x, (1,))
        exact: Tensor = model.double()(x.double())
    assert_close(case_of(model), got.double(), exact, "float32 differs from float64")


@pytest.mark.parametrize("narrow", [torch.float16, torch.bfloat16])
def test_a_model_made_narrow_as_a_whole_names_the_way(narrow: torch.dtype) -> None:
    model = tiny().to(narrow)
    mix = torch.zeros(1, 2, 4 * model.hop, dtype=narrow)
    with pytest.raises(ValueError, match=r"keep the model in float32, or use fused\(torch\.bfloat16\)"):
        model(mix)
    with pytest.raises(ValueError, match="keep the model in float32"):
        model.step(mix, model.init_state(1, 4))
