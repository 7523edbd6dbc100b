"""The offline model against the reference package, and what it promises without it."""

from __future__ import annotations

import inspect
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from streamsep.config import from_dict, read_yaml, to_dict
from streamsep.dsp.stft import ispectro, reflect_pad, spectro
from streamsep.errors import StreamsepError
from streamsep.models.htdemucs import HTDemucs, HTDemucsConfig
from streamsep.models.official import FIXED, IDLE, SIZES, config_from_official
from tests.reference import (
    FOUR,
    OFFICIAL,
    SIX,
    TINY,
    call_reference,
    music,
    noise,
    reference_model,
    reference_module,
    relative_error,
    twins,
)

TOLERANCE = 1e-5
PRESETS = Path(__file__).parent.parent / "configs" / "models"
SMALL = HTDemucsConfig(channels=8, nfft=2048, bottom_channels=32, layers=3, heads=4, segment=0.5)


def shapes(model: nn.Module) -> dict[str, torch.Size]:
    return {name: value.shape for name, value in model.state_dict().items()}


def assert_same_output(reference: nn.Module, ours: HTDemucs, mix: Tensor) -> None:
    with torch.no_grad():
        assert relative_error(ours(mix), call_reference(reference, mix)) < TOLERANCE


@pytest.mark.parametrize("name", OFFICIAL)
def test_state_dict_has_the_official_names_and_shapes(name: str) -> None:
    build = reference_module("htdemucs").HTDemucs
    with torch.device("meta"):
        assert shapes(HTDemucs(config_from_official(**OFFICIAL[name]))) == shapes(build(**OFFICIAL[name]))


@pytest.mark.parametrize("length", [22050, 22049, 15001, 4096, 100, 1])
def test_evaluation_agrees_with_the_reference(length: int) -> None:
    reference, ours = twins(**TINY)
    assert_same_output(reference, ours, noise((2, 2, length)))


@pytest.mark.parametrize("length", [20480, 20001, 1537, 777])
def test_training_agrees_with_the_reference_and_sets_the_segment(length: int) -> None:
    reference, ours = twins(**TINY)
    assert_same_output(reference.train(), ours.train(), noise((1, 2, length)))
    assert ours.max_length == length
    assert ours.segment == reference.segment
    assert_same_output(reference.eval(), ours.eval(), noise((1, 2, length - 500)))


@pytest.mark.parametrize(
    "change",
    [
        {"audio_channels": 1},
        {"sources": SIX},
        {"bottom_channels": 0},
        {"use_train_segment": False},
        {"depth": 3},
        {"channels": 16, "dconv_comp": 4, "t_hidden_scale": 2.0, "t_layers": 2},
    ],
    ids=str,
)
@pytest.mark.parametrize("length", [22050, 10007, 600])
def test_other_configurations_agree_with_the_reference(change: dict[str, Any], length: int) -> None:
    kwargs = {**TINY, **change}
    reference, ours = twins(**kwargs)
    assert_same_output(reference, ours, noise((1, kwargs.get("audio_channels", 2), length)))


def test_real_audio_agrees_with_the_reference() -> None:
    reference, ours = twins(**TINY)
    assert_same_output(reference, ours, music(22050))


def test_silence_gives_silence() -> None:
    model = HTDemucs(SMALL).eval()
    with torch.no_grad():
        assert torch.equal(model(torch.zeros(1, 2, 20000)), torch.zeros(1, 4, 2, 20000))


def test_gradients_agree_with_the_reference() -> None:
    reference, ours = twins(**TINY)
    mix, target = noise((1, 2, 9000)), noise((1, 4, 2, 9000), seed=1)
    for model in (reference.train(), ours.train()):
        (model(mix) - target).abs().mean().backward()
    expected = {name: parameter.grad for name, parameter in reference.named_parameters()}
    for name, parameter in ours.named_parameters():
        grad, other = parameter.grad, expected[name]
        assert grad is not None and other is not None, name
        # a bias before a norm over the same values has no gradient but rounding
        assert (grad - other).norm() <= 1e-3 * other.norm() + 1e-7, name


def test_initial_weights_are_spread_like_the_reference() -> None:
    kwargs = {**TINY, "channels": 16, "bottom_channels": 128}
    build = reference_module("htdemucs").HTDemucs
    torch.manual_seed(0)
    expected = build(**kwargs).state_dict()
    for name, value in HTDemucs(config_from_official(**kwargs)).state_dict().items():
        other = expected[name]
        if float(other.std()) == 0:
            assert torch.equal(value, other), name
        elif value.numel() > 2000:
            assert float(value.std()) == pytest.approx(float(other.std()), rel=0.1), name


@pytest.mark.slow
@pytest.mark.parametrize("name", OFFICIAL)
def test_full_size_agrees_with_the_reference(name: str) -> None:
    reference, ours = twins(**{**OFFICIAL[name], "t_dropout": 0.0})
    segment = ours.max_length
    assert segment == 343980
    for mix in (noise((1, 2, segment)), music(segment), music(100_001), noise((1, 2, 300))):
        assert_same_output(reference, ours, mix)
    assert_same_output(reference.train(), ours.train(), music(150_001))


@pytest.mark.slow
def test_full_size_mono_agrees_with_the_reference() -> None:
    reference, ours = twins(**{**OFFICIAL["htdemucs"], "audio_channels": 1})
    assert_same_output(reference, ours, music(200_001)[:, :1])


def test_every_official_argument_and_default_is_known() -> None:
    signature = inspect.signature(reference_module("htdemucs").HTDemucs)
    defaults = {name: p.default for name, p in signature.parameters.items() if name != "sources"}
    ours = {name: default for name, (_, default) in SIZES.items()} | {name: d for name, (d, _) in FIXED.items()}
    assert defaults.keys() == ours.keys() | IDLE | {"channels_time", "norm_starts"}
    assert {name: defaults[name] for name in ours} == ours


