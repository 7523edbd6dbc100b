"""Songs and systems of one name, or of strange ones: each keeps its own result."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from streamsep.evaluation import comparison
from streamsep.evaluation.comparison import Plan, compare, slug
from streamsep.evaluation.material import Wanted
from streamsep.evaluation.songs import SongFiles, songs_in
from streamsep.evaluation.systems import distinct_names, look_at, parse_systems
from tests.comparison_plans import STEMS, calls_fixture, data_fixture, plan  # noqa: F401  (fixtures)


def test_names_become_files() -> None:
    assert slug("live-23-small") == "live-23-small" and slug("stream live-23-small").startswith("stream-live-23-small-")
    strange = [slug(name) for name in ("a/b", "a\\b", "a b", "a-b", "a  b", "../..", "曲", "x" * 200, "", "song")]
    assert len(set(strange)) == 10 and "song" not in strange
    assert all("/" not in name and len(name) < 80 and name.strip(".") for name in strange)


def test_names_that_look_alike_lose_no_result(data: Path, calls: list[str]) -> None:
    (data / "song 1").rename(data / "song-0")
    given = plan(data, "a b=mixture", "a-b=silence", "song=irm")
    outcome = compare(given)
    assert [song["name"] for song in outcome.songs] == ["song 0", "song 2", "song-0"]
    assert all([*song["results"]] == ["a b", "a-b", "song"] for song in outcome.songs)
    assert all(song["results"][name]["system"] == name for song in outcome.songs for name in song["results"])
    calls.clear()
    compare(given)
    assert calls == []


def test_a_song_given_twice_is_two_songs(data: Path, calls: list[str]) -> None:
    given = plan(data, "mixture")
    twice = replace(given, songs=[given.songs[0], given.songs[0]])
    works = [job.systems[0].work for job in comparison._songs_jobs(twice)]
    assert works[0] != works[1]
    assert [song["name"] for song in compare(twice).songs] == ["song 0", "song 0 (2)"]


def test_songs_of_one_name_are_kept_apart(data: Path, calls: list[str]) -> None:
    songs = [*songs_in(data, STEMS), SongFiles("song 0", None, songs_in(data, STEMS)[1].stems)]
    outcome = compare(Plan(data.parent / "out", [look_at(s) for s in parse_systems(["mixture"])], songs,
                           Wanted(STEMS, 44100), listen=0))  # fmt: skip
    assert [song["name"] for song in outcome.songs] == ["song 0", "song 1", "song 2", "song 0 (2)"]
    assert comparison.FORMAT == 3


def test_a_name_made_distinct_is_nobody_else_s(data: Path, calls: list[str]) -> None:
    assert distinct_names(["a", "a", "a (2)", "a", "b"]) == ["a", "a (2)", "a (2) (2)", "a (3)", "b"]
    names = [system.name for system in parse_systems(["x=irm", "x=ibm", "x (2)=psm"])]
    assert len(set(names)) == 3
    songs = [replace(song, name=name) for song, name in zip(songs_in(data, STEMS), ("t", "t", "t (2)"), strict=True)]
    outcome = compare(replace(plan(data, "mixture"), songs=songs))
    assert [song["name"] for song in outcome.songs] == ["t", "t (2)", "t (2) (2)"]
    assert [song["true_stems"] for song in outcome.songs] == [
        {name: str(path) for name, path in song.stems.items()} for song in songs
    ]
