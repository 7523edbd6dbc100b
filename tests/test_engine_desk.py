"""The desk: gain, mute and solo combine, and reach mixer and session through shared memory."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from streamsep.engine.desk import Desk, DeskFollower
from streamsep.engine.executor import make_executor
from streamsep.engine.link import KNOBS
from streamsep.engine.mixer import Mixer, from_decibels
from streamsep.engine.session import Session
from streamsep.errors import StreamsepError
from tests.engine_toys import NAMES, DelaySplit


def make_desk() -> Desk:
    desk = Desk(NAMES)
    desk.clear()
    return desk


def heard(mixer: Mixer) -> list[float]:
    mixer.settle()
    return mixer.process(np.ones((4, 2, 1), np.float32))[::2, 0].tolist()


def test_mute_and_solo_combine_and_keep_the_gain() -> None:
    desk = make_desk()
    desk.set_gain("vocals", 0.5)
    desk.set_mute("drums", True)
    assert desk.levels().tolist() == [0, 1, 1, 0.5]
    desk.set_solo("vocals", True)
    desk.set_solo("drums", True)
    assert desk.levels().tolist() == [0, 0, 0, 0.5]
    desk.set_mute("drums", False)
    assert desk.levels().tolist() == [1, 0, 0, 0.5]
    desk.set_solo("drums", False)
    desk.set_solo("vocals", False)
    assert desk.levels().tolist() == [1, 1, 1, 0.5]


def test_knobs_read_back_what_was_set() -> None:
    desk = make_desk()
    assert [(desk.gain(n), desk.muted(n), desk.soloed(n)) for n in NAMES] == [(1.0, False, False)] * 4
    desk.set_gain("bass", 0.25)
    desk.set_mute("other", True)
    desk.set_solo("drums", True)
    assert [desk.gain(n) for n in NAMES] == [1, 0.25, 1, 1]
    assert [desk.muted(n) for n in NAMES] == [False, False, True, False]
    assert [desk.soloed(n) for n in NAMES] == [True, False, False, False]


def test_a_follower_starts_where_the_knobs_are_and_then_follows() -> None:
    memory = np.zeros(KNOBS)
    desk, far_end = Desk(NAMES, memory), Desk(NAMES, memory)
    desk.clear()
    desk.set_gain("bass", 0.25)
    mixer = Mixer(NAMES, "stems", ramp=1000)
    follower = DeskFollower(far_end, Session(make_executor("eager", DelaySplit())), mixer)
    assert mixer.process(np.ones((4, 2, 1), np.float32))[::2, 0].tolist() == [1, 0.25, 1, 1]
    desk.set_gain("bass", 0.5)
    desk.set_mute("other", True)
    assert heard(mixer) == [1, 0.25, 1, 1]
    follower.follow()
    assert heard(mixer) == [1, 0.5, 0, 1]


def test_an_untouched_desk_leaves_a_ramp_alone() -> None:
    desk, mixer = make_desk(), Mixer(NAMES, "stems", ramp=100)
    follower = DeskFollower(desk, Session(make_executor("eager", DelaySplit())), mixer)
    desk.set_gain("drums", 0.0)
    follower.follow()
    first = mixer.process(np.ones((4, 2, 50), np.float32))[0, -1]
    follower.follow()
    assert first == pytest.approx(0.5)
    assert mixer.process(np.ones((4, 2, 50), np.float32))[0, -1] == 0


def test_a_reset_empties_the_session_once() -> None:
    session, desk = Session(make_executor("eager", DelaySplit(8, 16)), fade=4), make_desk()
    desk.reset()  # of the time before the follower: nothing to forget
    follower = DeskFollower(desk, session, Mixer(NAMES))
    session.process(torch.ones(1, 2, 8))
    follower.follow()
    session.process(torch.zeros(1, 2, 8))
    assert session.process(torch.zeros(1, 2, 8)).abs().max() == 1 / 2
    session.process(torch.ones(1, 2, 8))
    desk.reset()
    follower.follow()
    session.process(torch.zeros(1, 2, 8))
    assert session.process(torch.zeros(1, 2, 8)).abs().max() == 0


@pytest.mark.parametrize("gain", [float("nan"), float("inf"), -0.5])
def test_a_gain_that_means_nothing_is_refused_and_the_old_one_stays(gain: float) -> None:
    desk = make_desk()
    desk.set_gain("bass", 0.25)
    with pytest.raises(StreamsepError, match="choose a finite one, from 0 for silence"):
        desk.set_gain("bass", gain)
    assert desk.gain("bass") == 0.25
    desk.set_gain("bass", from_decibels(float("-inf")))
    assert desk.gain("bass") == 0


def test_unknown_stems_and_too_many_are_refused() -> None:
    with pytest.raises(StreamsepError, match="drums, bass, other, vocals"):
        make_desk().set_gain("guitar", 1.0)
    with pytest.raises(StreamsepError, match="16 strips"):
        Desk(tuple(f"stem {i}" for i in range(17)))
