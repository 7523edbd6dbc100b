"""Messages to a running stream: small enough to pass between threads or processes without a lock."""

from __future__ import annotations

from collections import deque
from enum import IntEnum
from typing import NamedTuple

from streamsep.engine.mixer import Mixer
from streamsep.engine.session import Session


class Knob(IntEnum):
    """What a message turns."""

    GAIN = 0
    MUTE = 1
    SOLO = 2
    RESET = 3


class Message(NamedTuple):
    """One turn of a knob: a linear gain, or 0 and 1 for off and on; RESET needs neither stem nor value."""

    knob: Knob
    stem: int = 0
    value: float = 0.0


class Controls:
    """A queue of messages from any thread to the worker, which drains it between steps."""

    def __init__(self) -> None:
        self._messages: deque[Message] = deque()

    def send(self, message: Message) -> None:
        """Leave a message; it takes effect before the worker's next step."""
        self._messages.append(message)

    def drain(self, session: Session, mixer: Mixer) -> None:
        """Carry out all waiting messages, in order."""
        while self._messages:
            apply_message(self._messages.popleft(), session, mixer)


def apply_message(message: Message, session: Session, mixer: Mixer) -> None:
    """Carry out one message."""
    match message.knob:
        case Knob.GAIN:
            mixer.set_gain(message.stem, message.value)
        case Knob.MUTE:
            mixer.set_mute(message.stem, bool(message.value))
        case Knob.SOLO:
            mixer.set_solo(message.stem, bool(message.value))
        case Knob.RESET:
            session.reset()
