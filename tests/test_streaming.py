"""A song through a streaming separator."""

from __future__ import annotations

import pytest
import torch

from streamsep.models.causal_htdemucs import CausalHTDemucs
from streamsep.models.registry import build_preset
from streamsep.models.separator import Separator
from streamsep.models.streaming import dtype_of, separate_stream, stream_pieces
from tests.toys import ToySeparator


@pytest.mark.parametrize("chunk_hops", [1, 2, 3, 64])
@pytest.mark.parametrize("length", [1, 63, 64, 65, 96, 128, 1000])
def test_stems_are_aligned_with_the_mix(length: int, chunk_hops: int) -> None:
    model, mix, seen = ToySeparator(), torch.randn(2, 2, length), list[int]()
    sources = separate_stream(model, mix, chunk_hops, seen.append)
    torch.testing.assert_close(sources, mix[:, None] * model.get_buffer("gains")[:, None, None], rtol=0, atol=0)
    assert seen == sorted(seen) and seen[-1] == length


@pytest.mark.parametrize("chunk_hops", [1, 7])
def test_pieces_give_every_sample_once_and_read_inside_the_song(chunk_hops: int) -> None:
    mix, reads = torch.randn(1, 2, 1000), list[int]()

    def read(start: int, frames: int) -> torch.Tensor:
        reads.append(start + frames)
        assert mix[..., start : start + frames].shape[-1] == frames
        return mix[..., start : start + frames]

    pieces = list(stream_pieces(ToySeparator(latency=100), read, 1000, chunk_hops))
    assert [start for start, _ in pieces] == [sum(p.shape[-1] for _, p in pieces[:i]) for i in range(len(pieces))]
    torch.testing.assert_close(torch.cat([p for _, p in pieces], -1).sum(1), mix, rtol=0, atol=1e-6)
    assert max(reads) == 1000


@pytest.mark.parametrize("latency", [0, 1, 64, 1000])
def test_any_latency_is_taken_out(latency: int) -> None:
    mix = torch.randn(1, 2, 500)
    sources = separate_stream(ToySeparator(latency=latency), mix)
    torch.testing.assert_close(sources.sum(1), mix, rtol=0, atol=1e-6)


def test_an_empty_mix_gives_empty_stems() -> None:
    assert separate_stream(ToySeparator(), torch.zeros(1, 2, 0)).shape == (1, 4, 2, 0)


def test_chunks_give_what_the_whole_forward_gives() -> None:
    model = build_preset("live-6-small").eval()
    assert isinstance(model, CausalHTDemucs) and isinstance(model, Separator)
    mix = 0.1 * torch.randn(1, 2, 20 * model.hop - 37)
    sources = separate_stream(model, mix, chunk_hops=7)
    padded = torch.nn.functional.pad(mix, (0, 37 + -(-model.latency // model.hop) * model.hop))
    with torch.inference_mode():
        whole = model(padded)[..., model.latency :][..., : mix.shape[-1]]
    torch.testing.assert_close(sources, whole, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_a_mix_of_any_floating_type_is_cast_to_the_model_s(dtype: torch.dtype) -> None:
    model = build_preset("live-6-small").eval()
    assert isinstance(model, CausalHTDemucs)
    mix = (0.1 * torch.randn(1, 2, 5 * model.hop)).to(dtype)
    torch.testing.assert_close(separate_stream(model, mix), separate_stream(model, mix.float()), rtol=0, atol=0)


def test_a_model_of_another_type_gives_sources_of_its_own() -> None:
    mix = torch.randn(1, 2, 100)
    assert separate_stream(ToySeparator().double(), mix).dtype == torch.float64
    model = build_preset("live-6-small")
    assert isinstance(model, CausalHTDemucs)
    assert dtype_of(model.fused(torch.bfloat16)) == torch.float32  # transforms and masks are not narrowed


def test_wrong_arguments_are_named() -> None:
    integers = torch.zeros(1, 2, 10, dtype=torch.int16)
    with pytest.raises(ValueError, match=r"got torch\.int16; divide it by its full scale"):
        separate_stream(ToySeparator(), integers)
    with pytest.raises(ValueError, match=r"got torch\.int16"):
        list(stream_pieces(ToySeparator(), lambda start, frames: integers[..., start : start + frames], 10))
    with pytest.raises(ValueError, match=r"\[B, 2, T\], got \[2, 10\]"):
        separate_stream(ToySeparator(), torch.zeros(2, 10))
    with pytest.raises(ValueError, match=r"\[B, 2, T\], got \[1, 1, 10\]"):
        separate_stream(ToySeparator(), torch.zeros(1, 1, 10))
    with pytest.raises(ValueError, match="at least one hop"):
        separate_stream(ToySeparator(), torch.zeros(1, 2, 10), chunk_hops=0)
