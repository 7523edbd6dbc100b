"""The quality of systems from songs to tables, with systems whose scores are known."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import quality, quality_tables, waiting
from benchmarks.latency_picture import Line, draw
from streamsep.evaluation import apart
from streamsep.evaluation.measures import song as song_measures
from streamsep.evaluation.systems import parse_systems
from streamsep.files import Codec, write_audio

STEMS = ("drums", "bass", "other", "vocals")


@pytest.fixture
def measured(tmp_path: Path, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Two songs, one without a voice, and a system that gives the truth at half its level."""

    def here(work: Callable[..., Any], *arguments: Any, name: str = "") -> Any:
        return work(*arguments)

    monkeypatch.setattr(apart, "run_apart", here)
    monkeypatch.setattr(song_measures, "bss_frames", partial(song_measures.bss_frames, taps=8))
    for song, count in (("real/a", 4), ("rendered/b", 3)):
        for name in STEMS[:count]:
            stem = (0.1 * rng.standard_normal((2, 33075))).astype(np.float32)
            write_audio(tmp_path / song / f"{name}.wav", stem, 44100, Codec(bits=32))
        for name in STEMS:
            made = stem * 0 if name not in STEMS[:count] else 0.5 * read(tmp_path / song / f"{name}.wav")
            write_audio(tmp_path / "half" / song.split("/")[1] / f"{name}.wav", made, 44100, Codec(bits=32))
    flags = [
        "--real",
        str(tmp_path / "real" / "a"),
        "--rendered",
        str(tmp_path / "rendered"),
        "-o",
        str(tmp_path / "out"),
    ]
    system = f"half=stems:{tmp_path / 'half'}"
    assert quality.main([*flags, "-s", system, "--no-leakage", "--json", str(tmp_path / "q.json")]) == 0
    found: dict[str, Any] = json.loads((tmp_path / "q.json").read_text())
    return found


def read(path: Path) -> Any:
    from streamsep.files import read_audio

    return read_audio(path)[0]


def test_known_scores(measured: dict[str, Any]) -> None:
    """Half the truth is 6.02 dB; a stem of four alike is 1.25 dB by a gain, of three 1.76 dB."""
    for group, gain, stems in (("real", 1.25, 4), ("rendered", 1.76, 3)):
        facts = measured["groups"][group]
        half, best, mask = (facts["scores"][name]["mean"] for name in ("half", "gain", "irm"))
        assert facts["songs"] == 1 and len(facts["scores"]["half"]) == stems + 1
        assert half["usdr"] == pytest.approx(6.02, abs=0.01) and best["usdr"] == pytest.approx(gain, abs=0.05)
        assert half["si_sdr"] is None or half["si_sdr"] > 60  # it is the truth but for its level
        expected = (half["usdr"] - best["usdr"]) / (mask["usdr"] - best["usdr"])
        assert half["share"] == pytest.approx(expected, abs=2e-3) and (best["share"], mask["share"]) == (0, 1)
    assert {name: song["group"] for name, song in measured["songs"].items()} == {"a": "real", "b": "rendered"}


def test_tables(measured: dict[str, Any]) -> None:
    measured["groups"]["real"]["leakage"] = {"half": {"level": -51.23, "gained": 3.456}}
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in quality_tables.by_group(measured).splitlines()]
    table = {(row[0], row[1]): row[2:] for row in rows if len(row) > 1}
    assert table["real (1)", "half"][:6] == ["–", "6.02", "6.02", "6.02", "6.02", "6.02"]
    assert table["rendered (1)", "half"][4] == "–" and table["real (1)", "ideal ratio mask"][-1] == "100 %"
    assert "| real (1) | half | – | -51.2 | 3.46 |" in quality_tables.leakage(measured)
    card = quality_tables.card(measured, "half")
    assert card.count("| a | ") == 4 and card.count("| b | ") == 3
    assert "below -51.2 dBFS in 95 of 100" in card and "3.46 dB above" in card and "whole songs" not in card
    curve = quality_tables.latency(measured | {"budget": {"steps": 70, "minutes": None}})
    assert curve.startswith("![") and curve.endswith("trained for 70 steps.")
    assert quality_tables.latency({}) == "Not measured."
    assert quality_tables.by_song(measured).count("best constant gain") == 2


def test_what_ships_is_measured_live_and_where_it_learnt_to_wait_waiting() -> None:
    shipped = quality.shipped()
    assert {f"live-{latency}-small=live-{latency}-small" for latency in (6, 12, 23)} <= set(shipped)
    assert [text.split("=")[0] for text in shipped if "live-23-bag" in text] == [
        "live-23-bag",
        "live-23-bag, 0.5 s ahead",
    ]
    looks = [look for look in parse_systems(quality.shipped(waiting.AHEAD)) if "bag" not in look.name]
    assert [look.what for look in looks] == [
        "bidirectional-small",
        "live-12-small",
        *["live-23-small"] * 3,
        "live-6-small",
    ]
    assert [look.lookahead for look in looks] == [None, None, None, 0.1, pytest.approx(43 * 512 / 44100), None]


def test_the_picture_of_waiting(tmp_path: Path) -> None:
    latencies = {"a": 23.0, "a, 0.1 s ahead": 116.0, "b": 12.0, "whole": None, "gain": None}
    scores = {name: {"mean": {"usdr": index}} for index, name in enumerate(latencies)}
    result: dict[str, Any] = {
        "systems": {
            name: {"latency_ms": latency, "way": "offline" if name == "whole" else "stream"}
            for name, latency in latencies.items()
        },
        "groups": {"real": {"songs": 2, "scores": dict(reversed(scores.items()))}},
    }
    result["systems"]["gain"]["way"] = "gain"
    whole = Line("whole", [(0.0, 3)], "--", "black", True)
    assert waiting.lines(result, "real") == [Line("b", [(12.0, 2)]), Line("a", [(23.0, 0), (116.0, 1)]), whole]
    draw(result, partial(waiting.lines, result), tmp_path / "picture.png")
    assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")


def test_no_songs(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert quality.main(["-s", "irm"]) == 1
    assert "quality: error: no song is named; add --real SONG" in capsys.readouterr().err
    assert quality.main(["--real", str(tmp_path)]) == 1
    assert "there is no stem in the folder" in capsys.readouterr().err


def test_one_name_in_both_groups_is_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """One of the two would be missing among the songs."""
    for group in ("real", "rendered"):
        write_audio(tmp_path / group / "a" / "drums.wav", np.full((2, 900), 0.1, np.float32), 44100)
    flags = ["--real", str(tmp_path / "real" / "a"), "--rendered", str(tmp_path / "rendered"), "-s", "irm"]
    assert quality.main([*flags, "-o", str(tmp_path / "out")]) == 1
    assert "both a real song and a rendered one are called 'a'; rename a folder" in capsys.readouterr().err
