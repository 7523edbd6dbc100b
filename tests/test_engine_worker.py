"""The worker alone: order, lateness, overload, death, and its thread."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from torch import Tensor

from streamsep.engine.desk import Desk
from streamsep.engine.executor import make_executor
from streamsep.engine.host import Job
from streamsep.engine.link import Counter, Link, LinkShape
from streamsep.engine.session import Session
from streamsep.engine.stats import StepRecorder
from streamsep.engine.timing import budget
from streamsep.engine.worker import Worker
from tests.engine_toys import NAMES, SHARES, Audio, DelaySplit, noise

HOP, BLOCK, CATCH_UP = 8, 16, 80


class Rig:
    """A worker between two rings that the test fills and empties."""

    def __init__(self, separator: Any = None, max_chunk: int = 1, room: int = 4000) -> None:
        separator = separator or DelaySplit(HOP, 0)
        self.spend = budget(
            sample_rate=44100, hop=HOP, model=separator.latency, block=BLOCK, max_block=BLOCK, queue=1, fade=4, device=0
        )
        self.link = Link(LinkShape(2, 2, room, room, 8, 400))
        self.link.output.write_silence(self.spend.path)
        self.desk = Desk(NAMES, self.link.knobs)
        self.desk.clear()
        self.executor = make_executor("eager", separator, max_chunk=max_chunk)
        self.hire()
        self.collect()

    def hire(self) -> None:
        """A new worker on the same link."""
        self.worker = Worker(self.link, Session(self.executor, fade=4), Job(self.spend, CATCH_UP, ramp=1))

    def deliver(self, samples: Audio) -> None:
        self.link.input.write(samples)
        self.link.counters[Counter.POSITION] += samples.shape[1]

    def collect(self) -> Audio:
        out = np.zeros((2, self.link.output.readable), np.float32)
        self.link.output.read(out)
        return out

    def count(self, counter: Counter) -> int:
        return int(self.link.counters[counter])


@pytest.mark.parametrize("max_chunk", [1, 3])
def test_hops_come_out_in_order_and_the_rest_waits(max_chunk: int) -> None:
    rig, samples = Rig(max_chunk=max_chunk), noise(100)
    rig.deliver(samples[:, :30])
    rig.worker.pump()
    rig.deliver(samples[:, 30:])
    rig.worker.pump()
    np.testing.assert_allclose(rig.collect(), samples[:, :96], atol=1e-7)
    assert rig.link.input.readable == 4


def test_steps_are_counted_and_timed() -> None:
    rig = Rig(max_chunk=2)
    rig.deliver(noise(5 * HOP))
    rig.worker.pump()
    recorder = StepRecorder(rig.link.times)
    assert rig.count(Counter.STEPS) == recorder.count == 3
    times = recorder.summary(HOP, 44100)
    assert 0 < times.p50 <= times.longest


def test_knobs_take_effect_before_the_next_step() -> None:
    rig = Rig()
    rig.deliver(np.ones((2, HOP), np.float32))
    rig.worker.pump()
    rig.desk.set_mute("drums", True)
    rig.deliver(np.ones((2, HOP), np.float32))
    rig.worker.pump()
    out = rig.collect()[0]
    assert out[:HOP].tolist() == [1] * HOP
    assert out[HOP:].tolist() == [0.5] * HOP


def test_a_hop_is_late_once_its_first_frame_was_due() -> None:
    # Deadline: blocking 0 + one block of queue. The hop at frame 0 is due while 16 frames have been delivered.
    on_time, late = Rig(), Rig()
    on_time.deliver(noise(16))
    on_time.worker.pump()
    assert on_time.count(Counter.LATE_HOPS) == 0
    late.deliver(noise(16 + 9))
    late.worker.pump()
    # Hops at 0 and 8 are 9 and 1 frames late, the one at 16 is in time.
    assert late.count(Counter.LATE_HOPS) == 2


def test_lateness_of_a_chunk_is_counted_by_the_hop() -> None:
    rig = Rig(max_chunk=3)
    rig.deliver(noise(16 + 9))
    rig.worker.pump()
    assert rig.count(Counter.LATE_HOPS) == 2


def test_a_short_backlog_is_worked_off() -> None:
    rig, samples = Rig(), noise(96)
    rig.deliver(samples)
    rig.worker.pump()
    assert rig.count(Counter.SKIPPED_HOPS) == 0
    np.testing.assert_allclose(rig.collect(), samples, atol=1e-7)


def test_a_hopeless_backlog_is_skipped_and_indices_stay_absolute() -> None:
    rig, samples = Rig(DelaySplit(HOP, latency=16)), noise(1000)
    rig.deliver(samples[:, :400])
    rig.worker.pump()
    rig.deliver(samples[:, 400:])
    rig.worker.pump()
    skipped = rig.count(Counter.SKIPPED_HOPS)
    assert skipped > 20
    out = rig.collect()
    assert out.shape[1] == 1000
    # From the first hop that is in time on: the delayed input in its place.
    start = 1000 - 16 - HOP
    np.testing.assert_allclose(out[:, start:], samples[:, start - 16 : -16], atol=1e-7)


def test_skipping_keeps_late_hops_for_what_is_pending() -> None:
    rig = Rig(DelaySplit(HOP, latency=16))
    rig.deliver(noise(400))
    rig.worker.pump()
    # Frames up to 400 - 20 have been played without them: 47 hops, of which two run for the pending sound, one for the
    # fade.
    assert rig.count(Counter.SKIPPED_HOPS) == 44


class Broken(DelaySplit):
    """Fails at its third step."""

    def step(self, mix: Tensor, state: Any) -> tuple[Tensor, Any]:
        if int(state.steps[0]) == 2:
            raise RuntimeError("boom")
        return super().step(mix, state)


def test_death_is_told_and_leaves_the_rest_lying() -> None:
    rig = Rig(Broken(HOP, 0))
    rig.deliver(noise(5 * HOP))
    assert rig.worker.pump() == "RuntimeError: boom"
    assert rig.link.output.readable == 2 * HOP


def test_a_new_worker_goes_on_at_the_right_index() -> None:
    rig, samples = Rig(Broken(HOP, 0)), noise(5 * HOP)
    rig.deliver(samples)
    rig.worker.pump()  # dies with the third hop in hand
    rig.executor.separator = DelaySplit(HOP, 0)
    rig.hire()
    assert rig.worker.pump() is None
    expected = samples.copy()
    expected[:, 2 * HOP : 3 * HOP] = 0
    np.testing.assert_allclose(rig.collect(), expected, atol=1e-7)


def test_a_full_output_ring_costs_sound_but_never_shifts_it() -> None:
    rig, samples = Rig(room=64), noise(160)
    for start in (0, 32, 64):
        rig.deliver(samples[:, start : start + 32])
        assert rig.worker.pump() is None
    np.testing.assert_allclose(rig.collect(), samples[:, :64], atol=1e-7)
    rig.deliver(samples[:, 96:128])
    rig.worker.pump()
    expected = samples[:, 64:128].copy()
    expected[:, :32] = 0
    np.testing.assert_allclose(rig.collect(), expected, atol=1e-7)


def test_peaks_of_the_stems_are_kept_for_the_reader() -> None:
    rig = Rig()
    for level in (0.25, -1.0, 0.5):
        rig.deliver(np.full((2, HOP), level, np.float32))
        rig.worker.pump()
    assert rig.link.meters[:4].tolist() == list(SHARES)


@pytest.mark.parametrize("max_chunk", [1, 3])
def test_stems_are_recorded_from_the_given_frame_on_before_their_gains(max_chunk: int) -> None:
    rig, samples = Rig(max_chunk=max_chunk), noise(64)
    rig.desk.set_gain("bass", 0.0)
    rig.link.stems.write_silence(5)
    rig.link.counters[Counter.RECORD_FROM], rig.link.counters[Counter.RECORD_STEMS] = 2 * HOP + 1, 5
    rig.deliver(samples)
    rig.worker.pump()
    out = np.zeros((8, rig.link.stems.readable), np.float32)
    rig.link.stems.read(out)
    expected = np.repeat(samples[None, :, 2 * HOP :], 4, 0) * np.array(SHARES, np.float32)[:, None, None]
    np.testing.assert_array_equal(out[:, 5:], expected.reshape(8, -1))


def test_without_a_recording_nothing_is_kept_for_one() -> None:
    rig = Rig()
    rig.deliver(noise(64))
    rig.worker.pump()
    assert rig.link.stems.written == 0


def test_a_recording_that_does_not_keep_up_holds_up_nobody() -> None:
    rig, samples = Rig(), noise(600)
    rig.link.counters[Counter.RECORD_FROM] = HOP + 1
    rig.deliver(samples)
    rig.worker.pump()
    assert rig.link.output.readable == 600
    assert rig.link.stems.written == 400
    rig.link.stems.skip(400)
    rig.deliver(samples[:, :HOP])
    rig.worker.pump()
    out = np.zeros((8, 200), np.float32)
    assert rig.link.stems.read(out) == 200
    np.testing.assert_array_equal(out[:2, :192], 0)
    np.testing.assert_array_equal(out[:2, 192:], samples[:, :HOP] * np.float32(0.5))


def test_what_follows_skipped_hops_fades_in() -> None:
    """The model has not heard what was skipped, so its input jumps there."""
    rig, ones = Rig(), np.ones((2, 400), np.float32)
    rig.deliver(ones)
    rig.worker.pump()
    out = rig.collect()[0]
    first = int(np.flatnonzero(out)[0])
    assert first == HOP * rig.count(Counter.SKIPPED_HOPS) > 300
    np.testing.assert_allclose(out[first : first + 4], [0.25, 0.5, 0.75, 1], atol=1e-6)
    assert (out[first + 4 :] == 1).all()


class Hiccup(DelaySplit):
    """Answers nonsense to a hop that exceeds 10."""

    def step(self, mix: Tensor, state: Any) -> tuple[Tensor, Any]:
        sources, state = super().step(mix, state)
        return (sources * float("nan") if mix.max() > 10 else sources), state


def test_recoveries_are_counted_once_whoever_saw_them() -> None:
    rig, hop = Rig(Hiccup(HOP, 0)), np.ones((2, HOP), np.float32)
    found = []
    for gain in (1, 20, 1, 1, 20, 1):
        rig.deliver(gain * hop)
        rig.worker.pump()
        found.append(rig.count(Counter.RECOVERIES))
    assert found == [0, 1, 1, 1, 2, 2]
    rig.worker = Worker(rig.link, rig.worker._session, Job(rig.spend, CATCH_UP, ramp=1))
    rig.deliver(hop)
    rig.worker.pump()
    assert rig.count(Counter.RECOVERIES) == 2


def test_a_result_that_finds_no_room_costs_the_recording_as_many_frames_as_it_had() -> None:
    rig = Rig(max_chunk=3)
    rig.link.counters[Counter.RECORD_FROM] = HOP + 3 + 1
    rig.link.counters[Counter.RECORD_STEMS] = 400 - 3 * HOP + 12
    rig.link.stems.write_silence(400 - 3 * HOP + 12)  # room for 12 frames; 13 come
    rig.deliver(noise(3 * HOP))
    rig.worker.pump()
    assert rig.count(Counter.STEM_GAPS) == 3 * HOP - HOP - 3
