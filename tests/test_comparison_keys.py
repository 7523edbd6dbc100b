"""What a result of a comparison depends on, and so is measured anew for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from streamsep.evaluation import comparison
from streamsep.evaluation.comparison import Plan, compare
from streamsep.evaluation.jobs import Listening
from streamsep.evaluation.material import Wanted
from streamsep.evaluation.systems import Look
from streamsep.files import write_audio
from tests.comparison_plans import (
    STEMS,
    calls_fixture,  # noqa: F401  (a fixture)
    data_fixture,  # noqa: F401  (a fixture)
    models_fixture,  # noqa: F401  (a fixture)
    plan,
    write_song,
)

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


def test_only_what_changed_is_done_anew(data: Path, calls: list[str], rng: np.random.Generator) -> None:
    compare(plan(data, "mixture", "irm"))
    calls.clear()
    write_song(data / "song 1", rng, 9001)
    compare(plan(data, "mixture", "irm"))
    assert calls == ["prepare_song: song 1", "run_system: mixture on song 1", "run_system: irm on song 1",
                     "finish_song: song 1"]  # fmt: skip
    calls.clear()
    compare(plan(data, "mixture", "irm", wanted=Wanted(STEMS, 44100, seconds=0.1)))
    assert len(calls) == 12


@pytest.mark.parametrize(("differences", "run"), [(True, 2), (False, 1)])
def test_one_more_system_is_all_that_is_done(
    data: Path, calls: list[str], models: Path, differences: bool, run: int
) -> None:
    """But for models, whose stems are held against each other's; where nobody asks for that, they stay too."""
    model = f"stream:{models / 'small.safetensors'}"
    compare(plan(data, model, "irm", differences=differences))
    calls.clear()
    compare(plan(data, model, "irm", "silence", differences=differences))
    assert [call.split(":")[0] for call in calls].count("run_system") == 3 * run
    assert not any("irm" in call for call in calls)


def test_stems_from_elsewhere_are_measured_again_when_they_change(
    data: Path, calls: list[str], rng: np.random.Generator
) -> None:
    """Those too that the truth lacks."""
    for index in range(3):
        write_song(data.parent / "theirs" / f"song {index}", rng, stems=4)
    given = ("theirs=stems:" + str(data.parent / "theirs"),)
    first = compare(plan(data, *given)).songs[1]["results"]["theirs"]["stems"]["vocals"]["peak"]
    write_audio(data.parent / "theirs" / "song 1" / "vocals.wav", np.zeros((2, 9000), np.float32), 44100)
    calls.clear()
    again = compare(plan(data, *given)).songs[1]["results"]["theirs"]["stems"]["vocals"]["peak"]
    assert again < first and [call for call in calls if "run_system" in call] == ["run_system: theirs on song 1"]


def test_the_key_tells_what_the_model_is_and_how_it_looks_ahead(data: Path, models: Path) -> None:
    given = plan(data, f"stream:{models / 'small.safetensors'}")
    (look,) = given.looks

    def key(changed: Look) -> str:
        return comparison._song_job(replace(given, looks=[changed]), given.songs[0], heard=False).systems[0].key

    assert look.hop is not None
    assert key(look) == key(replace(look)) != key(replace(look, hop=2 * look.hop))
    assert key(replace(look, moves={"window": 1})) != key(replace(look, moves={"window": 2})) != key(look)
    bag = models / "bag.yaml"
    bag.write_text("models: [a]\n")
    system = replace(look.system, what=str(bag))
    before = system.settings()
    (models / "a-1.safetensors").write_bytes(b"1")
    assert system.settings() != before
    record = models / "small.json"
    before = look.system.settings()
    record.write_text(record.read_text() + " ")
    assert look.system.settings() != before
