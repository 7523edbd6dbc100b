"""Practice parts: read from maps and file names, the same for the same seed, sound in every way."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile

from streamsep.errors import StreamsepError
from streamsep.training.data import DataConfig, open_library
from streamsep.training.practice import PRACTICED, open_practice
from streamsep.training.practice_band import Band
from streamsep.training.practice_drums import GROOVES
from streamsep.training.practice_effects import colour, overdrive
from streamsep.training.practice_samples import Instrument, acoustic_pieces, one_shot_pieces, read_sfz, varispeed

RATE = 44100
MAP = """// a map
<global> ampeg_release=1
<group> lovel=0 hivel=60
<region> lokey=20 hikey=50 pitch_keycenter=45 sample=samples\\soft.wav // the low ones
<group> lovel=61
<region> key=45 sample=samples/loud.wav
<region> key=46 sample=samples/missing.wav
<region> key=47 trigger=release sample=samples/loud.wav
"""


def write(path: Path, frequency: float, level: float = 0.5, seconds: float = 0.6) -> None:
    time = np.arange(round(seconds * RATE)) / RATE
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, level * np.sin(2 * np.pi * frequency * time) * np.exp(-4 * time), RATE, subtype="FLOAT")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A band of one sine a drum, one bass and one piano."""
    root = tmp_path_factory.mktemp("instruments")
    for index, drum in enumerate(("KdrumL", "Snare1", "HihatClosed", "SnareRest1", "Snare2")):
        for layer in (2, 10, 4):
            write(root / "drums_muldjordkit" / "samples" / drum / f"{layer}-x.wav", 100 * (index + 1), layer / 20, 0.1)
    for instrument in ("bass_synth1", "piano_upright_kw"):
        write(root / instrument / "samples" / "soft.wav", 110, 0.2)
        write(root / instrument / "samples" / "loud.wav", 110, 0.8)
        (root / instrument / "map.sfz").write_text(MAP)
    return root


