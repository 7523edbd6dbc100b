"""Songs made to hear what leaks into the vocals, and what is said of it."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pyloudnorm
import pytest

from benchmarks.quality import derived
from streamsep.errors import StreamsepError
from streamsep.evaluation import leakage
from streamsep.evaluation.leakage import faint_voice, instrumental, loud_second
from streamsep.evaluation.quality import group_quality, leakage_into_voice, share, song_quality
from streamsep.evaluation.songs import SongFiles
from streamsep.files import Codec, read_audio, write_audio

RATE = 44100


@pytest.fixture
def song(tmp_path: Path, rng: np.random.Generator) -> SongFiles:
    """Three seconds of drums and bass, and a voice that is silent for the last two and louder than both."""
    stems = {}
    for name, level, seconds in (("drums", 0.02, 3.0), ("bass", 0.03, 2.5), ("vocals", 0.2, 3.0)):
        samples = level * rng.standard_normal((2, round(seconds * RATE))).astype(np.float32)
        if name == "vocals":
            samples[:, RATE:] = 0
        stems[name] = tmp_path / "song" / f"{name}.wav"
        write_audio(stems[name], samples, RATE, Codec(bits=32))
    return SongFiles("song", None, stems)


def sound(song: SongFiles, *names: str) -> Any:
    stems = [read_audio(song.stems[name])[0] for name in names]
    return sum(np.pad(stem, ((0, 0), (0, 3 * RATE - stem.shape[1]))) for stem in stems)


def loudness(samples: Any) -> float:
    return float(pyloudnorm.Meter(RATE).integrated_loudness(samples.T))


def test_an_instrumental_is_the_band_at_the_loudness_of_streaming(song: SongFiles, tmp_path: Path) -> None:
    made = instrumental(song, tmp_path / "made")
    assert set(made.stems) == {"drums", "bass"} and made.mix is None and made.name != song.name
    assert loudness(sound(made, "drums", "bass")) == pytest.approx(-14, abs=1e-3)
    ratio = sound(made, "drums")[:, 1000] / sound(song, "drums")[:, 1000]
    np.testing.assert_allclose(sound(made, "drums"), sound(song, "drums") * ratio[0], rtol=1e-5)
    np.testing.assert_allclose(sound(made, "bass"), sound(song, "bass") * ratio[0], rtol=1e-5)


def test_a_faint_voice_is_20_below_the_band_while_it_sings(song: SongFiles, tmp_path: Path) -> None:
    made = faint_voice(song, tmp_path / "made")
    band, voice = sound(made, "drums", "bass"), sound(made, "vocals")
    assert loudness(band) == pytest.approx(-14, abs=1e-3) and loudness(voice) == pytest.approx(-34, abs=1e-2)
    assert not voice[:, RATE:].any()


def test_a_song_without_voice_or_band_is_refused(song: SongFiles, tmp_path: Path) -> None:
    band = SongFiles("band", None, {name: path for name, path in song.stems.items() if name != "vocals"})
    with pytest.raises(StreamsepError, match="band has no vocals"):
        faint_voice(band, tmp_path / "made")
    with pytest.raises(StreamsepError, match="its band or its voice does not sound"):
        instrumental(SongFiles("alone", None, {"vocals": song.stems["vocals"]}), tmp_path / "made")


def test_made_songs_are_whole_and_follow_their_song(
    song: SongFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write, count = leakage.write_audio, iter(range(10))

    def die(*arguments: Any) -> None:
        if next(count) == 1:
            raise KeyboardInterrupt
        write(*arguments)

    monkeypatch.setattr(leakage, "write_audio", die)
    with pytest.raises(KeyboardInterrupt):
        derived([song], faint_voice, tmp_path / "out")
    monkeypatch.setattr(leakage, "write_audio", write)
    (made,) = derived([song], faint_voice, tmp_path / "out")
    assert set(made.stems) == {"drums", "bass", "vocals"} and made.name == song.name
    dates = [path.stat().st_mtime_ns for path in made.stems.values()]
    (again,) = derived([song], faint_voice, tmp_path / "out")
    assert again == made and [path.stat().st_mtime_ns for path in again.stems.values()] == dates
    silence = np.zeros((2, RATE), np.float32)
    write_audio(song.stems["vocals"], silence, RATE, Codec(bits=32))
    assert derived([song], faint_voice, tmp_path / "out") == []
    assert "left out of the leakage: song: its band or its voice does not sound" in capsys.readouterr().err


def test_loud_second_is_passed_by_one_in_twenty() -> None:
    assert loud_second([float(level) for level in range(-100, 1)]) == pytest.approx(-5)
    assert math.isnan(loud_second([]))


def voice(levels: list[float], usdr: float = 0.0, baseline: float = 0.0) -> dict[str, Any]:
    row = {"usdr": usdr, "baseline_sdr": baseline, "curves": {"level": levels}}
    return {"results": {"a": {"stems": {"vocals": row}}}}


def test_leakage_pools_seconds_and_averages_songs() -> None:
    """A long quiet song and a short loud one count by their seconds; gains count by their songs."""
    found = leakage_into_voice([voice([-60.0] * 99), voice([-20.0])], [voice([], 4.0, 1.0), voice([], 2.0, -1.5)])
    assert found == {"a": {"level": -60.0, "gained": pytest.approx(3.25)}}
    assert math.isnan(leakage_into_voice([voice([-60.0])], [])["a"]["gained"])
    begun_later = voice([], math.nan, math.nan)
    assert leakage_into_voice([], [voice([], 4.0, 1.0), begun_later])["a"]["gained"] == pytest.approx(3.0)


@pytest.mark.parametrize(
    ("values", "expected"), [((5.0, 2.0, 8.0), 0.5), ((8.0, 2.0, 8.0), 1.0), ((1.0, 2.0, 4.0), -0.5)]
)
def test_share_of_the_way(values: tuple[float, float, float], expected: float) -> None:
    assert share(*values) == pytest.approx(expected)


def test_there_is_no_share_between_marks_that_are_none() -> None:
    assert math.isnan(share(1.0, 2.0, 2.0)) and math.isnan(share(1.0, math.nan, 2.0))


def result(**systems: tuple[float, float]) -> dict[str, Any]:
    """A song whose drums and bass have the given uSDR; BSS eval's is ten above, SI-SDR one below."""

    def stem(value: float) -> dict[str, float]:
        return {"usdr": value, "si_sdr": value - 1, "sdr": value + 10}

    tables = {name: {"drums": stem(drums), "bass": stem(bass)} for name, (drums, bass) in systems.items()}
    return {"results": {name: {"stems": table} for name, table in tables.items()}}


def test_scores_of_songs_and_groups() -> None:
    songs = [result(gain=(0, 2), irm=(10, 12), a=(5, 2)), result(gain=(2, 4), irm=(12, 14), a=(9, 8)),
             result(gain=(1, 3), irm=(11, 13), a=(1, 11))]  # fmt: skip
    first = song_quality(songs[0], ("drums", "bass", "vocals"))
    assert set(first["a"]) == {"drums", "bass", "mean"}
    assert first["a"]["drums"] == {"usdr": 5, "si_sdr": 4, "sdr": 15, "share": 0.5} and first["a"]["bass"]["share"] == 0
    group = group_quality(songs, ("drums", "bass", "vocals"))
    assert group["a"]["drums"] == pytest.approx({"usdr": 5, "si_sdr": 4, "sdr": 15, "share": 0.4})
    assert group["a"]["bass"] == pytest.approx({"usdr": 7, "si_sdr": 6, "sdr": 18, "share": 0.4})
    assert group["a"]["mean"] == pytest.approx({"usdr": 6, "si_sdr": 5, "sdr": 16.5, "share": 0.4})
    assert (group["gain"]["mean"]["share"], group["irm"]["mean"]["share"]) == (0, 1)
