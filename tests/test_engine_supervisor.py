"""What is done about a dead worker and a lost device, by a clock that the test moves."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from streamsep.engine.link import Counter, Link, LinkShape
from streamsep.engine.supervisor import Backoff, Supervisor

HOP = 8


def test_tries_come_apart_twice_as_far_each_time_and_after_a_calm_as_at_first() -> None:
    backoff = Backoff(1.0, 4.0)
    tries = [now for now in np.arange(10, 30, 0.5) if backoff.due(now)]
    assert tries == [10, 11, 13, 17, 21, 25, 29]
    assert backoff.due(37.0)  # as long as twice the longest pause is no calm yet
    assert not backoff.due(40.5) and backoff.due(41.0)
    tries = [now for now in np.arange(49.5, 60, 0.5) if backoff.due(now)]
    assert tries == [49.5, 50.5, 52.5, 56.5]


def stand_in(**parts: Any) -> Any:
    """What has these parts alone."""
    return SimpleNamespace(**parts)


class Rig:
    """A supervisor between fakes: a host and a device whose state the test sets, and which keep what was asked."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now, self.calls = 100.0, list[str]()
        self.host = stand_in(alive=True, error=None, info=stand_in(hop=HOP), revive=self.revive)
        self.device = stand_in(lost=None, reopen=self.reopen)
        self.link = Link(LinkShape(2, 2, 400, 400))
        self.process = stand_in(silence=self.silence, longest_block=64, max_block=64, longest_input=32, input_block=32)
        self.desk = stand_in(reset=lambda: self.calls.append("reset"))
        self.revives = self.reopens = True
        monkeypatch.setattr("streamsep.engine.supervisor.time", stand_in(monotonic=lambda: self.now))
        self.supervisor = Supervisor(self.host, self.device, self.link, self.process, self.desk, patience=8.0)

    def revive(self) -> bool:
        self.calls.append("revive")
        return self.revives

    def reopen(self) -> bool:
        self.calls.append("reopen")
        if self.reopens:
            self.device.lost = None
        return self.reopens

    def silence(self, gone: bool) -> None:
        self.calls.append(f"gone {gone}")

    def after(self, seconds: float) -> tuple[list[str], list[str]]:
        """Look again so much later; what was asked of the others, and what was told."""
        self.now += seconds
        self.supervisor.watch()
        self.supervisor.stop(60)
        calls, self.calls = self.calls, []
        return calls, self.supervisor.events()


@pytest.fixture
def rig(monkeypatch: pytest.MonkeyPatch) -> Rig:
    return Rig(monkeypatch)


def test_a_dead_worker_is_started_anew_told_of_once_and_welcomed_back(rig: Rig) -> None:
    assert rig.after(1) == ([], [])
    rig.host.alive, rig.host.error = False, "boom"
    assert rig.after(1) == (["revive"], ["the worker has stopped (boom)", "the worker is started anew"])
    rig.host.error = None
    assert rig.after(1) == ([], [])  # it warms up
    rig.host.alive = True
    assert rig.after(1) == ([], ["the worker is back"])
    assert rig.supervisor.worker_restarts == 1


def test_a_worker_that_dies_again_and_again_is_started_ever_more_rarely(rig: Rig) -> None:
    rig.host.alive, rig.host.error = False, "boom"
    found = [bool(rig.after(0.125)[0]) for _ in range(48)]
    # Pauses of 0.2, 0.4, 0.8 and 1.6 seconds, and so on, to the eighth of a second.
    assert np.flatnonzero(found).tolist() == [0, 2, 6, 13, 26]
    assert rig.supervisor.worker_restarts == 5


def test_a_start_that_fails_is_neither_counted_nor_told(rig: Rig) -> None:
    rig.host.alive, rig.host.error, rig.revives = False, "boom", False
    assert rig.after(1) == (["revive"], ["the worker has stopped (boom)"])
    assert rig.after(0.3) == (["revive"], [])
    assert rig.supervisor.worker_restarts == 0


@pytest.mark.parametrize("progress", [None, Counter.STEPS, Counter.SKIPPED_HOPS])
def test_a_worker_that_leaves_hops_lying_is_stuck_after_a_while(rig: Rig, progress: Counter | None) -> None:
    rig.link.input.write(np.zeros((2, HOP), np.float32))
    assert rig.after(1) == ([], [])
    assert rig.after(8) == ([], [])
    if progress is not None:  # it is slow, not stuck
        rig.link.counters[progress] += 1
        assert rig.after(0.1) == ([], [])
        assert rig.after(8) == ([], [])
    assert rig.after(0.1) == (["revive"], ["the worker has stopped (it is stuck)", "the worker is started anew"])
    rig.link.counters[Counter.STEPS] += 1
    assert rig.after(1) == ([], ["the worker is back"])


def test_a_worker_that_took_long_to_load_is_not_stuck_as_it_comes(rig: Rig) -> None:
    """What has waited for it meanwhile is not its fault; from then on it has as long as any."""
    rig.link.input.write(np.zeros((2, HOP), np.float32))
    rig.after(1)
    rig.host.alive, rig.host.error = False, "boom"
    assert rig.after(1)[0] == ["revive"]
    rig.host.error = None
    for _ in range(3):
        assert rig.after(9) == ([], [])
    rig.host.alive = True
    assert rig.after(0.1) == ([], ["the worker is back"])
    assert rig.after(7.9) == ([], [])
    assert rig.after(0.2)[0] == ["revive"]


def test_a_worker_without_a_whole_hop_is_not_stuck(rig: Rig) -> None:
    rig.link.input.write(np.zeros((2, HOP - 1), np.float32))
    for _ in range(3):
        assert rig.after(9) == ([], [])
    rig.link.input.write(np.zeros((2, 1), np.float32))
    assert rig.after(8) == ([], [])  # it has had it for eight seconds at most
    assert rig.after(0.1)[0] == ["revive"]


def test_a_lost_device_is_silenced_and_looked_for_until_it_is_there(rig: Rig) -> None:
    rig.device.lost, rig.reopens = "unplugged", False
    assert rig.after(1) == (["gone True", "reopen"], ["the device is gone (unplugged); waiting for it"])
    back = [rig.supervisor.device_back]
    assert rig.after(0.2) == ([], [])
    assert rig.after(0.1) == (["reopen"], [])  # the next but half a second later
    assert rig.after(0.4) == ([], [])
    rig.reopens = True
    assert rig.after(0.1) == (["reopen", "reset", "gone False"], ["the device is back"])
    assert [*back, rig.supervisor.device_back] == [False, True]
    assert rig.after(1) == ([], [])
    rig.device.lost = "again"
    assert rig.after(20)[1] == ["the device is gone (again); waiting for it", "the device is back"]
    assert rig.supervisor.device_losses == 2


def test_a_period_that_has_grown_is_told_once(rig: Rig) -> None:
    assert rig.supervisor.events() == []
    rig.process.longest_block = 65
    (told,) = rig.supervisor.events()
    assert "blocks of 65 frames, and the queue was made for 64; start again" in told
    assert rig.supervisor.events() == []


def test_a_period_of_the_input_that_has_grown_is_told_once(rig: Rig) -> None:
    rig.process.longest_input = 33
    (told,) = rig.supervisor.events()
    assert told.startswith("the input device now delivers blocks of 33 frames, and the delay was made for 32")
    assert rig.supervisor.events() == []
