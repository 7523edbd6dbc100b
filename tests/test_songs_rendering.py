"""Songs as sound: soundfonts, sampled instruments, determinism, held-out material, files on disk."""

from __future__ import annotations

import ctypes.util
import json
import os
import signal
from pathlib import Path

import numpy as np
import pytest
import soundfile

from streamsep.config import config_folder
from streamsep.errors import StreamsepError
from streamsep.training.clips import RATE
from streamsep.training.data import song_folders
from streamsep.training.practice_samples import one_shot_pieces
from streamsep.training.songs.players import Session, Studio
from streamsep.training.songs.rendering import Maker, write_song
from streamsep.training.songs.sampler import play_kit
from streamsep.training.songs.score import Note, Part, Score
from streamsep.training.songs.soundfont import SoundFont
from streamsep.training.songs.sounds import PROGRAMS
from streamsep.training.songs.sources import SongsConfig, open_studio, read_songs_config
from streamsep.training.songs.vorbis import encode_vorbis, numbered
from tests.songs_material import write_instruments, write_soundfont
from tools.render_songs import main, rendered

ALL = SongsConfig(kits=("machine box",), instruments=("bass finger", "guitar emily"), presets=(0,), drum_programs=(0,))


@pytest.fixture(scope="module")
def fluidsynth() -> None:
    """The tests that ask for it need the library."""
    if ctypes.util.find_library("fluidsynth") is None:
        if os.environ.get("STREAMSEP_REQUIRE_AUDIO") == "1":
            pytest.fail("FluidSynth is missing; run: apt-get install libfluidsynth3")
        pytest.skip("needs FluidSynth")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_instruments(tmp_path_factory.mktemp("instruments"))