@pytest.fixture(autouse=True)
def short_parts(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    from streamsep.training import practice

    real = Band.part
    monkeypatch.setattr(Band, "part", lambda self, stem, index, rng: real(self, stem, index, rng, 4.0))
    monkeypatch.setattr(practice, "PART_SECONDS", 4.0)
    yield


def test_a_map_is_read_with_its_inheritance_and_without_what_is_missing(folder: Path) -> None:
    soft, loud = read_sfz(folder / "bass_synth1" / "map.sfz")
    assert (soft.keys, soft.velocities, soft.centre, soft.path.name) == ((20, 50), (0, 60), 45, "soft.wav")
    assert (loud.keys, loud.velocities, loud.centre, loud.path.name) == ((45, 45), (61, 127), 45, "loud.wav")


def test_notes_have_their_pitch_layer_and_length(folder: Path) -> None:
    instrument, rng = Instrument(read_sfz(folder / "bass_synth1" / "map.sfz")), np.random.default_rng(0)
    octave_down = instrument.note(33, 0.3, 0.5, rng)
    peak = np.abs(np.fft.rfft(octave_down[0], RATE)).argmax()
    assert peak == pytest.approx(55, abs=2) and octave_down.shape == (1, round(0.56 * RATE))
    assert np.abs(octave_down[:, -1]).max() < 1e-3
    assert np.abs(instrument.note(45, 0.9, 0.2, rng)).max() > 3 * np.abs(instrument.note(45, 0.3, 0.2, rng)).max()


def test_varispeed_glides_and_ends_with_the_sound() -> None:
    ramp = np.arange(100, dtype=np.float32)[None]
    assert np.allclose(varispeed(ramp, 2.0, 10)[0], np.arange(0, 20, 2))
    assert varispeed(ramp, 2.0, 500).shape == (1, 50)
    assert np.allclose(varispeed(ramp, np.array([0.5, 1.0, 2.0], np.float32), 3)[0], [0, 1, 3])


def test_drums_are_told_by_their_names(tmp_path: Path, folder: Path) -> None:
    layers = acoustic_pieces(folder / "drums_muldjordkit")
    assert sorted(layers) == ["hat", "kick", "rim", "snare"] and len(layers["snare"]) == 2
    assert [path.stem for path in layers["kick"][0] if isinstance(path, Path)] == ["2-x", "4-x", "10-x"]
    names = {"hhopen-1": "open", "stick-h": "rim", "conga-hh": "tom1", "DT_Closedhat": "hat", "univox-sd": "snare",
             "Kick1": "kick", "cymball": "crash", "sn_dub": "snare", "maraca": "shaker", "door": None}  # fmt: skip
    for name in names:
        write(tmp_path / f"{name}.wav", 100, seconds=0.01)
    pieces = one_shot_pieces(tmp_path).items()
    found = {path.stem: piece for piece, drums in pieces for (path,) in drums if isinstance(path, Path)}
    assert found == {name: piece for name, piece in names.items() if piece}


def test_grooves_fill_a_bar_with_known_marks() -> None:
    for name, groove in GROOVES.items():
        assert {len(lane) for lane in groove.lanes.values()} in ({16}, {12}), name
        assert set("".join(groove.lanes.values())) <= set("Xxog."), name
        assert 80 <= groove.tempo[0] < groove.tempo[1] <= 150, name


@pytest.mark.parametrize("stem", PRACTICED)
def test_parts_are_sound_and_depend_on_the_seed_alone(folder: Path, stem: str) -> None:
    first, again = (Band(folder).part(stem, 3, np.random.default_rng((0, 3))) for _ in range(2))
    other = Band(folder).part(stem, 3, np.random.default_rng((1, 3)))
    assert first.shape == (2, 4 * RATE) and first.dtype == np.float32
    assert np.isfinite(first).all() and np.abs(first).max() == pytest.approx(0.9, abs=1e-4)
    assert np.array_equal(first, again) and not np.array_equal(first, other)
    quarters = first.reshape(2, 4, -1).std((0, 2))
    assert (quarters[:2] > 1e-3).all()


def test_overdrive_is_bounded_and_a_room_keeps_what_came_before() -> None:
    sound = np.random.default_rng(0).normal(0, 0.2, (2, 3000)).astype(np.float32)
    assert all(np.abs(overdrive(sound, drive)).max() == pytest.approx(1, abs=1e-5) for drive in (0.0, 1.5, 20.0))
    tails = [colour(np.pad(sound, ((0, 0), (0, RATE))), np.random.default_rng(seed), wet=0.5) for seed in range(4)]
    late = [float(np.abs(tail[:, 3000 + RATE // 50 :]).max()) for tail in tails]
    assert max(late) > 0.01 > min(late) and all(np.isfinite(tail).all() for tail in tails)


def test_practice_is_rendered_once_and_joins_the_library(tmp_path: Path, folder: Path) -> None:
    write(tmp_path / "songs" / "one" / "drums.wav", 100)
    config, cache = DataConfig(practice=8 / 60), tmp_path / "cache"
    library = open_library(tmp_path / "songs", config, instruments=folder, cache=cache, quiet=True)
    assert {stem: len(clips) for stem, clips in library.extra.items()} == {"drums": 2, "bass": 2, "other": 2}
    assert all(clip.level > 0.01 and clip.length == 4 * RATE for clips in library.extra.values() for clip in clips)
    written = {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").rglob("*.npy")}
    open_library(tmp_path / "songs", config, instruments=folder, cache=cache, quiet=True)
    assert written == {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").rglob("*.npy")}


def test_practice_without_instruments_is_left_out_and_without_samples_an_error(tmp_path: Path, folder: Path) -> None:
    write(tmp_path / "one" / "drums.wav", 100)
    alone = open_library(tmp_path, DataConfig(practice=1.0), cache=tmp_path / "cache", quiet=True)
    assert len(alone.songs) == 1 and not alone.extra
    with pytest.raises(StreamsepError, match=r"asks for no practice; .* or leave out --instruments"):
        open_library(tmp_path, DataConfig(), instruments=folder, quiet=True)
    with pytest.raises(StreamsepError, match="no folder"):
        open_practice(tmp_path / "nowhere", 1.0, tmp_path / "cache", quiet=True)
    with pytest.raises(StreamsepError, match="no samples for drums"):
        open_practice(tmp_path, 1.0, tmp_path / "cache", quiet=True)
