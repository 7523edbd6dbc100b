"""Messages reach mixer and session in order."""

from __future__ import annotations

import numpy as np
import torch

from streamsep.engine.control import Controls, Knob, Message
from streamsep.engine.executor import make_executor
from streamsep.engine.mixer import Mixer
from streamsep.engine.session import Session
from tests.engine_toys import NAMES, DelaySplit


def levels(mixer: Mixer) -> list[float]:
    mixer.settle()
    return mixer.process(np.ones((4, 2, 1), np.float32))[::2, 0].tolist()


def test_each_knob_turns_what_it_says_and_the_last_turn_wins() -> None:
    session, mixer, controls = Session(make_executor("eager", DelaySplit())), Mixer(NAMES, "stems"), Controls()
    for message in (Message(Knob.GAIN, 1, 0.25), Message(Knob.GAIN, 1, 0.5), Message(Knob.MUTE, 2, 1.0)):
        controls.send(message)
    assert levels(mixer) == [1, 1, 1, 1]
    controls.drain(session, mixer)
    assert levels(mixer) == [1, 0.5, 0, 1]
    controls.send(Message(Knob.SOLO, 3, 1.0))
    controls.send(Message(Knob.MUTE, 2, 0.0))
    controls.drain(session, mixer)
    assert levels(mixer) == [0, 0, 0, 1]


def test_reset_empties_the_session() -> None:
    session, controls = Session(make_executor("eager", DelaySplit(8, 16)), fade=4), Controls()
    session.process(torch.ones(1, 2, 8))
    controls.send(Message(Knob.RESET))
    controls.drain(session, Mixer(NAMES))
    session.process(torch.zeros(1, 2, 8))
    assert session.process(torch.zeros(1, 2, 8)).abs().max() == 0
