"""Two causal models from both ends of a song: what their mean is, how it is kept, and that it is an offline model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from streamsep.errors import StreamsepError
from streamsep.evaluation.report.attention import attention_maps
from streamsep.models.apply import apply_levelled, apply_model
from streamsep.models.bidirectional import Bidirectional, BidirectionalConfig
from streamsep.models.causal_config import ExpanderConfig
from streamsep.models.checkpoint import load_checkpoint, read_record, save_checkpoint
from streamsep.models.load import as_separator
from streamsep.models.precision import compile_networks
from streamsep.models.registry import build_preset
from streamsep.models.separator import Separator
from streamsep.models.streaming import separate_stream
from tests.models import tiny_config, wake
from tools.join_bag import join

CONFIG = tiny_config()
OTHER = replace(CONFIG, transformer=replace(CONFIG.transformer, dim=24), lookahead=2)  # later than the other, too
STRICT = ExpanderConfig("vocals", threshold_db=-3.0, ratio=2.0, seconds=0.002)


def build(**settings: Any) -> Bidirectional:
    torch.manual_seed(0)
    model = Bidirectional(BidirectionalConfig(CONFIG, OTHER, **settings))
    for member, sign in zip(model.causal, (1, -1), strict=True):
        wake(member)
        with torch.no_grad():
            member.branches[0].output_bias.add_(0.1 * sign)  # the same seed woke them
    return model.eval()


def noise(length: int, batch: int = 1) -> Tensor:
    return 0.1 * torch.randn(batch, 2, length, generator=torch.Generator().manual_seed(1))


def from_both_ends(model: Bidirectional, mix: Tensor) -> tuple[Tensor, Tensor]:
    """What each of the two says as a stream, in the order of time; both hear whole hops."""
    padded = torch.nn.functional.pad(mix, (0, -mix.shape[-1] % CONFIG.hop))
    ahead = separate_stream(model.forwards, padded)
    behind = separate_stream(model.backwards, padded.flip(-1)).flip(-1)
    return ahead[..., : mix.shape[-1]], behind[..., : mix.shape[-1]]


@pytest.mark.parametrize("learning", [True, False])
@pytest.mark.parametrize("length", [1, 15, 16, 1600, 1605])
def test_the_mean_of_two_streams(length: int, learning: bool) -> None:
    """Any length, in time with the mix, with what the backward one looks ahead taken out; in one pass or by steps."""
    model, mix = build(), noise(length, batch=2)
    ahead, behind = from_both_ends(model, mix)
    assert length < 100 or (ahead - behind).abs().max() > 0.01
    with torch.set_grad_enabled(learning):
        sources = model(mix)
    assert sources.requires_grad == learning and not sources.is_inference()
    torch.testing.assert_close(sources, (ahead + behind) / 2, rtol=0, atol=1e-5)


def test_shares_by_stem_and_a_sum_that_is_the_mix() -> None:
    model, mix = build(shares={"drums": 0.0, "vocals": 0.75}), noise(1605)
    ahead, behind = from_both_ends(model, mix)
    share = torch.tensor([0.0, 0.5, 0.5, 0.75])[:, None, None]
    mean = ahead * (1 - share) + behind * share
    missing = mix - mean.sum(1)
    assert missing.abs().max() > 1e-3
    torch.testing.assert_close(model(mix), mean + missing[:, None] / 4, rtol=0, atol=1e-5)
    torch.testing.assert_close(model(mix).sum(1), mix, rtol=0, atol=1e-5)


def test_the_future_is_heard_and_the_past() -> None:
    model, mix = build(), noise(1600)
    changed = mix.clone()
    changed[..., 800:816] += 0.5
    moved = (model(changed) - model(mix)).abs().amax((0, 1, 2)) > 1e-6
    assert moved[700:800].any() and moved[816:900].any()


def test_the_expander_is_on_the_mean_and_not_in_training() -> None:
    model, mix = build(expander=STRICT), noise(1600)
    plain = build()(mix)
    expanded, _ = model.expander(plain, plain.sum(1), None)  # type: ignore[misc]
    assert (expanded - plain).abs().max() > 1e-3
    torch.testing.assert_close(model(mix), expanded, rtol=0, atol=1e-6)
    torch.testing.assert_close(model.train()(mix), plain, rtol=0, atol=1e-5)
    own = Bidirectional(BidirectionalConfig(replace(CONFIG, expander=STRICT), CONFIG))
    assert own.forwards.expander is None


def test_segments_of_a_song() -> None:
    """A song longer than a segment, cut and faded; a mix of one segment is the model's own answer."""
    model = build(segment=0.1)
    short, long = noise(3000), noise(10000)
    torch.testing.assert_close(apply_model(model, short), model(short), rtol=0, atol=1e-6)
    assert apply_levelled(model, long).shape == (1, 4, 2, 10000)
    with pytest.raises(StreamsepError, match=r"are more than the model's segment of 0\.1 s"):
        apply_model(model, long, segment=0.2)
    with pytest.raises(StreamsepError, match="4411 samples are more than the model's segment of 4410"):
        model.valid_length(4411)


def test_it_streams_by_a_sliding_window() -> None:
    model = build(segment=0.1)
    assert not isinstance(model, Separator)
    with pytest.raises(StreamsepError, match="offline model, which streams only with some future"):
        as_separator(model, "it")
    separator = as_separator(model, "it", lookahead=0.01, window=0.05, hop=0.01)
    assert separate_stream(separator, noise(3000)).shape == (1, 4, 2, 3000)


def test_kept_and_joined(tmp_path: Path) -> None:
    """The directions of a preset from a checkpoint each, in order, and the whole from its file."""
    names = {"ahead": 3.0, "behind": 5.0}
    for name, value in names.items():
        member = build_preset("live-23-small")
        with torch.no_grad():
            next(member.parameters()).fill_(value)
        save_checkpoint(member, tmp_path / f"{name}.safetensors", {"training": {"steps": value}, "licence": "MIT"})
    out = tmp_path / "both.safetensors"
    join("bidirectional-small", [tmp_path / f"{name}.safetensors" for name in names], out)
    loaded = load_checkpoint(out)
    assert isinstance(loaded, Bidirectional) and not loaded.training
    assert [next(part.parameters()).mean().item() for part in loaded.causal] == [3.0, 5.0]
    assert read_record(out)["training"] == {"members": [{"steps": 3.0}, {"steps": 5.0}]}
    with pytest.raises(StreamsepError, match="bidirectional-small has 2 members; give as many"):
        join("bidirectional-small", [out], tmp_path / "x.safetensors")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"backwards": replace(CONFIG, sources=("a", "b"))}, "both directions must have the same sources"),
        ({"shares": {"flute": 0.5}}, "a stem of shares"),
        ({"shares": {"drums": 1.5}}, "the share of drums"),
        ({"expander": ExpanderConfig("flute")}, "the expander's stem"),
        ({"segment": 0.0}, "segment"),
    ],
)
def test_what_cannot_be(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        BidirectionalConfig(**{"forwards": CONFIG, "backwards": CONFIG} | settings)


def test_it_is_not_compiled_and_a_report_shows_what_its_first_half_hears() -> None:
    model = build()
    with pytest.raises(StreamsepError, match="class Bidirectional is not compiled; leave out --compile"):
        compile_networks(model)
    assert attention_maps(model, noise(1600)[0], [(0, 0)])
