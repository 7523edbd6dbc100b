"""The sliding window keeps the contract, has the latency it declares, and is the offline model where it can be."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from streamsep.engine.executor import best_executor
from streamsep.errors import StreamsepError
from streamsep.evaluation.seams import Seam, find_seam
from streamsep.evaluation.splices import offline_answers, sliding_answers, splice, splice_figure
from streamsep.models.apply import apply_levelled
from streamsep.models.bag import BagOfModels
from streamsep.models.htdemucs import HTDemucs
from streamsep.models.separator import Separator
from streamsep.models.sliding import SlidingSeparator, Windowing, windowing
from streamsep.models.streaming import separate_stream
from tests.contract import Case, stream, verify_contract
from tests.reference import music
from tests.sliding_toys import Places, Pumping, Shares, pass_through, rms, small_offline

MOVES = Windowing(window=1000, hop=192, lookahead=300, fade=150)


def case_of(separator: SlidingSeparator, hops: int = 9, **more: Any) -> Case:
    return Case(separator, lambda batch, n: 0.1 * torch.randn(batch, 2, n * separator.hop), hops, **more)


def bag() -> BagOfModels:
    return BagOfModels([small_offline(seed=1), small_offline(seed=2)], [[1, 0, 2, 1], [1, 1, 1, 0.5]])


@pytest.mark.parametrize("build", [small_offline, bag], ids=["htdemucs", "bag"])
def test_law(build: Any) -> None:
    """All of the law; an output hop reaches through its own window and, by the fade, the one before."""
    separator = SlidingSeparator(build(), MOVES)
    assert isinstance(separator, Separator)
    verify_contract(case_of(separator, reach=MOVES.window + MOVES.hop))


@pytest.mark.parametrize(
    "moves",
    [
        MOVES,
        Windowing(1000, 192, 300, 192),
        Windowing(1000, 192, 300, 0),
        Windowing(492, 192, 300, 150),
        Windowing(1000, 64, 0, 0),
        Windowing(500, 500, 0, 0),
        Windowing(700, 1, 20, 1),
    ],
    ids=str,
)
def test_impulse_comes_out_exactly_late(moves: Windowing) -> None:
    separator = SlidingSeparator(Shares(), moves)
    hops = -(-2000 // moves.hop)
    mix = torch.zeros(1, 2, hops * moves.hop)
    at = 777
    mix[..., at] = 1
    with torch.inference_mode():
        got = stream(case_of(separator), mix, (1,))
    wanted = torch.zeros_like(got)
    wanted[..., at + moves.lookahead] = torch.tensor([0.5, 0.25, 0.125, 0.125])[:, None]
    torch.testing.assert_close(got, wanted, rtol=0, atol=1e-6)
    assert separator.latency == moves.lookahead


def test_overlap_add_is_what_a_plain_loop_gives() -> None:
    """Sample by sample, from the definition: window k ends at (k + 1) hop; its answer ends `lookahead` before that."""
    separator, moves = SlidingSeparator(small_offline(), MOVES), MOVES
    mix = 0.1 * torch.randn(1, 2, 9 * moves.hop)
    heard = torch.nn.functional.pad(mix, (moves.window, 0))
    wanted = torch.zeros(1, 4, 2, mix.shape[-1] + moves.fade)
    rise = torch.tensor(
        [torch.sin(torch.tensor(torch.pi / 2 * (i + 0.5) / moves.fade)) ** 2 for i in range(moves.fade)]
    )
    with torch.inference_mode():
        for k in range(9):
            end = (k + 1) * moves.hop
            window = heard[..., end : end + moves.window]
            level = window.mean(1).std(correction=0) + 1e-8
            answer = separator.model.separate(window / level) * level
            begin = moves.window - moves.lookahead - moves.hop
            part = answer[..., begin : begin + moves.hop + moves.fade].clone()
            part[..., : moves.fade] *= rise
            part[..., moves.hop :] *= 1 - rise
            wanted[..., k * moves.hop : end + moves.fade] += part
        torch.testing.assert_close(separator(mix), wanted[..., : mix.shape[-1]], rtol=0, atol=1e-6)


def test_every_sample_has_its_lookahead() -> None:
    """Outside the fades a sample lies `lookahead` to `lookahead + hop` before the window's end, and never later."""
    moves = Windowing(window=1000, hop=192, lookahead=300, fade=0)
    separator = SlidingSeparator(Places(), moves)
    with torch.inference_mode():
        mix = torch.ones(1, 2, 12 * moves.hop)
        place = separator(mix)[0, 0, 0, 6 * moves.hop :] / 0.5 * (moves.window - 1)
    wanted = torch.arange(moves.window - 300 - 192, moves.window - 300).float().repeat(6)
    torch.testing.assert_close(place, wanted, rtol=0, atol=1e-2)


