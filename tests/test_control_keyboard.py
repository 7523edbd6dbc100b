"""Keys as a mixing desk: what each does to the knobs, and what the help tells of them."""

from __future__ import annotations

import math
import re
import threading
from pathlib import Path

import pytest

from streamsep.control.actions import Actions, Recording
from streamsep.control.key_reader import split_keys
from streamsep.control.keyboard import Keyboard, keys_of
from streamsep.engine.mixer import from_decibels
from streamsep.errors import StreamsepError
from streamsep.files import Codec
from tests.live_fakes import FakeKnobs

STEMS = ("drums", "bass", "other", "vocals")


class Rig:
    """Fake knobs with a keyboard in front of them."""

    def __init__(self, folder: Path) -> None:
        self.knobs = FakeKnobs()
        self.actions = Actions(self.knobs, STEMS, Recording(folder, Codec()))
        self._keyboard = Keyboard(self.actions)

    def type(self, keys: str) -> None:
        for key in split_keys(keys):
            self._keyboard.press(key)
            self._keyboard.finish(20)


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path)


UP, DOWN, RIGHT, LEFT = (f"\x1b[{letter}" for letter in "ABCD")


def test_digits_mute_and_select(rig: Rig) -> None:
    rig.type("24")
    assert rig.knobs.desk.mutes == {"bass", "vocals"}
    assert rig.actions.selected == 3
    rig.type("2")
    assert rig.knobs.desk.mutes == {"vocals"}
    assert rig.actions.selected == 1


def test_shifted_digits_solo_and_select(rig: Rig) -> None:
    rig.type("!$")
    assert rig.knobs.desk.solos == {"drums", "vocals"}
    assert rig.actions.selected == 3
    rig.type("$")
    assert rig.knobs.desk.solos == {"drums"}
    assert rig.knobs.desk.mutes == set()


def test_digits_beyond_the_stems_do_nothing(rig: Rig) -> None:
    rig.type("59%(x")
    assert (rig.knobs.desk.mutes, rig.knobs.desk.solos, rig.actions.selected) == (set(), set(), 0)


def test_the_selection_goes_round(rig: Rig) -> None:
    seen = []
    for key in (RIGHT, "\t", RIGHT, "\t", LEFT, LEFT):
        rig.type(key)
        seen.append(rig.actions.selected)
    assert seen == [1, 2, 3, 0, 3, 2]


def test_m_and_s_are_for_the_selected_stem(rig: Rig) -> None:
    rig.type(RIGHT + "ms")
    assert (rig.knobs.desk.mutes, rig.knobs.desk.solos) == ({"bass"}, {"bass"})
    rig.type("ms")
    assert (rig.knobs.desk.mutes, rig.knobs.desk.solos) == (set(), set())


@pytest.mark.parametrize(
    ("keys", "decibels"),
    [("+", 1), (UP, 1), ("=", 1), ("-", -1), (DOWN, -1), ("---+", -2), ("\x1bOA\x1bOA", 2), ("--0", 0), ("+" * 15, 12)],
)
def test_gain_moves_by_one_decibel(rig: Rig, keys: str, decibels: float) -> None:
    rig.type(LEFT + keys)
    assert rig.knobs.desk.gains == {"vocals": pytest.approx(from_decibels(decibels))}


def test_gain_ends_in_silence_and_comes_back(rig: Rig) -> None:
    rig.type("-" * 60)
    assert rig.knobs.desk.gain("drums") == pytest.approx(1e-3)
    rig.type("-")
    assert rig.knobs.desk.gain("drums") == 0.0
    rig.type("-")
    assert rig.knobs.desk.gain("drums") == 0.0
    rig.type("+")
    assert rig.knobs.desk.gain("drums") == pytest.approx(1e-3)


def test_a_gain_above_the_highest_is_not_pulled_down_by_more(rig: Rig) -> None:
    rig.knobs.set_gain("drums", from_decibels(20))
    rig.type("+")
    assert rig.knobs.desk.gain("drums") == pytest.approx(10.0)
    rig.type("-")
    assert rig.knobs.desk.gain("drums") == pytest.approx(from_decibels(19))


def test_bypass_panic_and_reset(rig: Rig) -> None:
    rig.type("b")
    assert (rig.knobs.bypass, rig.knobs.panic) == (True, False)
    rig.type("bp")
    assert (rig.knobs.bypass, rig.knobs.panic) == (False, True)
    rig.type(" r")
    assert (rig.knobs.panic, rig.knobs.resets) == (False, 1)
    assert "forgotten" in rig.actions.notes[-1]


def test_quit_and_help(rig: Rig) -> None:
    rig.type("?")
    assert (rig.actions.help, rig.actions.ended.is_set()) == (True, False)
    rig.type("?q")
    assert (rig.actions.help, rig.actions.ended.is_set()) == (False, True)


def test_capital_r_records_and_ends_the_take(rig: Rig, tmp_path: Path) -> None:
    times = [rig.knobs.recording]
    rig.type("R")
    times.append(rig.knobs.recording)
    assert rig.knobs.takes == [tmp_path]
    rig.type("R")
    times.append(rig.knobs.recording)
    assert times == [None, 0.0, None]
    assert list(rig.actions.notes) == [
        f"recording into {tmp_path}",
        f"recorded drums.wav, mix.wav in {tmp_path}",
    ]


def test_what_hinders_a_take_is_told_and_the_keys_go_on(rig: Rig) -> None:
    rig.knobs.fault = StreamsepError("the disk is full; make room")
    rig.type("R1")
    assert rig.knobs.recording is None
    assert list(rig.actions.notes) == ["the disk is full; make room"]
    assert rig.knobs.desk.mutes == {"drums"}


def test_a_disk_that_does_not_answer_holds_up_no_other_key(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = threading.Event()
    monkeypatch.setattr(rig.knobs, "record", lambda folder, codec: answer.wait(60))
    keyboard = Keyboard(rig.actions)
    for key in ("R", " ", "R"):
        keyboard.press(key)
    keyboard.finish(0.01)
    assert rig.knobs.panic and not answer.is_set()
    assert list(rig.actions.notes) == ["the disk has yet to answer; wait a moment"]
    answer.set()
    keyboard.finish(20)


def test_help_tells_of_keys_that_work(rig: Rig) -> None:
    words = {"left": LEFT, "right": RIGHT, "up": UP, "down": DOWN, "Tab": "\t", "Space": " ", "Shift + 1": "!"}
    for keys, _ in keys_of(len(STEMS)):
        for key in re.split(", | to | or ", keys):
            (pressed,) = split_keys(words.get(key, key))
            assert pressed in rig._keyboard._meanings


@pytest.mark.parametrize(("stems", "digits"), [(1, "1"), (2, "1 to 2"), (4, "1 to 4"), (6, "1 to 6"), (12, "1 to 9")])
def test_help_tells_of_as_many_keys_as_there_are_stems(stems: int, digits: str) -> None:
    assert [keys for keys, _ in keys_of(stems)][:2] == [digits, f"Shift + {digits}"]


def test_levels_are_finite_to_the_ear() -> None:
    from streamsep.control.actions import to_decibels

    assert to_decibels(0.0) == -math.inf
    assert to_decibels(10.0) == pytest.approx(20.0)
