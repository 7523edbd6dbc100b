"""Songs by their files: names that are odd, and files that are damaged."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import soundfile

from streamsep.errors import StreamsepError
from streamsep.evaluation.material import Wanted, prepare
from streamsep.evaluation.songs import STEMS, SongFiles, read_pieces, single_song, song_in_folder
from streamsep.files import write_audio
from streamsep.training.clips import read_recording


def test_a_damaged_file_is_named(tmp_path: Path, rng: np.random.Generator) -> None:
    path = tmp_path / "drums.flac"
    soundfile.write(path, 0.1 * rng.standard_normal((44100, 2)), 44100)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(StreamsepError, match=f"^{path} is damaged .*; replace it by a whole copy$"):
        list(read_pieces(path, 44100))


def test_a_name_need_not_be_utf_8_to_be_read(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"\xff.wav")
    try:
        write_audio(path, np.full((2, 500), 0.1, np.float32), 44100)
    except StreamsepError:
        pytest.skip("this file system has no such names")
    assert sum(map(len, read_pieces(path, 44100))) == 500
    with pytest.raises(StreamsepError, match="is not UTF-8, as the results are; rename it"):
        single_song(path, None, STEMS).facts()


@pytest.mark.parametrize("place", [".", "../song", "inner/.."])
def test_a_song_has_the_name_of_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    (tmp_path / "song" / "inner").mkdir(parents=True)
    write_audio(tmp_path / "song" / "drums.wav", np.full((2, 500), 0.1, np.float32), 44100)
    monkeypatch.chdir(tmp_path / "song")
    found = song_in_folder(Path(place), STEMS)
    assert found is not None and found.name == "song" and list(found.stems) == ["drums"]


def test_a_song_cut_short_is_told(tmp_path: Path, rng: np.random.Generator, caplog: pytest.LogCaptureFixture) -> None:
    """As a warning, and among the notes of the song, once."""
    path = tmp_path / "song" / "drums.wav"
    write_audio(path, (0.1 * rng.standard_normal((2, 44100))).astype(np.float32), 44100)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    for rate in (44100, 22050):
        caplog.clear()
        list(read_pieces(path, rate))
        assert [message.startswith(f"{path} is damaged or cut short") for message in caplog.messages] == [True]
    caplog.clear()
    assert len(read_recording(path)[0]) < 44100 and len(caplog.messages) == 1
    song = song_in_folder(path.parent, STEMS)
    assert song is not None
    for _ in range(2):  # the second time from what is there
        (note,) = prepare(song, Wanted(STEMS, 44100), tmp_path / "work").notes
        assert "drums.wav is damaged or cut short" in note


@pytest.mark.parametrize("mix", [True, False])
def test_a_song_that_is_over_before_a_sample_is_refused(tmp_path: Path, mix: bool) -> None:
    path = tmp_path / "drums.wav"
    soundfile.write(path, np.full((1, 2), 0.1), 192_000)
    song = SongFiles("short", path if mix else None, {"drums": path})
    with pytest.raises(StreamsepError, match="short holds no sound; leave it out"):
        prepare(song, Wanted(STEMS, 1000), tmp_path / "work")


def test_a_voice_beside_the_rest_is_no_song_by_itself(tmp_path: Path) -> None:
    for name in ("vocals", "no_vocals"):
        write_audio(tmp_path / "song" / f"{name}.wav", np.full((2, 500), 0.1, np.float32), 44100)
    song = song_in_folder(tmp_path / "song", STEMS)
    assert song is not None and song.rest == tmp_path / "song" / "no_vocals.wav"
    with pytest.raises(StreamsepError, match="holds several stems in one"):
        prepare(song, Wanted(STEMS, 44100), tmp_path / "work")
    write_audio(tmp_path / "song" / "mixture.wav", np.full((2, 500), 0.2, np.float32), 44100)
    song = song_in_folder(tmp_path / "song", STEMS)
    assert song is not None and prepare(song, Wanted(STEMS, 44100), tmp_path / "whole").frames == 500
