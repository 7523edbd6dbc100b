"""What keys lead to beyond the keyboard's own tests: the selection, and sequences of a terminal that never end."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from streamsep.control.actions import Actions, Recording
from streamsep.control.key_reader import KeyReader
from streamsep.files import Codec
from tests.live_fakes import FakeKnobs

STEMS = ("drums", "bass", "other", "vocals")


def test_every_stem_can_be_selected_and_no_other() -> None:
    actions = Actions(FakeKnobs(), STEMS, Recording(Path("takes"), Codec()))
    found = []
    for stem in (3, 0, 2, -1, 4, 1):
        actions.select(stem)
        found.append(actions.selected)
    assert found == [3, 0, 2, 2, 2, 1]


@pytest.mark.parametrize(
    ("reads", "pressed", "waits"),
    [
        (["\x1b[1", "", "5", None], ["5"], [None, 0.1, None, None]),
        (["\x1b", "", "[A", None], ["[", "A"], [None, 0.1, None, None]),
        (["2\x1b[", "B3", None], ["2", "down", "3"], [None, 0.1, None]),
    ],
    ids=["a number that would mute", "Escape alone", "an arrow in two parts"],
)
def test_what_does_not_go_on_within_a_moment_means_nothing(
    reads: list[str | None], pressed: list[str], waits: list[float | None]
) -> None:
    found, asked = list[str](), list[float | None]()

    def read(timeout: float | None = None) -> str | None:
        asked.append(timeout)
        return reads[len(asked) - 1]

    stream: Any = SimpleNamespace(fileno=lambda: 0)
    reader = KeyReader(found.append, stream)
    toy: Any = SimpleNamespace(read=read, leave_signals_to_main=lambda: None)
    reader._terminal = toy
    reader._run()
    assert (found, asked) == (pressed, waits)