@pytest.mark.parametrize("name", OFFICIAL)
def test_presets_are_the_official_configurations(name: str) -> None:
    preset = read_yaml(PRESETS / f"{name}.yaml")
    assert preset["class"] == "HTDemucs"
    config = from_dict(HTDemucsConfig, preset["config"])
    assert config == config_from_official(**OFFICIAL[name])
    assert from_dict(HTDemucsConfig, to_dict(config)) == config


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("growth", 3),
        ("cac", False),
        ("multi_freqs", [0.5]),
        ("dconv_mode", 1),
        ("norm_starts", 2),
        ("channels_time", 32),
        ("t_emb", "cape"),
        ("t_norm_first", False),
        ("t_sparse_self_attn", True),
        ("t_sin_random_shift", 5),
        ("t_cross_first", True),
        ("invented", 1),
    ],
)
def test_unsupported_official_argument_is_named(name: str, value: object) -> None:
    with pytest.raises(StreamsepError, match=f"{name}={value!r}".replace("[", r"\[")):
        config_from_official(**{**TINY, name: value})


def test_absent_official_arguments_take_the_official_defaults() -> None:
    with pytest.raises(StreamsepError, match="dconv_mode=1"):
        config_from_official(FOUR)
    config = config_from_official(FOUR, dconv_mode=3)
    assert (config.bottom_channels, config.segment) == (0, 10.0)


def test_idle_official_arguments_change_nothing() -> None:
    config = config_from_official(**TINY, wiener_iters=1, end_iters=1, t_lr=1e-3, t_mask_type="random", rescale=0.5)
    assert config == config_from_official(**TINY)


def test_an_impossible_official_size_is_refused() -> None:
    with pytest.raises(StreamsepError, match="nfft 256"):
        config_from_official(**{**TINY, "nfft": 256})


@pytest.mark.parametrize(
    "change",
    [{"nfft": 256}, {"nfft": 2000}, {"heads": 5}, {"heads": 0}, {"channels": 4}, {"segment": 0.0}, {"sources": ()}],
    ids=str,
)
def test_impossible_sizes_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        replace(SMALL, **change)


@pytest.mark.parametrize(("segment", "samples"), [(7.8, 343980), (0.7, 30870), (1 / 44100, 1)])
def test_segment_in_samples(segment: float, samples: int) -> None:
    assert replace(SMALL, segment=segment).segment_samples == samples


def test_input_beyond_the_segment_is_refused() -> None:
    model = HTDemucs(SMALL).eval()
    with pytest.raises(StreamsepError, match="use apply_model"):
        model(torch.zeros(1, 2, model.max_length + 1))
    free = HTDemucs(replace(SMALL, use_train_segment=False)).eval()
    assert free(torch.zeros(1, 2, model.max_length + 1)).shape == (1, 4, 2, model.max_length + 1)


def test_dropout_acts_in_training_only() -> None:
    model = HTDemucs(replace(SMALL, dropout=0.5))
    for name, parameter in model.named_parameters():
        if name.endswith("scale"):
            nn.init.constant_(parameter, 0.5)
    mix = noise((1, 2, 20000))
    assert not torch.equal(model(mix), model(mix))
    model.eval()
    assert torch.equal(model(mix), model(mix))


@pytest.mark.parametrize("length", [1, 511, 1024, 10_000, 10_241])
def test_spectrogram_is_aligned_and_invertible(length: int) -> None:
    wave = noise((2, 1, length))
    # a low-passed signal has nothing in the Nyquist bin, the only part that is dropped
    wave = torch.nn.functional.avg_pool1d(torch.nn.functional.pad(wave, (4, 3)), 8, 1)
    spec = spectro(wave, 2048)
    assert spec.shape == (2, 1, 1024, -(-length // 512))
    middle = slice(1024, max(1024, length - 1024))
    error = (ispectro(spec, length) - wave)[..., middle]
    assert error.abs().max() < 1e-3 if error.numel() else ispectro(spec, length).shape == wave.shape


@pytest.mark.parametrize(("length", "left", "right"), [(1, 5, 9), (6, 5, 9), (9, 9, 5), (10, 9, 9), (50, 9, 3)])
def test_reflect_pad_agrees_with_the_reference(length: int, left: int, right: int) -> None:
    wave = noise((2, 3, length))
    expected = reference_module("hdemucs").pad1d(wave, (left, right), mode="reflect")
    assert torch.equal(reflect_pad(wave, left, right), expected)


def test_the_reference_helper_hides_nothing() -> None:
    model = reference_model(**TINY)
    vectors = {name: p for name, p in model.named_parameters() if p.dim() == 1}
    assert len(vectors) > 100
    assert all(p.numel() < 8 or float(p.detach().std()) > 0.05 for p in vectors.values())


def test_stems_sum_to_the_mix_where_that_is_wanted() -> None:
    torch.manual_seed(0)
    free = HTDemucs(SMALL).eval()
    bound = HTDemucs(replace(SMALL, mix_consistency=True)).eval()
    bound.load_state_dict(free.state_dict())
    mix = noise((1, 2, 10_000))
    with torch.inference_mode():
        loose, stems = free(mix), bound(mix)
    torch.testing.assert_close(stems.sum(1), mix, rtol=0, atol=1e-5)
    assert (loose.sum(1) - mix).abs().max() > 1e-2
    torch.testing.assert_close(
        stems - stems.mean(1, keepdim=True), loose - loose.mean(1, keepdim=True), rtol=0, atol=1e-5
    )
