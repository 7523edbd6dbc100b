"""The callback alone, with a worker played by the test: what is heard when results come, come late, or never come."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from streamsep.engine.callback import Callback, DelayLine, OnOverload
from streamsep.engine.compiled_callback import compiled_handle, make_state
from streamsep.engine.link import Counter, Link, LinkShape
from streamsep.engine.timing import LatencyBudget, budget
from tests.engine_toys import Audio, delayed, noise, tone

BLOCK, FADE = 16, 8
SPEND = budget(sample_rate=44100, hop=8, model=8, block=BLOCK, max_block=BLOCK, queue=1, fade=FADE, device=0)


class CompiledCallback:
    """The compiled form with the interface of the other."""

    def __init__(
        self,
        link: Link,
        spend: LatencyBudget,
        *,
        max_block: int,
        on_overload: OnOverload = "dry",
        recover: int = 0,
    ) -> None:
        self._counters, self._max_block = link.counters, max_block
        self._state = make_state(link, spend, max_block, on_overload, recover)

    def __call__(self, indata: Audio, outdata: Audio, xrun: bool = False) -> None:
        self._counters[Counter.XRUNS] += xrun
        for start in range(0, indata.shape[1], self._max_block):
            block = np.ascontiguousarray(indata[:, start : start + self._max_block])
            out = np.zeros((len(outdata), block.shape[1]), np.float32)
            compiled_handle()(self._state, block, out, block.shape[1])
            outdata[:, start : start + self._max_block] = out


class Rig:
    """A callback whose worker hands the input on, twice as loud, whenever it is told to work."""

    kind: type[Callback] | type[CompiledCallback] = Callback

    def __init__(self, on_overload: OnOverload = "dry", recover: int = 0, outputs: int = 2, room: int = 4000) -> None:
        self.budget: LatencyBudget = SPEND
        self.link = Link(LinkShape(2, outputs, room, room + self.budget.path + BLOCK, record_frames=room))
        self.link.output.write_silence(self.budget.path)
        self.callback = self.kind(self.link, SPEND, max_block=BLOCK, on_overload=on_overload, recover=recover)
        self.pairs = outputs // 2
        self._model = DelayLine(2, self.budget.model, room)

    def work(self) -> None:
        waiting = np.zeros((2, self.link.input.readable // 8 * 8), np.float32)
        self.link.input.read(waiting)
        late = np.zeros_like(waiting)
        self._model.process(waiting, late)
        self.link.output.write(np.tile(2 * late, (self.pairs, 1)))

    def play(self, samples: Audio, idle: range = range(0)) -> Audio:
        """Run `samples` through; the worker does nothing after the blocks in `idle`."""
        played = []
        for number in range(samples.shape[1] // BLOCK):
            out = np.full((self.link.output.channels, BLOCK), np.nan, np.float32)
            self.callback(samples[:, number * BLOCK : (number + 1) * BLOCK], out)
            if number not in idle:
                self.work()
            played.append(out)
        return np.concatenate(played, axis=1)

    def count(self, counter: Counter) -> int:
        return int(self.link.counters[counter])


@pytest.fixture(autouse=True, params=[Callback, CompiledCallback])
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test here is held against both forms of the callback."""
    monkeypatch.setattr(Rig, "kind", request.param)


def wet_weight(played: Audio) -> Audio:
    """The share of separated sound, which is 2 where the dry is 1: played = 1 + w."""
    return played - 1


def test_in_time_the_separated_sound_alone_is_heard() -> None:
    rig, samples = Rig(), noise(40 * BLOCK)
    played = rig.play(samples)
    np.testing.assert_array_equal(played, 2 * delayed(samples, SPEND.lag, played.shape[1]))
    assert rig.count(Counter.FADES) == rig.count(Counter.DRY_BLOCKS) == 0


@pytest.mark.parametrize("first", [None, 0, 1, BLOCK, 3 * BLOCK - 1])
def test_a_recording_begins_at_its_frame(first: int | None) -> None:
    rig, samples = Rig(), noise(10 * BLOCK)
    if first is not None:
        rig.link.counters[Counter.RECORD_FROM] = first + 1
    rig.play(samples)
    recorded = np.zeros((2, rig.link.mix.readable), np.float32)
    rig.link.mix.read(recorded)
    np.testing.assert_array_equal(recorded, samples[:, samples.shape[1] if first is None else first :])


