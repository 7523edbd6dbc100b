"""Weights in few bits: what is stored, how near it is, and what a damaged file is told as."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from streamsep.errors import StreamsepError
from streamsep.models.causal_htdemucs import CausalHTDemucs
from streamsep.models.checkpoint import load_checkpoint, read_record, save_checkpoint
from streamsep.models.registry import build_preset, load_model
from streamsep.models.stored import SCALE, SMALLEST, narrowed, widened

KERNEL = torch.randn(64, 8, 16, generator=torch.Generator().manual_seed(0)) * torch.logspace(-4, 2, 64)[:, None, None]


def test_a_kernel_in_bytes_is_within_half_a_step_of_each_row() -> None:
    again = widened(narrowed({"kernel": KERNEL}, 8))
    assert again.keys() == {"kernel"} and again["kernel"].dtype == torch.float32
    step = KERNEL.flatten(1).abs().amax(1) / 127
    assert (again["kernel"] - KERNEL).flatten(1).abs().amax(1).div(step).max() <= 0.501
    assert (again["kernel"] - KERNEL).norm() > 0


def test_bytes_are_for_large_kernels_and_the_rest_is_halves() -> None:
    state = {
        "large": torch.ones(2, SMALLEST // 2),
        "small": torch.ones(2, SMALLEST // 2 - 1),
        "bias": torch.ones(2 * SMALLEST),
        "count": torch.tensor(3),
    }
    stored = narrowed(state, 8)
    assert {name: value.dtype for name, value in stored.items()} == {
        "large": torch.int8, "large" + SCALE: torch.float32, "small": torch.float16, "bias": torch.float16,
        "count": torch.int64,
    }  # fmt: skip
    for name, value in widened(stored).items():
        torch.testing.assert_close(value, state[name], check_dtype=False, rtol=0, atol=0)


def test_rows_of_nothing_stay_nothing() -> None:
    kernel = torch.zeros(64, 64)
    kernel[1] = 1e-30
    again = widened(narrowed({"kernel": kernel}, 8))["kernel"]
    torch.testing.assert_close(again, kernel)


@pytest.fixture(scope="module")
def model() -> CausalHTDemucs:
    model = load_model("live-23-small")  # one that was trained: random weights leave the mix as it is
    assert isinstance(model, CausalHTDemucs)
    return model


@pytest.fixture
def saved(model: CausalHTDemucs, tmp_path: Path) -> Path:
    path = tmp_path / "bytes.safetensors"
    save_checkpoint(model, path, {}, bits=8)
    return path


def test_a_model_in_bytes_is_small_and_nearly_the_same(model: CausalHTDemucs, saved: Path, tmp_path: Path) -> None:
    halves = tmp_path / "halves.safetensors"
    save_checkpoint(model, halves, {}, bits=16)
    assert saved.stat().st_size < 0.6 * halves.stat().st_size
    again = load_checkpoint(saved)
    mix = torch.randn(1, 2, 40 * 512, generator=torch.Generator().manual_seed(0)) * 0.1
    with torch.inference_mode():
        expected, found = model(mix), again(mix)
    assert {value.dtype for value in again.parameters()} == {torch.float32}
    assert 0 < (found - expected).norm() < 0.02 * expected.norm()


def test_scales_that_do_not_fit_are_told(saved: Path) -> None:
    tensors = load_file(saved)
    name = next(name for name in tensors if name.endswith(SCALE))
    tensors[name] = tensors[name][:-1].clone()
    save_file(tensors, saved, {"format": read_record(saved)["format"]})
    record = saved.with_suffix(".json")
    record.write_text(record.read_text().replace("weights_sha256", "former_sha256"))
    with pytest.raises(StreamsepError, match="unexpected the tensor"):
        load_checkpoint(saved)


def test_weights_that_are_not_finite_are_not_stored(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = build_preset("live-23-small")
    next(p for p in model.parameters() if p.ndim > 1 and p.numel() >= SMALLEST).data.flatten()[5] = torch.nan
    with pytest.raises(StreamsepError, match="earlier checkpoint"):
        save_checkpoint(model, tmp_path / "a.safetensors", {}, bits=8)
    assert not list(tmp_path.iterdir())
