"""The worker alone: order, lateness, overload, death, and its thread."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from streamsep.engine.control import Controls, Knob, Message
from streamsep.engine.doorbell import make_doorbell
from streamsep.engine.executor import make_executor
from streamsep.engine.link import Counter, Link
from streamsep.engine.mixer import Mixer
from streamsep.engine.session import Session
from streamsep.engine.timing import budget
from streamsep.engine.worker import Worker, WorkerThread
from tests.engine_toys import NAMES, Audio, DelaySplit, noise

HOP, BLOCK, CATCH_UP = 8, 16, 80


class Rig:
    """A worker between two rings that the test fills and empties."""

    def __init__(self, separator: Any = None, max_chunk: int = 1, room: int = 4000) -> None:
        separator = separator or DelaySplit(HOP, 0)
        self.spend = budget(
            sample_rate=44100, hop=HOP, model=separator.latency, block=BLOCK, max_block=BLOCK, queue=1, fade=4, device=0
        )
        self.link = Link(2, 2, room, room)
        self.session = Session(make_executor("eager", separator, max_chunk=max_chunk), fade=4)
        self.controls, self.mixer = Controls(), Mixer(NAMES, "mix", ramp=1)
        self.worker = Worker(self.link, self.session, self.mixer, self.controls, self.spend, CATCH_UP)

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
    assert rig.worker.error is None


def test_steps_are_counted_and_timed() -> None:
    rig = Rig(max_chunk=2)
    rig.deliver(noise(5 * HOP))
    rig.worker.pump()
    assert rig.count(Counter.STEPS) == rig.worker.recorder.count == 3
    times = rig.worker.recorder.summary(HOP, 44100)
    assert 0 < times.p50 <= times.longest


def test_messages_take_effect_before_the_next_step() -> None:
    rig = Rig()
    rig.deliver(np.ones((2, HOP), np.float32))
    rig.worker.pump()
    rig.controls.send(Message(Knob.MUTE, 0, 1.0))
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


def test_death_is_noticed_and_final() -> None:
    rig = Rig(Broken(HOP, 0))
    rig.deliver(noise(5 * HOP))
    rig.worker.pump()
    assert str(rig.worker.error) == "boom"
    rig.worker.pump()
    assert rig.link.output.readable == 2 * HOP


def test_a_full_output_ring_is_an_error_not_a_shift() -> None:
    rig = Rig(room=64)
    for _ in range(3):
        rig.deliver(noise(32))
        rig.worker.pump()
    assert "output ring is full" in str(rig.worker.error)


def test_thread_warms_up_then_works_until_it_is_stopped() -> None:
    rig, bell, samples = Rig(), make_doorbell(), noise(80)
    thread = WorkerThread(rig.worker, bell)
    thread.start()
    assert thread.alive
    rig.deliver(samples)
    bell.ring()
    while thread.alive and rig.link.output.readable < 80:
        time.sleep(0.001)
    thread.stop()
    assert rig.worker.error is None
    np.testing.assert_allclose(rig.collect(), samples, atol=1e-7)
    bell.close()


def test_thread_that_cannot_warm_up_is_dead_on_arrival() -> None:
    rig, bell = Rig(Broken(HOP, 0)), make_doorbell()
    thread = WorkerThread(rig.worker, bell, warm_up=5)
    thread.start()
    assert not thread.alive
    assert str(rig.worker.error) == "boom"
    thread.stop()
    bell.close()


def test_pump_leaves_the_caller_s_thread_as_it_was() -> None:
    rig = Rig()
    rig.deliver(noise(HOP))
    rig.worker.pump()
    assert not torch.is_inference_mode_enabled()