@pytest.mark.parametrize("build", [small_offline, bag], ids=["htdemucs", "bag"])
def test_one_window_over_the_whole_song_is_the_offline_model(build: Any) -> None:
    model = build().eval()
    length = model.max_length
    mix = 0.1 * torch.randn(1, 2, length)
    mix -= mix.mean()
    with torch.inference_mode():
        offline = apply_levelled(model, mix, split=False)
        whole = separate_stream(SlidingSeparator(model, Windowing(length, length, 0, 0)), mix, chunk_hops=1)
        torch.testing.assert_close(whole, offline, rtol=0, atol=1e-6)
        # and with all the rest of the song as look-ahead, the first hop is that of the offline model
        separator = SlidingSeparator(model, Windowing(length, 490, length - 490, 0))
        first = separate_stream(separator, mix, chunk_hops=1)[..., :490]
        torch.testing.assert_close(first, offline[..., :490], rtol=0, atol=1e-6)


def test_newest_input_that_an_output_uses() -> None:
    """Output sample t speaks of t - latency and sees to the end of its own hop, not beyond."""
    separator = SlidingSeparator(small_offline(), MOVES)
    x = (0.1 * torch.randn(1, 2, 8 * MOVES.hop)).requires_grad_()
    y = separator(x)
    for t in (5 * MOVES.hop, 6 * MOVES.hop - 1):
        (gradient,) = torch.autograd.grad(y[0, 1, 0, t], x, retain_graph=True)
        assert int(gradient.abs().sum((0, 1)).nonzero().max()) == 6 * MOVES.hop - 1


def test_level_does_not_matter_and_silence_stays_silent() -> None:
    separator = SlidingSeparator(small_offline(), MOVES)
    x = torch.randn(1, 2, 12 * MOVES.hop)
    with torch.inference_mode():
        torch.testing.assert_close(separator(1e-3 * x), 1e-3 * separator(x), rtol=0, atol=1e-6)
        assert separator(torch.zeros_like(x)).abs().max() < 1e-7


def test_no_padding_to_the_segment() -> None:
    """A short window costs a short window, though the model pads to its segment by itself."""
    model = small_offline(segment=1.0)
    seen: list[int] = []
    model.tencoder[0].register_forward_pre_hook(lambda module, args: seen.append(args[0].shape[-1]))
    with torch.inference_mode():
        SlidingSeparator(model, MOVES)(torch.zeros(1, 2, 2 * MOVES.hop))
    assert seen == [1000, 1000]


def test_first_steps_are_sane() -> None:
    """A stream that begins is no louder than what the model makes of a whole window."""
    separator = SlidingSeparator(small_offline(), MOVES)
    x = 0.1 * torch.randn(1, 2, 20 * MOVES.hop)
    with torch.inference_mode():
        y = separator(x)
    assert torch.isfinite(y).all()
    assert rms(y[..., : 6 * MOVES.hop]) < 3 * rms(y[..., 10 * MOVES.hop :])


@pytest.mark.parametrize(
    ("moves", "message"),
    [
        ((499, 200, 300, 0), "shorter than look-ahead and hop.*choose a longer window"),
        ((1000, 0, 300, 0), "cannot be"),
        ((1000, 10, -1, 0), "cannot be"),
        ((1000, 100, 300, 101), "fade"),
        ((1000, 100, 50, 51), "fade"),
        ((1000, 100, 50, -1), "fade"),
    ],
)
def test_windows_that_cannot_be(moves: tuple[int, int, int, int], message: str) -> None:
    with pytest.raises(StreamsepError, match=message):
        Windowing(*moves)


def test_the_fade_is_as_long_as_can_be() -> None:
    assert windowing(1000, 100, 300).fade == 100
    assert windowing(1000, 400, 300).fade == 300
    assert windowing(1000, 200, 0).fade == 0


def test_a_window_longer_than_the_segment_is_refused() -> None:
    with pytest.raises(StreamsepError, match=r"longer than the model's segment of 4410 \(0.1 s\); choose a shorter"):
        SlidingSeparator(small_offline(), Windowing(5000, 100, 100, 0))


