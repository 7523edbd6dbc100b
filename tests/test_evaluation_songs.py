"""Songs by their files: names that are odd, and files that are damaged."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import soundfile

from streamsep.errors import StreamsepError
from streamsep.evaluation.songs import STEMS, read_pieces, single_song, song_in_folder
from streamsep.files import write_audio


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
