"""Pictures of songs: of which part, under which title, and of which kind."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from streamsep.errors import StreamsepError
from tools import draw_songs


def test_a_picture_is_titled_by_what_a_record_tells(tmp_path: Path) -> None:
    """`find_tempos` writes one of real songs."""
    assert draw_songs._title(tmp_path) == tmp_path.name
    for record, title in (
        ({"tempo": 120.0, "first_bar": 0.1}, tmp_path.name),
        ({"tempo": 120.0, "style": "rock"}, "rendered: rock, 120 bpm"),
    ):
        (tmp_path / "song.json").write_text(json.dumps(record))
        assert draw_songs._title(tmp_path) == title
    for broken in ("{", "7", '{"style": "rock"}', '{"style": "rock", "tempo": "fast"}'):
        (tmp_path / "song.json").write_text(broken)
        with pytest.raises(StreamsepError, match=r"song\.json is no record of a rendered song"):
            draw_songs._title(tmp_path)


@pytest.mark.parametrize("flags", [["--at", "2"], ["--at", "-0.1"], ["--at", "1"], ["--seconds", "0"]])
def test_a_picture_is_of_a_part_of_the_song(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flags: list[str]) -> None:
    monkeypatch.setattr("sys.argv", ["draw_songs", str(tmp_path), "-o", str(tmp_path / "a.png"), *flags])
    with pytest.raises(SystemExit):
        draw_songs.main()


def test_a_picture_of_no_known_kind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib")
    monkeypatch.setattr("sys.argv", ["draw_songs", str(tmp_path), "-o", str(tmp_path / "a.jpeg2")])
    assert draw_songs.main() == 1
    assert "no picture ends in .jpeg2; choose one of " in capsys.readouterr().err