@pytest.fixture(scope="module")
def font(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_soundfont(tmp_path_factory.mktemp("fonts") / "tone.sf2")


@pytest.fixture
def all_presets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every family is played by the one tone that the soundfont has."""
    for family in PROGRAMS:
        monkeypatch.setitem(PROGRAMS, family, (0,))


def score_of(*parts: Part, length: float = 3.0) -> Score:
    return Score(120.0, 0, False, 4, length, "rock", (), parts)


def hertz(sound: np.ndarray) -> float:
    """The strongest frequency."""
    return float(np.argmax(np.abs(np.fft.rfft(sound.mean(0)))) * RATE / sound.shape[1])


def test_training_and_test_songs_share_no_material() -> None:
    train, test = (read_songs_config(config_folder("songs") / f"{name}.yaml") for name in ("train", "test"))
    for name in ("midi", "kits", "drum_programs", "instruments", "presets"):
        first, second = set(getattr(train, name)), set(getattr(test, name))
        assert first and second and not first & second, name
    assert train.test is False and test.test is True and train.seed != test.seed
    assert len(test.midi) >= 0.15 * (len(train.midi) + len(test.midi))


def test_training_songs_have_a_sound_for_every_family() -> None:
    train = set(read_songs_config(config_folder("songs") / "train.yaml").presets)
    known = {preset for programs in PROGRAMS.values() for preset in programs}
    assert train <= known
    assert [family for family in PROGRAMS if not set(PROGRAMS[family]) & train] == ["jazz guitar", "crunch guitar"]


def test_a_soundfont_plays_the_note_when_and_as_high_as_it_is_written(fluidsynth: None, font: Path) -> None:
    opened = SoundFont(font)
    sound = opened.play([Note(0.5, 1.0, 81, 0.9)], 0, 0, 2 * RATE)
    assert hertz(sound) == pytest.approx(880, abs=2)
    assert not sound[:, : RATE // 2 - 64].any() and np.abs(sound[:, RATE : RATE + 4410]).max() > 0.01
    assert np.abs(sound[:, -RATE // 4 :]).max() < 1e-3
    assert hertz(opened.play([Note(0.0, 1.0, 69, 0.9)], 128, 0, RATE)) == pytest.approx(440, abs=2)


def test_a_soundfont_plays_the_same_whatever_was_played_before(fluidsynth: None, font: Path) -> None:
    notes = [Note(0.1 * i, 0.5, 60 + i, 0.5) for i in range(8)]
    fresh, used = SoundFont(font), SoundFont(font)
    used.play([Note(0.0, 2.0, 40, 1.0)], 128, 0, RATE)
    np.testing.assert_array_equal(fresh.play(notes, 0, 0, RATE), used.play(notes, 0, 0, RATE))


def test_a_key_struck_again_sounds_again(fluidsynth: None, font: Path) -> None:
    twice = SoundFont(font).play([Note(0.0, 1.0, 69, 0.9), Note(0.5, 1.0, 69, 0.9)], 0, 0, 2 * RATE)
    assert np.abs(twice[:, int(1.1 * RATE) : int(1.4 * RATE)]).max() > 0.01


def test_a_missing_preset_or_soundfont_is_told(fluidsynth: None, font: Path, tmp_path: Path) -> None:
    with pytest.raises(StreamsepError, match="has no program 5 in bank 0"):
        SoundFont(font).play([], 0, 5, RATE)
    with pytest.raises(StreamsepError, match="apt-get install fluid-soundfont-gm"):
        SoundFont(tmp_path / "none.sf2")
    (tmp_path / "no.sf2").write_bytes(b"no")
    with pytest.raises(StreamsepError, match="cannot read the soundfont"):
        SoundFont(tmp_path / "no.sf2")
    with pytest.raises(StreamsepError, match="no General MIDI soundfont"):
        open_studio(ALL, None, tmp_path)


def test_kicks_sound_where_the_score_has_them(fluidsynth: None, folder: Path, font: Path) -> None:
    studio = open_studio(ALL, folder, font)
    strokes = [Note(0.5, 0.2, 36, 0.9), Note(1.5, 0.2, 36, 0.9), Note(1.0, 0.2, 38, 0.9)]
    notes = sorted(strokes, key=lambda note: note.start)
    groups = play_kit(notes, studio.kits["machine box"], 3 * RATE, np.random.default_rng(0), 0.0)
    assert set(groups) == {"kick", "snare"}
    heard = np.abs(groups["kick"]).max(0)
    assert np.flatnonzero(heard > 0.02)[0] == pytest.approx(0.5 * RATE, abs=0.01 * RATE)
    assert heard[RATE : int(1.4 * RATE)].max() < 0.01 < heard[int(1.5 * RATE) : int(1.6 * RATE)].max()


def test_a_closed_hat_chokes_the_open_one(folder: Path) -> None:
    pieces = one_shot_pieces(folder / "drums_machines" / "box")
    opened, closed = Note(0.5, 0.2, 46, 0.9), Note(0.55, 0.2, 42, 0.9)
    hats = [
        play_kit(notes, pieces, RATE, np.random.default_rng(0), 0.0)["hats"] for notes in ([opened, closed], [closed])
    ]
    rest = np.abs(hats[0] - hats[1])
    assert rest[:, : int(0.55 * RATE)].max() > 0.05 and rest[:, int(0.58 * RATE) :].max() < 1e-6


def test_parts_become_tracks_in_tune(fluidsynth: None, folder: Path, font: Path, all_presets: None) -> None:
    bass = Part("bass", "bass", (Note(0.2, 1.0, 33, 0.9),), "electric bass")
    guitar = Part("other", "rhythm guitar", (Note(0.2, 1.0, 57, 0.9),), "distorted guitar")
    score = score_of(bass, guitar)
    session = Session(open_studio(ALL, folder, font), score, [])
    for seed in range(6):
        (low,) = session.play(bass, np.random.default_rng(seed))
        (high,) = session.play(guitar, np.random.default_rng(seed))
        assert (low.stem, high.stem) == ("bass", "other") and low.samples.shape == (2, score.frames)
        assert hertz(low.samples) % 55 == pytest.approx(0, abs=1.5) or hertz(low.samples) % 55 > 53
        assert hertz(high.samples) / 220 == pytest.approx(round(hertz(high.samples) / 220), abs=0.02)
        assert float(np.abs(high.samples[:, : int(0.15 * RATE)]).max()) < 1e-4
    assert {"bass finger", "guitar emily"} <= set(session.used)


def test_vorbis_depends_on_the_sound_alone(tmp_path: Path) -> None:
    sound = np.random.default_rng(0).normal(0, 0.1, (2, 100_000)).astype(np.float32)
    data = encode_vorbis(sound)
    assert data == encode_vorbis(sound) == numbered(data, 1) != numbered(data, 2)
    (tmp_path / "a.ogg").write_bytes(numbered(data, 77))
    read, rate = soundfile.read(tmp_path / "a.ogg")
    assert rate == RATE and read.shape == (100_000, 2)


def test_a_song_is_the_same_each_time_and_its_stems_stay_apart(
    fluidsynth: None, folder: Path, font: Path, all_presets: None
) -> None:
    pytest.importorskip("pyloudnorm")
    makers = [Maker(ALL, open_studio(ALL, folder, font), None, (), 14.0) for _ in range(2)]
    makers[1].make(8)
    songs = [maker.make(3) for maker in makers]
    assert songs[0][1] == songs[1][1] and songs[0][1]["seed"] == [0, 3]
    assert set(songs[0][0]) == {"drums", "bass", "other"}
    for stem, sound in songs[0][0].items():
        np.testing.assert_array_equal(sound, songs[1][0][stem])
        assert 1e-3 < float(np.sqrt(np.mean(np.square(sound)))) < 0.6
    mix = sum(songs[0][0].values())
    assert float(np.abs(mix).max()) <= 1.0
    assert np.abs(songs[0][0]["drums"] - makers[0].make(4)[0]["drums"][:, :1]).max() > 0


def test_written_songs_are_read_by_the_trainer(tmp_path: Path) -> None:
    stems = {
        "drums": np.full((2, RATE), 0.1, np.float32),
        "vocals": np.zeros((2, RATE), np.float32),
        "bass": np.full((2, RATE), -0.1, np.float32),
    }
    write_song(stems, {"style": "rock"}, tmp_path / "set" / "000001")
    assert {path.name for path in (tmp_path / "set" / "000001").iterdir()} == {"drums.ogg", "bass.ogg", "song.json"}
    assert list(song_folders(tmp_path / "set")) == ["000001"]


def test_the_tool_goes_on_where_it_was(
    fluidsynth: None, folder: Path, font: Path, all_presets: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    pytest.importorskip("pyloudnorm")
    config = tmp_path / "songs.yaml"
    config.write_text(
        "kits: [machine box]\ninstruments: [bass finger, guitar emily]\npresets: [0]\ndrum_programs: [0]\n"
    )
    command = ["render_songs", "--config", str(config), "--out", str(tmp_path / "out"), "--count", "2", "--seed", "5"]
    command += ["--length", "12", "--instruments", str(folder), "--soundfont", str(font), "--instrumental"]
    monkeypatch.setattr("sys.argv", command)
    assert main() == 0
    assert capsys.readouterr().out.startswith("2 songs, 0.4 minutes")
    first, second = (tmp_path / "out" / name / "song.json" for name in ("000005", "000006"))
    record = json.loads(second.read_text())
    assert record["seed"] == [0, 6] and record["sections"][0][1] == 0.0 and "midi" in record
    first.unlink()
    before = second.stat().st_mtime_ns
    assert main() == 0
    assert capsys.readouterr().out.startswith("1 songs, 0.2 minutes")
    assert second.stat().st_mtime_ns == before
    config.write_text(config.read_text() + "made: 0.5\n")
    monkeypatch.setattr("tools.render_songs._makers", {})  # another run
    assert main() == 1 and "made by other settings" in capsys.readouterr().err  # though nothing is missing
    first.unlink()
    assert main() == 1 and not first.exists()
    assert f"{second.parent} was made by other settings" in capsys.readouterr().err


def test_a_song_that_fails_is_listed_and_the_rest_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Broken:
        material = ""

        def make(self, index: int) -> tuple[dict[str, np.ndarray], dict[str, float]]:
            if index == 1:
                raise ValueError("no such chord")
            return {"drums": np.full((2, RATE), 0.1, np.float32)}, {"length": 60.0}

    monkeypatch.setattr("tools.render_songs.open_maker", lambda order: Broken())
    monkeypatch.setattr("sys.argv", ["render_songs", "--out", str(tmp_path / "out"), "--count", "3"])
    assert main() == 1
    told = capsys.readouterr()
    assert told.out.startswith("2 songs, 2.0 minutes")
    assert "render_songs: song 000001 failed: ValueError: no such chord" in told.err
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["000000", "000002"]


def _is_killed(job: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.skipif(os.name == "nt", reason="no such signal")
def test_a_process_that_the_system_ends_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a pool that starts another in its place, its song never comes, and the run never ends."""
    monkeypatch.setattr("tools.render_songs.render", _is_killed)
    with pytest.raises(StreamsepError, match=r"ended by the system.*--jobs"):
        list(rendered([(None, 0), (None, 1)], 2))  # type: ignore[list-item]


def test_what_cannot_be_made_is_told_before_any_song(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setattr("sys.argv", ["render_songs", "--out", str(tmp_path / "file" / "out")])
    assert main() == 1 and "choose another --out" in capsys.readouterr().err
    monkeypatch.setattr("sys.argv", ["render_songs", "--out", str(tmp_path / "out"), "--seed", "-5"])
    with pytest.raises(SystemExit):
        main()
    assert "--seed -5 must be 0 or more" in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_a_folder_without_the_named_midi_songs(
    fluidsynth: None, font: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.mid").write_bytes(b"")
    command = ["render_songs", "--out", str(tmp_path / "out"), "--midi", str(tmp_path), "--soundfont", str(font)]
    monkeypatch.setattr("sys.argv", [*command, "--instrumental"])
    assert main() == 1
    assert "holds none of the MIDI songs that" in capsys.readouterr().err


def test_a_studio_without_samples_has_the_soundfont(fluidsynth: None, font: Path) -> None:
    studio = open_studio(ALL, None, font)
    assert isinstance(studio, Studio) and not studio.kits and list(studio.fonts) == ["file tone"]


def test_a_soundfont_of_ones_own_has_nobody_elses_licence(fluidsynth: None, font: Path, tmp_path: Path) -> None:
    """Whatever its file is called."""
    own = tmp_path / "fluid-mine.sf2"
    own.write_bytes(font.read_bytes())
    maker = Maker(ALL, open_studio(ALL, None, own), None, (), 14.0)
    used = [f"{name} 0" for name in maker.studio.fonts]
    record = maker._record(1, maker.score(1)[0], "", used, [])
    assert record["sounds"] == ["file fluid-mine 0"] and record["licences"] == []


def test_presets_that_no_soundfont_has_are_left_out(fluidsynth: None, font: Path) -> None:
    config = SongsConfig(presets=(0, 5, 8000), drum_programs=(0, 16))
    studio = open_studio(config, None, font)
    assert studio.presets == {0} and studio.font_kits == (0,)
