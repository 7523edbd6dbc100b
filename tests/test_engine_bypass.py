"""The callback alone: what a bypass lets through, how it comes and goes, and what a recording misses."""

from __future__ import annotations

import numpy as np
import pytest

from streamsep.engine.callback import Callback, OnOverload
from streamsep.engine.compiled_callback import compiled_handle, make_state
from streamsep.engine.link import Counter, Link, LinkShape
from streamsep.engine.timing import budget
from tests.engine_toys import Audio, noise

BLOCK, FADE = 16, 8
SPEND = budget(sample_rate=44100, hop=8, model=8, block=BLOCK, max_block=BLOCK, queue=1, fade=FADE, device=0)
DOWN, UP = np.arange(FADE - 1, -1, -1) / FADE, np.arange(1, FADE + 1) / FADE
FLAT = np.ones(BLOCK - FADE)


class Rig:
    """A callback over rings that the test fills: every block of the device is ones, what was separated is twos."""

    def __init__(
        self, form: str, on_overload: OnOverload, plain: float | None = None, recover: int = 0, record: int = 4000
    ) -> None:
        self.link = Link(LinkShape(2, 4, 4000, 4000, 4, record))
        self._python = Callback(
            self.link, SPEND, max_block=BLOCK, on_overload=on_overload, recover=recover, plain=plain
        )
        self._state = make_state(self.link, SPEND, BLOCK, on_overload, recover, plain)
        self._compiled = form == "compiled"
        self.separate(4000)
        for _ in range(-(-SPEND.lag // BLOCK)):  # until the dry line holds nothing but ones
            self.play()

    def separate(self, frames: int) -> None:
        self.link.output.write(np.full((4, frames), 2, np.float32))

    def die(self) -> None:
        self.link.output.skip(4000)

    def bypass(self, on: bool) -> None:
        self.link.counters[Counter.BYPASS] = on

    def play(self, block: Audio | None = None) -> Audio:
        """The first channel of the next block; all are alike."""
        block = np.ones((2, BLOCK), np.float32) if block is None else block
        out = np.full((4, block.shape[1]), np.nan, np.float32)
        if self._compiled:
            compiled_handle()(self._state, np.ascontiguousarray(block), out, block.shape[1])
        else:
            self._python(block, out)
        assert (out == out[0]).all() or block[0, 0] != 1
        first: Audio = out[0]
        return first


@pytest.fixture(params=["python", "compiled"])
def form(request: pytest.FixtureRequest) -> str:
    if request.param == "compiled":
        pytest.importorskip("numba")
    found: str = request.param
    return found


# Of two pairs of outputs the mix is heard on one alone (plain 1) or on both (None: half of it on each).
@pytest.mark.parametrize(("plain", "gain"), [(1.0, 1.0), (None, 0.5)])
def test_a_bypass_of_a_muted_stream_comes_and_goes_in_a_fade(form: str, plain: float | None, gain: float) -> None:
    rig = Rig(form, "mute", plain)
    rig.die()
    rig.play()
    assert not rig.play().any()
    rig.bypass(True)
    np.testing.assert_allclose(rig.play(), gain * np.concatenate([UP, FLAT]), atol=1e-6)
    np.testing.assert_allclose(rig.play(), gain, atol=1e-6)
    rig.bypass(False)
    np.testing.assert_allclose(rig.play(), gain * np.concatenate([DOWN, 0 * FLAT]), atol=1e-6)
    assert not rig.play().any()


def test_a_bypass_of_a_stream_that_overloads_to_the_mix_goes_to_its_own_loudness(form: str) -> None:
    """In an overload half of the mix on each pair adds up to it; in a bypass one pair alone is heard."""
    rig = Rig(form, "dry", 1.0)
    rig.die()
    rig.play()
    np.testing.assert_allclose(rig.play(), 0.5, atol=1e-6)
    rig.bypass(True)
    np.testing.assert_allclose(rig.play(), 0.5 + 0.5 * np.concatenate([UP, FLAT]), atol=1e-6)
    rig.bypass(False)
    np.testing.assert_allclose(rig.play(), 0.5 + 0.5 * np.concatenate([DOWN, 0 * FLAT]), atol=1e-6)


def test_once_a_bypass_ends_the_mix_stays_until_the_stems_are_steady(form: str) -> None:
    rig = Rig(form, "mute", 1.0, recover=3 * BLOCK)
    rig.bypass(True)
    for _ in range(2):
        rig.play()
    rig.bypass(False)
    for _ in range(2):
        np.testing.assert_allclose(rig.play(), 1, atol=1e-6)
    np.testing.assert_allclose(rig.play(), 1 + np.concatenate([UP, FLAT]), atol=1e-6)
    np.testing.assert_array_equal(rig.play(), 2)


def test_a_bypass_that_is_over_leaves_nothing_of_the_mix_in_the_next_overload(form: str) -> None:
    """A karaoke whose worker dies must not let the singer through for a moment."""
    rig = Rig(form, "mute", 1.0)
    rig.bypass(True)
    rig.play()
    rig.bypass(False)
    rig.play()
    np.testing.assert_array_equal(rig.play(), 2)
    rig.die()
    rig.separate(FADE)  # of which the next block is the first that has too little
    np.testing.assert_allclose(rig.play(), 2 * np.concatenate([DOWN, 0 * FLAT]), atol=1e-6)
    assert rig.link.counters[Counter.FADES] == 1
    assert not rig.play().any()


def test_a_fade_that_has_begun_goes_on_though_the_stems_are_back(form: str) -> None:
    """They must have been steady for a while; until then they would hang half way."""
    rig = Rig(form, "dry", recover=3 * BLOCK)
    four = np.ones((2, 4), np.float32)
    rig.die()
    rig.separate(FADE)
    weights = [rig.play(four)]
    rig.separate(2000)
    weights.append(rig.play(four))
    np.testing.assert_allclose(np.concatenate(weights), 2 * DOWN + 0.5 * (1 - DOWN), atol=1e-6)


def test_a_bypass_is_no_overload(form: str) -> None:
    rig = Rig(form, "dry")
    rig.bypass(True)
    before = int(rig.link.counters[Counter.DRY_BLOCKS])
    np.testing.assert_allclose(rig.play()[FADE:], 0.5, atol=1e-6)
    assert rig.link.counters[Counter.FADES] == 0
    assert rig.link.counters[Counter.DRY_BLOCKS] == before + 1


@pytest.mark.parametrize(("begin", "room", "lost"), [(6, 4000, [0, 0, 0]), (6, 9, [10, 16, 16]), (6, 10, [0, 16, 16])])
def test_gaps_of_a_recording_are_counted_by_the_frame(form: str, begin: int, room: int, lost: list[int]) -> None:
    """From the frame on at which it begins, not from the block's first."""
    rig = Rig(form, "dry", record=room)
    counters, samples = rig.link.counters, noise(3 * BLOCK)
    counters[Counter.RECORD_FROM] = counters[Counter.POSITION] + begin + 1
    found = []
    for number in range(3):
        before = int(counters[Counter.MIX_GAPS])
        rig.play(samples[:, number * BLOCK : (number + 1) * BLOCK])
        found.append(int(counters[Counter.MIX_GAPS]) - before)
    assert found == lost
    held = np.zeros((2, rig.link.mix.readable), np.float32)
    rig.link.mix.read(held)
    kept = (3 * BLOCK - begin) - sum(lost) if room > 100 else BLOCK - begin - lost[0]
    np.testing.assert_array_equal(held[:, :kept], samples[:, begin : begin + kept])
    assert not held[:, kept:].any()