def test_steps_must_be_whole_hops() -> None:
    separator = SlidingSeparator(Shares(), MOVES)
    for length in (0, MOVES.hop + 1):
        with pytest.raises(ValueError, match="whole hops"):
            separator(torch.zeros(1, 2, length))


def test_a_model_in_training_is_put_to_work() -> None:
    assert not SlidingSeparator(small_offline().train(), MOVES).model.tencoder[0].training  # type: ignore[attr-defined]


def test_all_of_it_is_where_the_model_is() -> None:
    separator = SlidingSeparator(Shares().to("meta"), MOVES)
    assert {leaf.device.type for leaf in (separator.rise, *separator.init_state())} == {"meta"}


def test_no_cuda_graph_is_recorded() -> None:
    assert best_executor(SlidingSeparator(Shares(), MOVES), 1, torch.device("cuda")) == "eager"


def test_double_precision_is_kept() -> None:
    separator = SlidingSeparator(small_offline(), MOVES).double()
    state = separator.init_state()
    assert state.past.dtype == state.tail.dtype == torch.float64


def check_pass_through(model: HTDemucs) -> None:
    mix = 0.1 * torch.randn(1, 2, 3000)
    with torch.inference_mode():
        stems = model.separate(mix)
    torch.testing.assert_close(stems, mix[:, None].expand_as(stems), rtol=0, atol=2e-3)


def test_impulse_through_a_real_htdemucs() -> None:
    """The very class, its weights set so that stems are the mix: the impulse comes out late by what is declared."""
    model = pass_through(small_offline(channels=16))
    check_pass_through(model)
    separator = SlidingSeparator(model, MOVES)
    mix = torch.zeros(1, 2, 12 * MOVES.hop)
    mix[..., 777] = 1
    with torch.inference_mode():
        y: Tensor = separator(mix)
    assert (y.abs().argmax(-1) == 777 + MOVES.lookahead).all()
    torch.testing.assert_close(y.amax(-1), torch.ones(1, 4, 2), rtol=0, atol=0.02)


def seams(stems: Tensor, period: int, offset: int) -> list[Seam]:
    return [find_seam([stem.T.numpy()], period, offset) for stem in stems[0]]


def test_seams_are_no_worse_than_those_of_the_offline_overlap_add() -> None:
    """Of a model whose windows disagree by some dB; without a fade, the borders are plain to hear."""
    model: Any = Pumping()
    time = torch.arange(20 * 44100) / 44100
    mix = torch.stack([torch.sin(440 * time) + torch.sin(991 * time + 1), torch.sin(1303 * time)])[None]
    moves = Windowing(window=1500, hop=640, lookahead=400, fade=200)
    with torch.inference_mode():
        offline = apply_levelled(model, mix, segment=854 / 44100)  # a stride of 640
        smooth = separate_stream(SlidingSeparator(model, moves), mix)
        rough = separate_stream(SlidingSeparator(model, replace(moves, fade=0)), mix)
    wanted, found = seams(offline, 640, 0), seams(smooth, 640, -400)
    assert all(mine.figure <= max(theirs.figure, 0.5) for mine, theirs in zip(found, wanted, strict=True))
    assert not any(seam.heard for seam in found)
    assert all(seam.heard and seam.figure > 20 for seam in seams(rough, 640, -400))


def test_splices_of_a_network_are_no_rougher_than_those_of_the_offline_overlap_add() -> None:
    """What the borders add to the third differences of the answers; the sums are those of the code that runs."""
    model, mix, moves = small_offline(), music(44100), Windowing(window=1600, hop=640, lookahead=400, fade=200)
    model.config = replace(model.config, use_train_segment=False)
    with torch.inference_mode():
        offline, added = splice(offline_answers(model, mix, 854, 640), 44100)
        own = apply_levelled(model, mix, segment=854 / 44100)[0].double()
        torch.testing.assert_close(offline[..., :-1280], own[..., :-1280], rtol=0, atol=1e-6)
        wanted, found = splice_figure(offline, added, 640), {}
        for fade in (0, 200):
            separator = SlidingSeparator(model, replace(moves, fade=fade))
            total, added = splice(sliding_answers(separator, mix), 44100)
            torch.testing.assert_close(total, separate_stream(separator, mix)[0].double(), rtol=0, atol=1e-6)
            found[fade] = splice_figure(total, added, 640)
    assert found[200] < wanted < -25 and found[0] > -10
