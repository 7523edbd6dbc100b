"""Steps beside their control, by a clock that goes as it is told."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch

from streamsep.bench import steps
from streamsep.bench.steps import idle_step, in_a_row, in_real_time, joined, sound, stepper
from streamsep.engine.executor import EagerExecutor
from tests.engine_toys import DelaySplit


class Clock:
    """Time passes where something takes it."""

    def __init__(self, oversleep: float = 0.0) -> None:
        self.now, self.oversleep = 100.0, oversleep

    def perf_counter(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        if seconds > 0:
            self.now += seconds + self.oversleep

    def takes(self, *seconds: float) -> Any:
        """A step that takes so long, each time something else."""
        turn = iter(seconds)
        return lambda: setattr(self, "now", self.now + next(turn))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    found = Clock()
    monkeypatch.setattr(steps, "time", found)
    return found


def test_a_stepper_goes_on_with_its_state_and_sound() -> None:
    executor = EagerExecutor(DelaySplit(hop=22050))
    heard: list[tuple[torch.Tensor, Any]] = []
    executor.separator.step = lambda mix, state: heard.append((mix, state)) or (mix, len(heard))  # type: ignore
    step = stepper(executor, 0)
    for _ in range(5):
        step()
    assert [state for _, state in heard] == [0, 1, 2, 3, 4]
    assert [mix.shape for mix, _ in heard] == [(1, 2, 22050)] * 5  # two seconds are four of these hops
    assert torch.equal(heard[0][0], heard[4][0]) and not torch.equal(heard[0][0], heard[1][0])


def test_the_sound_swells_and_falls_silent() -> None:
    hops = sound(512, 44100, batch=3)
    levels = [float(hop.square().mean().sqrt()) for hop in hops]
    assert len(hops) == 173 and hops[0].shape == (3, 2, 512)
    assert levels[0] < 1e-4 and levels[-1] < 1e-4 and levels[86] == pytest.approx(0.3, rel=0.1)


def test_in_a_row(clock: Clock) -> None:
    found = in_a_row(clock.takes(1.0, 3.0, 2.0), 3, hop_seconds=2.0, control=clock.takes(0.25, 0.5, 0.75))
    assert found.steps.tolist() == [1.0, 3.0, 2.0] and found.control.tolist() == [0.25, 0.5, 0.75]
    assert found.late.tolist() == [False, True, False]
    assert clock.now == 107.5
    assert len(in_a_row(clock.takes(1.0), 1, 2.0).control) == 0


def test_step_and_control_take_either_place() -> None:
    played: list[str] = []
    in_a_row(lambda: played.append("s"), 200, 1.0, lambda: played.append("c"))
    pairs = ["".join(played[k : k + 2]) for k in range(0, 400, 2)]
    assert set(pairs) == {"sc", "cs"} and 60 < pairs.count("sc") < 140


def test_in_real_time(clock: Clock) -> None:
    """The second step outlasts its hop; the third begins late for that, not for the machine, and is done in time."""
    clock.oversleep = 0.125
    found = in_real_time(clock.takes(0.25, 1.5, 0.25, 0.875), 4, hop_seconds=1.0)
    assert found.steps.tolist() == [0.25, 1.5, 0.25, 0.875]
    assert found.control.tolist() == [0.125, 0.125, 0.0, 0.125]
    assert found.late.tolist() == [False, True, False, False]
    assert clock.now == 105.0  # a step that ends with its hop is in time


def test_bouts_are_joined(clock: Clock) -> None:
    bouts = [in_a_row(clock.takes(k), 1, 1.5, clock.takes(10 * k)) for k in (1.0, 2.0)]
    both = joined(bouts)
    assert (both.steps.tolist(), both.control.tolist(), both.late.tolist()) == ([1, 2], [10, 20], [False, True])


@pytest.mark.parametrize("seconds", [0.001, 0.004])
def test_idle_steps_are_as_long_as_they_are_meant_to_be(
    seconds: float, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a machine that takes a microsecond for a round and is elsewhere for a while, most times."""
    elsewhere = itertools.cycle([5.0, 0.0, 0.25])
    monkeypatch.setattr(steps, "_loop", lambda rounds: clock.takes(1e-6 * rounds + next(elsewhere))())
    idle = idle_step(seconds)
    assert min(steps.seconds_of(idle) for _ in range(3)) == pytest.approx(seconds, rel=1e-6)
