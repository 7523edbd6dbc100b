"""The sliding window over a full-size htdemucs, random, written by the reference package, loaded by its path."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from streamsep.engine.state import clone_state
from streamsep.evaluation.splices import offline_answers, sliding_answers, splice, splice_figure
from streamsep.models.apply import apply_levelled, mean_and_level
from streamsep.models.htdemucs import HTDemucs
from streamsep.models.load import load_separator
from streamsep.models.registry import load_model
from streamsep.models.sliding import SlidingSeparator, SlidingState, Windowing
from tests.reference import OFFICIAL, music, reference_model, relative_error
from tests.sliding_toys import pass_through
from tests.test_official_checkpoint import write_with_reference

pytestmark = pytest.mark.slow
LOOKAHEADS = (0.05, 0.25, 1.0)
HOP = 4410


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("full")
    write_with_reference(reference_model(**OFFICIAL["htdemucs"]), folder / "955717e8.th")
    (written,) = folder.glob("955717e8-????????.th")
    return written


@pytest.fixture(scope="module", params=LOOKAHEADS, ids=str)
def separator(path: Path, request: pytest.FixtureRequest) -> SlidingSeparator:
    lookahead = float(request.param)
    loaded = load_separator(path, lookahead=lookahead, window=lookahead + 0.4, hop=0.1)
    assert isinstance(loaded, SlidingSeparator) and loaded.latency == round(44100 * lookahead)
    return loaded


@pytest.fixture(autouse=True)
def no_gradients() -> Iterator[None]:
    with torch.inference_mode():
        yield


def mid_song(separator: SlidingSeparator, mix: Tensor) -> SlidingState:
    """The state in the middle of a song: its past given, its tail made by the hop before."""
    before = separator.moves.window
    past = mix[..., before - separator.hop - (separator.moves.window - separator.hop) : before - separator.hop]
    state = separator.init_state()._replace(past=past)
    return separator.step(mix[..., before - separator.hop : before], state)[1]


def test_each_sample_is_the_models_own_by_the_declared_latency(separator: SlidingSeparator) -> None:
    """Sample t of the output is what the model says of sample t - latency, in the newest window and the one before."""
    moves, mix = separator.moves, music(separator.moves.window + HOP)
    got = separator.step(mix[..., -HOP:], mid_song(separator, mix))[0]

    def answer(end: int) -> Tensor:
        """Of the window that ends at `end`, the samples that were asked for at the last hop, less the latency."""
        window = mix[..., end - moves.window : end]
        level = mean_and_level(window)[1]
        stems = separator.model.separate(window / level) * level
        first = moves.window + mix.shape[-1] - HOP - end - separator.latency
        return stems[..., first : first + HOP]

    new = answer(mix.shape[-1])
    old = answer(mix.shape[-1] - HOP)[..., : moves.fade]
    own = torch.cat([old + (new[..., : moves.fade] - old) * separator.rise, new[..., moves.fade :]], -1)
    assert relative_error(got, own) < 1e-5


def test_the_newest_input_is_heard_and_none_beyond(separator: SlidingSeparator) -> None:
    """A change of the last sample of a hop changes that hop's output; what came before is out already."""
    mix = music(separator.moves.window + HOP)
    state = mid_song(separator, mix)
    changed = mix[..., -HOP:].clone()
    changed[..., -1] += 0.5
    one, other = (separator.step(hop, clone_state(state))[0] for hop in (mix[..., -HOP:], changed))
    assert (one - other).abs().max() > 1e-5
    early = mix[..., -HOP:].clone()
    early[..., 0] += 0.5
    assert (separator.step(early, clone_state(state))[0] - one)[..., -1].abs().max() > 1e-6


def test_impulse_through_the_full_size_network(path: Path, separator: SlidingSeparator) -> None:
    """The same class and size from the same file, its weights set to let the mix through."""
    model = load_model(path)
    assert isinstance(model, HTDemucs)
    sliding = SlidingSeparator(pass_through(model), separator.moves)
    mix = torch.zeros(1, 2, separator.moves.window + HOP)
    at = mix.shape[-1] - HOP - separator.latency + 777
    mix[..., at] = 1
    y = sliding.step(mix[..., -HOP:], mid_song(sliding, mix))[0]
    assert (y.abs().argmax(-1) == 777).all()  # at + latency, of the last hop
    torch.testing.assert_close(y.amax(-1), torch.ones(1, 4, 2), rtol=0, atol=0.02)


def test_one_window_over_the_whole_song_is_the_offline_model(path: Path) -> None:
    model = load_model(path)
    assert isinstance(model, HTDemucs)
    length = model.max_length
    mix = music(length)
    mix -= mix.mean()
    offline = apply_levelled(model, mix, split=False)
    assert relative_error(SlidingSeparator(model, Windowing(length, length, 0, 0))(mix), offline) < 1e-5


def test_splices_are_no_rougher_than_those_of_the_offline_overlap_add(path: Path) -> None:
    """With a fade as long as the look-ahead of 50 ms about alike, with one of a hop less; without one, plain to see."""
    model, mix = load_model(path), music(12 * HOP)
    assert isinstance(model, HTDemucs)
    model.config = replace(model.config, use_train_segment=False)

    def figure(fade: int, lookahead: int) -> float:
        separator = SlidingSeparator(model, Windowing(2 * HOP + lookahead, HOP, lookahead, fade))
        return splice_figure(*splice(sliding_answers(separator, mix), mix.shape[-1]), HOP)

    offline = splice_figure(*splice(offline_answers(model, mix, HOP * 4 // 3, HOP), mix.shape[-1]), HOP)
    assert figure(HOP // 2, HOP // 2) < offline + 1 < -40
    assert figure(HOP, HOP) < offline
    assert figure(0, HOP // 2) > -20
