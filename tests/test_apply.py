"""Whole songs through the offline model: against the reference package, and in bounded memory."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from streamsep.errors import StreamsepError
from streamsep.models.apply import apply_model
from streamsep.models.bag import BagOfModels
from streamsep.models.htdemucs import HTDemucs, HTDemucsConfig
from tests.reference import TINY, call_reference, music, noise, reference_module, relative_error, twins

TOLERANCE = 1e-5
WEIGHTS = [[1.0, 0.0, 0.5, 2.0], [1.0, 1.0, 0.5, 1.0]]
# as cheap as a model can be: the cutting is under test here, not the model
RATE = 8000
QUICK: dict[str, Any] = {**TINY, "depth": 3, "nfft": 512, "t_layers": 2, "samplerate": RATE}
SMALL = HTDemucsConfig(channels=8, nfft=2048, bottom_channels=32, layers=2, heads=4, segment=0.25)


class Gain(nn.Module):
    """A cheap stand-in for an offline model: each source is the mix times 1, 2, ...; it counts its calls."""

    def __init__(self, segment_samples: int, sample_rate: int = 1000) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.tensor([1.0, 2.0]))
        self.sources = ("one", "two")
        self.sample_rate, self.audio_channels, self.max_length = sample_rate, 2, segment_samples
        self.calls: list[int] = []

    def valid_length(self, length: int) -> int:
        return self.max_length

    def forward(self, mix: Tensor) -> Tensor:
        self.calls.append(mix.shape[-1])
        return mix[:, None] * self.gain[:, None, None]


def gains(segment_samples: int) -> Any:
    """A `Gain`, untyped: `apply_model` asks for an `HTDemucs`, but needs no more than this."""
    return Gain(segment_samples)


def compare(reference: Any, ours: Any, mix: Tensor, offsets: list[int] | None = None, **options: Any) -> None:
    """Assert that both separate `mix` alike, with the same shifts where `offsets` gives them."""
    module = reference_module("apply")
    shifts = options.pop("shifts", 0)
    with mock.patch.object(module.random, "randint", side_effect=offsets):
        expected = call_reference(module.apply_model, reference, mix, shifts=shifts, **options)
    found = apply_model(ours, mix, shifts=shifts, offsets=offsets, **options)
    assert relative_error(found, expected) < TOLERANCE


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"overlap": 0.0},
        {"overlap": 0.6, "transition_power": 2.0},
        {"segment": 0.35},
        {"shifts": 1, "offsets": [4000]},
        {"shifts": 3, "offsets": [0, 4000, 777]},
    ],
    ids=str,
)
def test_a_song_agrees_with_the_reference(options: dict[str, Any]) -> None:
    reference, ours = twins(**QUICK)
    compare(reference, ours, noise((1, 2, 10_001)), **options)


@pytest.mark.parametrize("length", [300, 3000, 4000, 4001])
def test_short_songs_agree_with_the_reference(length: int) -> None:
    reference, ours = twins(**QUICK)
    mix = music(length)
    compare(reference, ours, mix)
    compare(reference, ours, mix, shifts=1, offsets=[333])


def test_a_model_free_of_its_segment_agrees_with_the_reference() -> None:
    reference, ours = twins(**{**QUICK, "use_train_segment": False, "audio_channels": 1})
    mix = noise((2, 1, 7001))
    compare(reference, ours, mix)
    compare(reference, ours, mix, segment=0.3)
    compare(reference, ours, mix, split=False)
    compare(reference, ours, mix, split=False, shifts=1, offsets=[1000])


def test_without_split_agrees_with_the_reference() -> None:
    reference, ours = twins(**QUICK)
    compare(reference, ours, noise((1, 2, 3501)), split=False)


@pytest.mark.parametrize("segment", [None, 0.25, 2.0])
@pytest.mark.parametrize("offsets", [None, [5, 600, 3000, 4000]])
def test_a_bag_agrees_with_the_reference(segment: float | None, offsets: list[int] | None) -> None:
    pairs = [twins(seed, **QUICK) for seed in (0, 1)]
    reference = reference_module("apply").BagOfModels([r for r, _ in pairs], WEIGHTS, segment)
    ours = BagOfModels([o for _, o in pairs], WEIGHTS, segment)
    compare(reference, ours, noise((1, 2, 9000)), shifts=2 if offsets else 0, offsets=offsets)


@pytest.mark.slow
def test_full_size_song_agrees_with_the_reference() -> None:
    kwargs = {**TINY, "channels": 48, "nfft": 4096, "bottom_channels": 512, "t_layers": 5, "t_heads": 8, "segment": 3}
    reference, ours = twins(**kwargs)
    compare(reference, ours, music(300_000))


def test_a_seed_repeats_its_shifts_and_another_does_not() -> None:
    model, mix = HTDemucs(SMALL), noise((1, 2, 20_000))
    first, again, other = (apply_model(model, mix, shifts=2, seed=seed) for seed in (1, 1, 2))
    generator = random.Random(1)
    offsets = [generator.randint(0, 22050) for _ in range(2)]
    assert torch.equal(first, again)
    assert torch.equal(first, apply_model(model, mix, shifts=2, offsets=offsets))
    assert not torch.equal(first, other)


@pytest.mark.parametrize("length", [0, 1, 99, 100, 101, 1234])
@pytest.mark.parametrize("options", [{}, {"overlap": 0.9}, {"shifts": 2, "seed": 0}, {"segment": 0.03}], ids=str)
def test_segments_of_any_length_rebuild_the_song(length: int, options: dict[str, Any]) -> None:
    mix = noise((2, 2, length))
    found = apply_model(gains(100), mix, **options)
    assert torch.allclose(found, torch.stack([mix, 2 * mix], dim=1), atol=1e-6)


def test_the_model_is_left_as_it_was_found() -> None:
    model = gains(100)
    apply_model(model.train(), noise((1, 2, 250)), overlap=0.5)
    assert model.training
    assert model.calls == [100] * 5
    assert model.gain.grad is None
    apply_model(model.eval(), noise((1, 2, 250)))
    assert not model.training


def test_a_bag_averages_its_models_over_one_segment() -> None:
    models = [HTDemucs(SMALL), HTDemucs(SMALL)]
    bag = BagOfModels(models, WEIGHTS).eval()
    mix = noise((1, 2, 5000))
    first, second = (model(mix) for model in models)
    with torch.no_grad():
        found = bag(mix)
        assert torch.allclose(found[:, 1], second[:, 1], atol=1e-6)
        assert torch.allclose(found[:, 3], (2 * first[:, 3] + second[:, 3]) / 3, atol=1e-6)


@pytest.mark.parametrize(
    ("models", "weights", "message"),
    [
        ([], None, "at least one"),
        ([{}, {"sources": ("a", "b")}], None, "the same sources"),
        ([{}, {"audio_channels": 1}], None, "the same audio_channels"),
        ([{}], [[1.0, 1.0]], "1 rows of 4 numbers"),
        ([{}], WEIGHTS, "1 rows of 4 numbers"),
        ([{}, {}], [[1.0, 0.0, 1.0, 1.0], [1.0, 0.0, 1.0, 1.0]], "for bass must not sum to zero"),
    ],
)
def test_bags_that_do_not_fit_are_refused(models: list[dict[str, Any]], weights: Any, message: str) -> None:
    with pytest.raises(StreamsepError, match=message):
        BagOfModels([HTDemucs(replace(SMALL, **change)) for change in models], weights)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"overlap": 1.0}, "overlap"),
        ({"transition_power": 0.5}, "transition_power"),
        ({"shifts": -1}, "shifts"),
        ({"segment": 0}, "segment"),
        ({"workers": 0}, "workers must be at least 1"),
        ({"batch": 0}, "batch must be at least 1"),
        ({"precision": "int8"}, "precision must be fp32 or bf16, not 'int8'; for int8 quantise the model"),
        ({"segment": 3.0}, "^3 s are more than the model's segment of 0.25 s; choose a --segment of at most 0.25 s$"),
        ({"split": False}, "^0.453515 s are more than the model's segment of 0.25 s; leave out --no-split$"),
        ({"split": False, "segment": 0.1}, "must cover"),
        ({"shifts": 1, "offsets": [1, 2]}, "offsets must be 1 numbers from 0 to 22050"),
        ({"shifts": 1, "offsets": [-1]}, "offsets"),
        ({"out": torch.zeros(1, 4, 2, 7)}, "out must be"),
    ],
    ids=str,
)
def test_options_out_of_range_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(StreamsepError, match=message):
        apply_model(HTDemucs(SMALL), torch.zeros(1, 2, 20_000), **options)


@pytest.mark.parametrize("shape", [(2, 1000), (1, 1, 1000)])
def test_a_mix_of_the_wrong_shape_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(StreamsepError, match="must be"):
        apply_model(HTDemucs(SMALL), torch.zeros(shape))


def test_progress_counts_seconds_of_audio(capfd: pytest.CaptureFixture[str]) -> None:
    apply_model(gains(100), noise((1, 2, 2500)), progress=True)
    assert "2.5/2.5 s of audio" in capfd.readouterr().err
    apply_model(gains(100), noise((1, 2, 2500)))
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("options", [{}, {"shifts": 2, "offsets": [0, 400]}, {"split": False}], ids=str)
def test_who_follows_hears_of_every_segment(options: dict[str, Any]) -> None:
    heard: list[int] = []
    apply_model(gains(100 if options.get("split", True) else 2500), noise((1, 2, 2500)), follow=heard.append, **options)
    assert heard[-1] == 2500 and heard == sorted(heard)
    assert len(heard) == (1 if "split" in options else len(set(heard)))
    assert len(heard) >= 34 or "split" in options


def test_what_who_follows_raises_ends_the_work() -> None:
    def give_up(samples: int) -> None:
        raise KeyError(samples)

    model = gains(100).train()
    with pytest.raises(KeyError):
        apply_model(model, noise((1, 2, 2500)), workers=1, follow=give_up)
    assert len(model.calls) == 1 and model.training


class Largest(TorchDispatchMode):
    """Records the largest storage, in bytes, that an operation makes; `known` storages do not count."""

    def __init__(self, *known: Tensor) -> None:
        super().__init__()
        self.known = {tensor.untyped_storage().data_ptr() for tensor in known}
        self.bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if isinstance(result, Tensor) and result.untyped_storage().data_ptr() not in self.known:
            self.bytes = max(self.bytes, result.untyped_storage().nbytes())
        return result


@pytest.mark.parametrize("bag", [False, True])
def test_memory_does_not_grow_with_the_song(bag: bool, tmp_path: Path) -> None:
    seconds, segment = 3600, 20_000
    shape = (1, 2, 2, seconds * 1000)
    mix = noise((1, 2, seconds * 1000))
    out = torch.from_numpy(np.memmap(tmp_path / "stems.f32", np.float32, "w+", shape=shape))
    model = BagOfModels([gains(segment), gains(segment)]) if bag else gains(segment)
    with Largest(mix, out) as largest:
        result = apply_model(model, mix, out=out, shifts=2, seed=0)
    assert result is out
    assert torch.allclose(out[:, 1], 2 * mix, atol=1e-5)
    stems_of_a_segment = 2 * 2 * segment * 4
    assert stems_of_a_segment <= largest.bytes <= 2 * stems_of_a_segment


@pytest.mark.parametrize("workers", [1, 2, 3, None])
def test_segments_in_work_at_a_time_do_not_change_the_song(workers: int | None, three_threads: None) -> None:
    mix, model = noise((1, 2, 2500)), gains(100)
    found = apply_model(model, mix, workers=workers)
    torch.testing.assert_close(found[:, 1], 2 * mix)
    assert len(model.calls) == 34
    assert torch.get_num_threads() == 3


def test_other_threads_are_not_left_with_a_workers_share(three_threads: None) -> None:
    apply_model(gains(100), noise((1, 2, 2500)), workers=2)
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(torch.get_num_threads).result() == 3


@pytest.mark.parametrize("options", [{}, {"shifts": 1, "offsets": [333]}, {"segment": 0.03}], ids=str)
def test_segments_given_at_once_do_not_change_the_song(options: dict[str, Any], three_threads: None) -> None:
    mix, model = noise((2, 2, 2500)), gains(100)
    batched: list[tuple[int, ...]] = []
    model.register_forward_pre_hook(lambda _, given: batched.append(tuple(given[0].shape)))
    found = apply_model(model, mix, batch=4, workers=2, **options)
    torch.testing.assert_close(found[:, 1], 2 * mix)
    length = 30 if "segment" in options else 100
    assert (8, 2, length) in batched and {shape[1:] for shape in batched} == {(2, length)}


def test_windows_of_unlike_lengths_are_not_given_at_once() -> None:
    model = HTDemucs(replace(SMALL, use_train_segment=False)).eval()
    mix = noise((1, 2, 20_000))
    torch.testing.assert_close(apply_model(model, mix, batch=5), apply_model(model, mix), atol=1e-5, rtol=1e-4)


def test_a_segment_that_fails_in_a_worker_fails_the_song(three_threads: None) -> None:
    model = gains(100)
    with mock.patch.object(Gain, "forward", side_effect=RuntimeError("boom")), pytest.raises(RuntimeError):
        apply_model(model, noise((1, 2, 2500)), workers=2)