@pytest.mark.parametrize("length", [1, 2, 5, 20])
def test_a_late_worker_is_heard_as_dry_at_the_same_delay(length: int) -> None:
    rig = Rig()
    ones = np.ones((2, 60 * BLOCK), np.float32)
    weight = wet_weight(rig.play(ones, range(10, 10 + length)))[0, SPEND.lag :]
    assert np.abs(np.diff(weight)).max() <= 1 / FADE + 1e-6, "a click"
    assert (weight[: 9 * BLOCK - SPEND.lag] == 1).all()
    assert weight.min() == 0
    assert (weight[-20 * BLOCK :] == 1).all()
    assert rig.count(Counter.FADES) == 1


def test_after_an_overload_the_delay_is_what_it_was() -> None:
    rig, samples = Rig(), noise(60 * BLOCK)
    played = rig.play(samples, range(10, 14))
    expected = 2 * delayed(samples, SPEND.lag, played.shape[1])
    np.testing.assert_array_equal(played[:, 20 * BLOCK :], expected[:, 20 * BLOCK :])
    np.testing.assert_array_equal(played[:, : 10 * BLOCK], expected[:, : 10 * BLOCK])


def test_a_dead_worker_leaves_the_delayed_mix() -> None:
    rig, samples = Rig(), noise(60 * BLOCK)
    played = rig.play(samples, range(20, 60))
    expected = delayed(samples, SPEND.lag, played.shape[1])
    np.testing.assert_array_equal(played[:, 25 * BLOCK :], expected[:, 25 * BLOCK :])
    assert rig.count(Counter.FADES) == 1


def test_mute_leaves_silence_without_a_click() -> None:
    rig, samples = Rig("mute"), tone(60 * BLOCK)
    played = rig.play(samples, range(20, 40))
    assert np.abs(played[:, 25 * BLOCK : 40 * BLOCK]).max() == 0
    assert np.abs(np.diff(played)).max() <= 1.0 / FADE + 2 * np.abs(np.diff(samples)).max()
    np.testing.assert_array_equal(played[:, 45 * BLOCK :], 2 * delayed(samples, SPEND.lag, 60 * BLOCK)[:, 45 * BLOCK :])


