"""What a result of a comparison depends on, and so is measured anew for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from streamsep.evaluation import comparison
from streamsep.evaluation.comparison import Plan
from streamsep.evaluation.jobs import Listening
from tests.test_comparison import data, plan

__all__ = ["data"]  # a fixture

CHANGES: dict[str, Callable[[Plan], Plan]] = {
    "brief": lambda plan: replace(plan, brief=True),
    "heard": lambda plan: replace(plan, listen=1),
    "seconds": lambda plan: replace(plan, wanted=replace(plan.wanted, seconds=0.1)),
    "sources": lambda plan: replace(plan, wanted=replace(plan.wanted, sources=("drums", "bass"))),
    "rate": lambda plan: replace(plan, wanted=replace(plan.wanted, rate=48000)),
    "excerpt": lambda plan: replace(plan, wanted=replace(plan.wanted, excerpt=5.0)),
    "latency": lambda plan: replace(plan, looks=[replace(plan.looks[0], latency=7), *plan.looks[1:]]),
}
SAME: dict[str, Callable[[Plan], Plan]] = {
    "again": lambda plan: replace(plan),
    "jobs": lambda plan: replace(plan, jobs=2),
    "progress": lambda plan: replace(plan, progress=True),
    "what would be shown of songs that are not": lambda plan: replace(plan, listening=Listening(((0, 1),))),
}


def keys(plan: Plan) -> tuple[str, str]:
    """Of the first system on the first song, and of the song."""
    job = comparison._songs_jobs(plan)[0]
    return job.systems[0].key, job.key


@pytest.mark.parametrize("change", CHANGES)
def test_what_changes_a_result_changes_its_key(change: str, data: Path) -> None:
    before = plan(data, "mixture", "irm")
    assert all(one != other for one, other in zip(keys(before), keys(CHANGES[change](before)), strict=True))


def test_a_song_that_is_heard_is_heard_anew_for_other_pictures(data: Path) -> None:
    before = plan(data, "mixture", "irm", listen=1)
    after = replace(before, listening=Listening(((0, 1),)))
    assert all(one != other for one, other in zip(keys(before), keys(after), strict=True))


@pytest.mark.parametrize("change", SAME)
def test_what_changes_no_result_keeps_it(change: str, data: Path) -> None:
    before = plan(data, "mixture", "irm")
    assert keys(before) == keys(SAME[change](before))


def test_the_end_of_a_song_depends_on_which_systems_are_compared(data: Path) -> None:
    """The result of a system does not."""
    before = plan(data, f"theirs=stems:{data}", "irm")
    after = replace(before, differences=False)
    assert keys(before)[0] == keys(after)[0] and keys(before)[1] != keys(after)[1]
