"""Cached clips and the folders that songs and voices are found in."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from streamsep.errors import StreamsepError
from streamsep.training.clips import BLOCK, cached_clip
from streamsep.training.data import DataConfig, open_library, song_folders


def tone(seconds: float, rate: int = 44100, level: float = 0.5, channels: int = 2) -> np.ndarray:
    wave = level * np.sin(2 * np.pi * 441 * np.arange(round(seconds * rate)) / rate)
    return np.repeat(wave[:, None], channels, 1)


def write(path: Path, samples: np.ndarray, rate: int = 44100) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples, rate, subtype="FLOAT" if path.suffix == ".wav" else None)
    return path


def test_clip_keeps_samples_over_full_scale_and_pads_with_silence(tmp_path: Path) -> None:
    samples = tone(0.5, level=1.5)
    clip = cached_clip([write(tmp_path / "a.wav", samples)], tmp_path / "cache" / "a")
    assert clip.length == len(samples)
    read = clip.read(-10, len(samples) + 20)
    assert np.abs(read[:, 10:-10] - samples.T).max() < 1.5 / 32767
    assert not read[:, :10].any() and not read[:, -10:].any()
    assert clip.level == pytest.approx(1.5 / 2**0.5, rel=1e-3)


def test_clip_is_decoded_once_and_again_when_the_file_changes(tmp_path: Path) -> None:
    file, stem = write(tmp_path / "a.wav", tone(0.2)), tmp_path / "cache" / "a"
    cached_clip([file], stem)
    stored = stem.with_name("a.npy").stat().st_mtime_ns
    cached_clip([file], stem)
    assert stem.with_name("a.npy").stat().st_mtime_ns == stored
    write(file, tone(0.4))
    assert cached_clip([file], stem).length == round(0.4 * 44100)
    assert not list(stem.parent.glob("*.part"))


def test_clip_resamples_and_joins_files_with_silence(tmp_path: Path) -> None:
    files = [write(tmp_path / f"{i}.wav", tone(0.5, rate=22050, channels=1), 22050) for i in range(2)]
    clip = cached_clip(files, tmp_path / "cache" / "voice", gap=0.2)
    assert clip.length == pytest.approx(44100 * (0.5 + 0.2 + 0.5 + 0.2), abs=4)
    active = clip.active
    assert active[:5].all() and not active[6] and active[8:11].all()
    assert np.array_equal(*clip.read(0, BLOCK))


def test_an_unreadable_file_is_named(tmp_path: Path) -> None:
    bad = tmp_path / "bad.wav"
    bad.write_text("no sound")
    with pytest.raises(StreamsepError, match=r"bad\.wav"):
        cached_clip([bad], tmp_path / "cache" / "bad")


def test_library_keeps_the_held_out_songs_apart(tmp_path: Path) -> None:
    for song in ("one", "two", "held"):
        for stem in ("drums", "other"):
            write(tmp_path / "data" / song / f"{stem}.wav", tone(0.2))
    config = DataConfig(validation=("held",), joined={"two": ("bass", "other")})
    library = open_library(tmp_path / "data", config, cache=tmp_path / "cache", quiet=True)
    assert [(song.name, song.joined) for song in library.songs] == [("one", ()), ("two", ("bass", "other"))]
    assert [song.name for song in library.validation] == ["held"]


def test_musdb_layout_gives_the_training_part_and_finds_validation_in_the_test_part(tmp_path: Path) -> None:
    for part, song in (("train", "a"), ("test", "b")):
        for name in ("drums", "bass", "other", "vocals", "mixture"):
            write(tmp_path / part / song / f"{name}.wav", tone(0.1))
    assert list(song_folders(tmp_path)) == ["a", "b"]
    library = open_library(tmp_path, DataConfig(validation=("b",)), cache=tmp_path / "cache", quiet=True)
    assert [song.name for song in library.songs] == ["a"] and [song.name for song in library.validation] == ["b"]
    assert sorted(library.songs[0].clips) == ["bass", "drums", "other", "vocals"]


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (DataConfig(joined={"one": ("bass", "flute")}), "one"),
        (DataConfig(joined={"one": ("drums", "bass")}), "ends with bass, of which there is no recording; put drums"),
        (DataConfig(exclude=("one",)), "excluded"),
    ],
)
def test_wrong_names_are_errors(tmp_path: Path, config: DataConfig, message: str) -> None:
    write(tmp_path / "data" / "one" / "drums.wav", tone(0.1))
    with pytest.raises(StreamsepError, match=message):
        open_library(tmp_path / "data", config, cache=tmp_path / "cache", quiet=True)


def test_songs_that_are_not_there_are_only_noted(tmp_path: Path) -> None:
    write(tmp_path / "data" / "mine" / "drums.wav", tone(0.1))
    config = DataConfig(exclude=("mien",), validation=("held",), joined={"theirs": ("bass", "other")})
    library = open_library(tmp_path / "data", config, cache=tmp_path / "cache", quiet=True)
    assert [song.name for song in library.songs] == ["mine"]
    assert library.validation == () and library.absent == ("mien", "held", "theirs")


def test_the_folder_of_songs_is_told_of_before_the_instruments(tmp_path: Path) -> None:
    for data, message in ((tmp_path, "no song in"), (tmp_path / "nowhere", "there is no folder")):
        with pytest.raises(StreamsepError, match=message):
            open_library(data, DataConfig(practice=14.0), cache=tmp_path / "cache", quiet=True)


def test_a_cache_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    file = write(tmp_path / "a.wav", tone(0.1))
    with pytest.raises(StreamsepError, match="choose another cache"):
        cached_clip([file], file / "a")


def test_a_voice_that_only_the_configuration_knows_is_told_with_its_cure(tmp_path: Path) -> None:
    write(tmp_path / "data" / "a" / "drums.wav", tone(0.1))
    write(tmp_path / "voices" / "me" / "one.wav", tone(0.1))
    place = {"voice": tmp_path / "voices", "cache": tmp_path / "cache", "quiet": True}
    with pytest.raises(StreamsepError, match=r"no folder yuki in .*`data: voices` .* \[\] for all"):
        open_library(tmp_path / "data", DataConfig(voices=("yuki",)), **place)  # type: ignore[arg-type]
    assert len(open_library(tmp_path / "data", DataConfig(), **place).extra["vocals"]) == 1  # type: ignore[arg-type]
