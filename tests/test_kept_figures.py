"""Figures that stay when only some weights are measured again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import quality
from benchmarks.kept_figures import of_weights, with_kept
from streamsep.errors import StreamsepError

SYSTEMS = ["a=a", "b=b", "b, 0.5 s ahead=stream:b@0.5s"]
NAMES = ["a", "b", "b, 0.5 s ahead"]


def figures(values: dict[str, float], gain: float = 1.0, seconds: float | None = 60.0) -> dict[str, Any]:
    scores = {name: {"mean": {"usdr": value}} for name, value in (values | {"gain": gain, "irm": 9.0}).items()}
    leakage = {name: {"level": -value} for name, value in values.items()}
    return {
        "machine": "here",
        "seconds": seconds,
        "systems": {name: {"parameters": value} for name, value in (values | {"gain": 0, "irm": 0}).items()},
        "groups": {"real": {"songs": 1, "scores": scores, "leakage": leakage}},
        "songs": {"s": {"group": "real", "seconds": 60.0, "scores": scores}},
    }


def test_the_weights_that_are_named_are_measured_at_all_their_latencies() -> None:
    assert of_weights(SYSTEMS, ["b"]) == SYSTEMS[1:]
    with pytest.raises(StreamsepError, match="--only names c, but the weights that ship are a, b"):
        of_weights(SYSTEMS, ["b", "c"])


def test_the_others_stay(tmp_path: Path) -> None:
    """In the order of the systems, without those that no longer ship; without leakage where none was measured."""
    path = tmp_path / "q.json"
    path.write_text(json.dumps(figures({"gone": 5.0, "b": 2.0, "a": 1.0, "b, 0.5 s ahead": 3.0})))
    merged = with_kept(figures({"a": 7.0}, gain=1.01), path, NAMES)
    wanted = {"a": 7.0, "b": 2.0, "b, 0.5 s ahead": 3.0}
    assert list(merged["systems"]) == [*NAMES, "gain", "irm"]
    for scores in (merged["groups"]["real"]["scores"], merged["songs"]["s"]["scores"]):
        assert list(scores) == [*NAMES, "gain", "irm"]
        assert {name: scores[name]["mean"]["usdr"] for name in wanted} == wanted
    leakage = merged["groups"]["real"]["leakage"]
    assert {name: -facts["level"] for name, facts in leakage.items()} == wanted
    brief = figures({"a": 7.0})
    del brief["groups"]["real"]["leakage"]
    assert "leakage" not in with_kept(brief, path, NAMES)["groups"]["real"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seconds": None}, "is of all seconds of each song; say the same by --seconds"),
        ({"songs": {}}, "is of other songs; name the same"),
        (figures({"b": 2.0}, gain=1.1), "is of another song s; measure all"),
        ({"systems": None}, "has no figures to keep .* leave out --only"),
        ({"groups": {}}, "has no figures to keep .* leave out --only"),
    ],
)
def test_figures_of_other_songs_are_not_kept(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    path = tmp_path / "q.json"
    path.write_text(json.dumps(figures({"b": 2.0}) | changes))
    with pytest.raises(StreamsepError, match=message):
        with_kept(figures({"a": 7.0}), path, NAMES)


@pytest.mark.parametrize("mark", ["gain", "irm"])
@pytest.mark.parametrize(("moved", "same"), [(0.015, True), (-0.015, True), (0.03, False), (-0.03, False)])
def test_either_mark_tells_another_song_by_more_or_by_less(mark: str, moved: float, same: bool, tmp_path: Path) -> None:
    path, kept = tmp_path / "q.json", figures({"b": 2.0})
    kept["songs"]["s"]["scores"][mark]["mean"]["usdr"] += moved
    path.write_text(json.dumps(kept))
    if same:
        assert "b" in with_kept(figures({"a": 7.0}), path, NAMES)["systems"]
        return
    with pytest.raises(StreamsepError, match="is of another song s; measure all"):
        with_kept(figures({"a": 7.0}), path, NAMES)


def test_what_is_measured_anew_is_not_kept(tmp_path: Path) -> None:
    """Neither a system's figures nor the marks' are those of the file."""
    path, kept = tmp_path / "q.json", figures({"a": 1.0, "b": 2.0}, gain=1.01)
    path.write_text(json.dumps(kept))
    merged = with_kept(figures({"a": 7.0}), path, NAMES)
    scores = merged["songs"]["s"]["scores"]
    assert {name: facts["mean"]["usdr"] for name, facts in scores.items()} == {
        "a": 7.0,
        "b": 2.0,
        "gain": 1.0,
        "irm": 9.0,
    }
    assert merged["systems"]["a"] == {"parameters": 7.0}


@pytest.mark.parametrize("text", [None, "{", "[]", "7"])
def test_no_figures(text: str | None, tmp_path: Path) -> None:
    path = tmp_path / "q.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(StreamsepError, match=r"q\.json has no figures to keep"):
        with_kept(figures({"a": 7.0}), path, NAMES)


def test_a_file_must_be_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert quality.main(["--only", "live-23-small"]) == 1
    assert "--only keeps the figures of a file; name it by --json" in capsys.readouterr().err
