"""Songs as others lay them out, several roots, and where a recording ends in frequency."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import soxr

from streamsep.errors import StreamsepError
from streamsep.training.bandwidth import measure_bandwidth
from streamsep.training.batches import BatchConfig, BatchMaker
from streamsep.training.clips import cached_clip
from streamsep.training.data import STEMS, DataConfig, Root, open_library, song_folders
from streamsep.training.layouts import song_files
from tests.test_training_data import tone, write


def moises_song(folder: Path, stems: dict[str, list[tuple[str, str]]], level: float = 0.25) -> None:
    """A song of MoisesDB's layout: stem -> (track, type)."""
    for stem, tracks in stems.items():
        for track, _ in tracks:
            write(folder / stem / f"{track}.wav", tone(0.2, level=level))
    entries = [
        {"stemName": stem, "tracks": [{"id": t, "extension": "wav", "trackType": kind} for t, kind in tracks]}
        for stem, tracks in stems.items()
    ]
    (folder / "data.json").write_text(json.dumps({"song": "a song", "stems": entries}))


def test_moisesdb_gives_four_stems_as_sums_of_its_tracks(tmp_path: Path) -> None:
    stems = {
        "drums": [("kick", "kick drum"), ("snare", "snare drum")],
        "guitar": [("lead", "clean electric guitar")],
        "piano": [("grand", "grand piano")],
        "percussion": [("claps", "a-tonal percussion (claps, shakers, congas, cowbell etc)"), ("bell", "pitched")],
    }
    moises_song(tmp_path / "moisesdb_v0.1" / "0a1b", stems)
    assert list(song_folders(tmp_path)) == ["0a1b"]
    (song,) = open_library(tmp_path, DataConfig(), cache=tmp_path / "cache", quiet=True).songs
    assert sorted(song.clips) == ["drums", "other"] and song.joined == ()
    for stem in ("drums", "other"):  # three tracks each, all the same tone
        assert song.clips[stem].level == pytest.approx(3 * 0.25 / 2**0.5, rel=1e-3)


def test_a_damaged_song_of_moisesdb_is_named(tmp_path: Path) -> None:
    moises_song(tmp_path / "song", {"bass": [("deep", "bass guitar")]})
    (tmp_path / "song" / "bass" / "deep.wav").unlink()
    with pytest.raises(StreamsepError, match=r"deep\.wav, which is not there"):
        song_folders(tmp_path)
    (tmp_path / "song" / "data.json").write_text('{"stems": [{"tracks": 3}]}')
    with pytest.raises(StreamsepError, match="not a song of MoisesDB"):
        song_folders(tmp_path)


@pytest.mark.parametrize(
    ("files", "clips", "joined"),
    [
        (("vocals", "no_vocals"), {"vocals", "other"}, ("drums", "bass", "other")),
        (("instrumental",), {"other"}, ("drums", "bass", "other")),
        (("drums", "no_drums"), {"drums", "other"}, ("bass", "vocals", "other")),
        (("other", "no_other"), {"other", "vocals"}, ("drums", "bass", "vocals")),
        (("drums", "bass", "other", "vocals", "no_vocals"), set(STEMS), ()),
        (("drums", "mixture"), {"drums"}, ()),
    ],
)
def test_a_stem_beside_the_rest_is_a_song_of_two(
    tmp_path: Path, files: tuple[str, ...], clips: set[str], joined: tuple[str, ...]
) -> None:
    for name in files:
        write(tmp_path / f"{name}.wav", tone(0.05))
    found = song_files(tmp_path)
    assert set(found.stems) == clips and found.joined == joined


def two_roots(tmp_path: Path) -> tuple[str, str]:
    for root, count in (("few", 1), ("many", 5)):
        for song in range(count):
            for stem in STEMS:
                write(tmp_path / root / f"{song}" / f"{stem}.wav", tone(0.3, level=0.1 if root == "few" else 0.2))
    return str(tmp_path / "few"), str(tmp_path / "many")


