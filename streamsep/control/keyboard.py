"""The keys of a computer as a mixing desk: which key does what; `key_reader` brings the keys."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial

from streamsep.control.actions import Actions
from streamsep.errors import StreamsepError

DIGITS = "123456789"
# What Shift makes of the digits differs by layout; this is the US one. On others there is `s`.
SHIFTED = "!@#$%^&*("
STEP = 1.0  # dB
_KEYS = (
    ("left, right, Tab", "select a stem; then"),
    ("up, down, +, -", "its gain, by 1 dB"),
    ("0", "its gain back to 0 dB"),
    ("m, s", "mute it, solo it"),
    ("b", "bypass: the dry mix"),
    ("p or Space", "panic: silence, and back"),
    ("r", "reset the model, as for a new song"),
    ("R", "record, and stop recording"),
    ("q", "quit"),
    ("?", "show or hide this"),
)


def keys_of(stems: int) -> tuple[tuple[str, str], ...]:
    """(keys, what they do) for the keyboard of a model with that many stems, for people."""
    digits = "1" if stems == 1 else f"1 to {min(stems, len(DIGITS))}"
    return (digits, "mute or unmute a stem, and select it"), (f"Shift + {digits}", "solo a stem"), *_KEYS


class Keyboard:
    """Turns keys into actions; a key without a meaning does nothing.

    Keys are characters, or one of the words left, right, up, down.
    """

    def __init__(self, actions: Actions) -> None:
        self._actions = actions
        self._take: threading.Thread | None = None
        self._meanings: dict[str, Callable[[], None]] = {
            "right": actions.select_next,
            "\t": actions.select_next,
            "left": partial(actions.select_next, -1),
            "up": partial(actions.nudge_gain, STEP),
            "down": partial(actions.nudge_gain, -STEP),
            "+": partial(actions.nudge_gain, STEP),
            "=": partial(actions.nudge_gain, STEP),  # + without shift on a US keyboard
            "-": partial(actions.nudge_gain, -STEP),
            "0": partial(actions.set_gain, 0.0),
            "m": actions.toggle_mute,
            "s": actions.toggle_solo,
            "b": actions.toggle_bypass,
            "p": actions.toggle_panic,
            " ": actions.toggle_panic,
            "r": actions.reset,
            "R": self._toggle_recording,
            "q": actions.end,
            "?": actions.toggle_help,
        }
        for stem, (digit, shifted) in enumerate(zip(DIGITS, SHIFTED, strict=True)):
            if stem < len(actions.sources):
                self._meanings[digit] = partial(actions.toggle_mute, stem)
                self._meanings[shifted] = partial(actions.toggle_solo, stem)

    def press(self, key: str) -> None:
        """Do what `key` means."""
        if key in self._meanings:
            self._do(self._meanings[key])

    def finish(self, patience: float) -> None:
        """Wait at most `patience` seconds for what a key has begun."""
        if self._take is not None:
            self._take.join(patience)

    def _do(self, action: Callable[[], None]) -> None:
        try:
            action()
        except StreamsepError as error:
            self._actions.notes.append(str(error))

    def _toggle_recording(self) -> None:
        """Beside the keys, in a thread of its own: a disk that does not answer must not hold up the panic key."""
        if self._take is not None and self._take.is_alive():
            self._actions.notes.append("the disk has yet to answer; wait a moment")
            return
        self._take = threading.Thread(
            target=self._do, args=(self._actions.toggle_recording,), name="streamsep-take", daemon=True
        )
        self._take.start()