def test_the_separated_sound_waits_for_a_steady_worker() -> None:
    rig = Rig(recover=6 * BLOCK)
    ones = np.ones((2, 60 * BLOCK), np.float32)
    weight = wet_weight(rig.play(ones, range(20, 22)))[0]
    fell, rose = int(np.argmax(weight[25 * BLOCK // 2 :] < 1)) + 25 * BLOCK // 2, np.flatnonzero(weight == 0)[-1]
    assert rose - fell >= 6 * BLOCK
    assert (weight[-BLOCK:] == 1).all()
    rising = weight[fell:]
    assert np.count_nonzero(np.diff(np.sign(np.diff(rising)[np.diff(rising) != 0]))) == 1, "one way down, one way up"


@pytest.mark.parametrize("pattern", [[1], [3, 16, 7], [50, 1]])
def test_blocks_of_any_size_fade_without_a_click(pattern: list[int]) -> None:
    spend = budget(sample_rate=44100, hop=8, model=8, block=None, max_block=BLOCK, queue=4, fade=FADE, device=0)
    rig = Rig()
    rig.link = Link(LinkShape(2, 2, 4000, 4000))
    rig.link.output.write_silence(spend.path)
    rig.callback = rig.kind(rig.link, spend, max_block=BLOCK)
    played, number, position = [], 0, 0
    while position < 1200:
        frames = pattern[number % len(pattern)]
        out = np.full((2, frames), np.nan, np.float32)
        rig.callback(np.ones((2, frames), np.float32), out)
        if not 300 < position < 700:
            rig.work()
        played.append(out)
        number, position = number + 1, position + frames
    weight = wet_weight(np.concatenate(played, axis=1))[0, spend.lag :]
    assert np.abs(np.diff(weight)).max() <= 1 / FADE + 1e-6
    assert weight.min() == 0
    assert weight[-1] == weight[0] == 1


def test_dry_spread_over_stems_still_adds_up_to_the_mix() -> None:
    rig, samples = Rig(outputs=8), noise(40 * BLOCK)
    played = rig.play(samples, range(10, 40))[:, 20 * BLOCK :]
    expected = delayed(samples, SPEND.lag, 40 * BLOCK)[:, 20 * BLOCK :]
    np.testing.assert_allclose(played.reshape(4, 2, -1).sum(axis=0), expected, atol=1e-7)


def test_a_stuck_worker_that_comes_back_finds_every_index_where_it_belongs() -> None:
    rig, samples = Rig(room=100), noise(100 * BLOCK)
    played = rig.play(samples, range(20, 50))
    assert rig.count(Counter.LOST_FRAMES) > 0
    expected = 2 * delayed(samples, SPEND.lag, played.shape[1])
    np.testing.assert_array_equal(played[:, -20 * BLOCK :], expected[:, -20 * BLOCK :])


def test_what_a_new_worker_never_heard_is_not_faded_to() -> None:
    rig = Rig()
    ones = np.ones((2, 60 * BLOCK), np.float32)
    rig.play(ones[:, : 10 * BLOCK])
    rig.link.counters[Counter.SEAM] = rig.link.output.written
    rig.link.counters[Counter.BLIND] = 20 * BLOCK
    weight = wet_weight(rig.play(ones))[0]
    known = 10 * BLOCK + SPEND.lag
    assert (weight[BLOCK:known] == 0).all()
    assert weight[known + BLOCK + FADE] == 1
    assert np.abs(np.diff(weight)).max() <= 1 / FADE + 1e-6
    assert rig.count(Counter.FADES) == 1


@pytest.mark.parametrize("left", range(FADE, BLOCK + FADE))
def test_a_new_worker_that_comes_before_the_old_results_end_is_faded_from_in_time(left: int) -> None:
    rig = Rig()
    ones, output = np.ones((2, 20 * BLOCK), np.float32), rig.link.output
    parts = [rig.play(ones)]
    output.write(2 * ones[:, : (left - output.readable) % BLOCK])
    while output.readable > left:
        parts.append(rig.play(ones[:, :BLOCK], range(1)))
    rig.link.counters[Counter.SEAM] = output.written
    rig.link.counters[Counter.BLIND] = rig.count(Counter.POSITION)
    output.write_silence(10 * BLOCK)
    parts.append(rig.play(ones[:, : SPEND.lag // BLOCK * BLOCK], range(20)))
    weight = wet_weight(np.concatenate(parts, axis=1))[0, 10 * BLOCK :]
    assert weight[0] == 1 and weight[-1] == 0
    assert np.abs(np.diff(weight)).max() <= 1 / FADE + 1e-6


def test_what_is_not_finite_is_silence_for_worker_and_dry_line() -> None:
    rig, samples = Rig(), noise(40 * BLOCK)
    samples[:, 5 * BLOCK : 6 * BLOCK] = np.nan
    samples[0, 20 * BLOCK] = np.inf
    played = rig.play(samples, range(8, 12))
    assert np.isfinite(played).all()
    assert np.abs(played).max() <= 1.0
    assert np.isnan(samples[:, 5 * BLOCK]).all(), "the device's buffer is not ours to write"


def test_flagged_blocks_are_counted() -> None:
    rig = Rig()
    block = np.zeros((2, BLOCK), np.float32)
    for xrun in (False, True, True):
        rig.callback(block, np.zeros_like(block), xrun)
    assert rig.count(Counter.XRUNS) == 2
    assert rig.count(Counter.POSITION) == 3 * BLOCK


def test_a_block_allocates_no_audio() -> None:
    spend = budget(sample_rate=44100, hop=512, model=512, block=4096, max_block=4096, queue=1, fade=64, device=0)
    link = Link(LinkShape(2, 8, 40960, 81920))
    link.output.write_silence(81920)
    callback = Callback(link, spend, max_block=4096)
    block, out = np.ones((2, 4096), np.float32), np.zeros((8, 4096), np.float32)
    callback(block, out)
    tracemalloc.start()
    for _ in range(30):  # separated sound runs out on the way: every branch is taken
        callback(block, out)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert link.counters[Counter.FADES] == 1
    assert peak < block.nbytes / 4


@pytest.mark.parametrize("delay", [0, 1, 7, 40])
def test_delay_line(delay: int) -> None:
    line, samples = DelayLine(2, delay, 9), noise(200)
    outputs = []
    position = 0
    for frames in [1, 9, 4, 7] * 9:
        out = np.zeros((2, frames), np.float32)
        line.process(samples[:, position : position + frames], out)
        outputs.append(out)
        position += frames
    np.testing.assert_array_equal(np.concatenate(outputs, axis=1), delayed(samples, delay, position))