@pytest.mark.parametrize(("share", "expected"), [((None, None), 1 / 6), ((1.0, 1.0), 0.5), ((3.0, None), 0.75)])
@pytest.mark.parametrize("remix", [0.0, 1.0])
def test_roots_are_drawn_by_their_shares(
    tmp_path: Path, remix: float, share: tuple[float | None, float | None], expected: float
) -> None:
    few, many = two_roots(tmp_path)
    roots = [Root(few + "/", share[0]), Root(many, share[1])]
    library = open_library([Root(str(Path(r.path)), r.share) for r in roots], DataConfig(), cache=tmp_path, quiet=True)
    assert [song.root for song in library.songs] == [few] + 5 * [many]
    maker = BatchMaker(library, BatchConfig(remix=remix), STEMS, 64)
    weights = maker._song_weights if remix == 0 else np.array([weight for _, weight in maker._holders["drums"]])
    assert weights.sum() == pytest.approx(1) and weights[0] == pytest.approx(expected, abs=1e-6)


def test_a_name_that_is_held_out_is_held_out_of_every_root(tmp_path: Path) -> None:
    few, many = two_roots(tmp_path)
    library = open_library([Root(few), Root(many)], DataConfig(validation=("0",)), cache=tmp_path, quiet=True)
    assert [song.name for song in library.songs] == ["1", "2", "3", "4"]
    assert [song.root for song in library.validation] == [few, many]


def noise(seconds: float = 4.0) -> np.ndarray:
    return np.random.default_rng(0).normal(0, 0.1, (round(44100 * seconds), 2)).astype(np.float32)


def as_integers(samples: np.ndarray) -> np.ndarray:
    return np.rint(samples * 32767).astype(np.int16)


@pytest.mark.parametrize(("rate", "gain"), [(12000, 1.0), (16000, 1.0), (24000, 1.0), (16000, 0.01)])
def test_the_edge_of_a_resampled_recording_is_found(rate: int, gain: float) -> None:
    limited = gain * soxr.resample(soxr.resample(noise(), 44100, rate), rate, 44100)
    assert 0.85 * rate / 2 < measure_bandwidth(as_integers(limited), 44100) < rate / 2


def test_a_sound_that_loses_its_treble_slowly_has_no_edge() -> None:
    spectrum = np.fft.rfft(noise(), axis=0)
    frequencies = np.fft.rfftfreq(4 * 44100, 1 / 44100)[:, None]
    bass = np.fft.irfft(spectrum / (1 + (frequencies / 300) ** 2), axis=0)
    for samples in (noise(), bass, np.zeros((44100, 2)), np.zeros((10, 2))):
        assert math.isinf(measure_bandwidth(as_integers(samples), 44100))
    # A singer, one whose treble fades to nothing, and a steep edge with treble above it.
    for hertz, decibels in (([4000, 6000], [0, -40]), ([4000, 9000], [0, -100]), ([5000, 5100], [0, -35])):
        gains = 10 ** (np.interp(frequencies, hertz, decibels) / 20)
        samples = np.fft.irfft(spectrum * gains, axis=0)
        assert math.isinf(measure_bandwidth(as_integers(samples), 44100))


def test_the_band_is_kept_in_the_cache_and_follows_the_speed(tmp_path: Path) -> None:
    limited = soxr.resample(soxr.resample(noise(), 44100, 16000), 16000, 44100)
    file, stem = write(tmp_path / "song" / "vocals.wav", limited), tmp_path / "cache" / "a"
    band = cached_clip([file], stem).band
    record = json.loads(stem.with_name("a.json").read_text())
    decoded = stem.with_name("a.npy").stat().st_mtime_ns
    assert record.pop("band") == band and record.pop("measure")
    for earlier in ({}, {"band": 3705.0}):  # as earlier caches were: not measured, or otherwise
        stem.with_name("a.json").write_text(json.dumps(record | earlier))
        assert cached_clip([file], stem).band == band
    assert stem.with_name("a.npy").stat().st_mtime_ns == decoded
    library = open_library(tmp_path, DataConfig(), cache=tmp_path / "cache", quiet=True)
    config = BatchConfig(size=1, seconds=0.1, respeed=1.0, speed=(1.1, 1.1), remix=0.0, silence=0.0)
    drawn = BatchMaker(library, config, STEMS, 64)(0).band
    assert drawn is not None and drawn.tolist() == [[math.inf] * 3 + [pytest.approx(1.1 * band)]]
