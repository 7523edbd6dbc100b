"""Where measures stop, what they weigh by, and what the words that are made of them say."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from streamsep.evaluation import jobs
from streamsep.evaluation.diagnosis import diagnose
from streamsep.evaluation.jobs import six_digits
from streamsep.evaluation.material import Wanted, prepare
from streamsep.evaluation.measures.sums import LogSpectra, Peaks, Seconds, leakage, second_measures, stereo_error
from streamsep.evaluation.seams import Seam
from streamsep.evaluation.songs import SongFiles
from streamsep.files import Codec, write_audio
from tests.test_measures import fed

RATE = 1000


def seconds(*levels: float | tuple[float, float]) -> Any:
    """A second of a square wave at each level, of both channels or of left and right."""
    pairs = [level if isinstance(level, tuple) else (level, level) for level in levels]
    return np.concatenate([np.where(np.arange(RATE) % 2, 1.0, -1.0)[:, None] * pair for pair in pairs])


def test_a_louder_peak_starts_the_count_anew() -> None:
    """A quiet stretch that never leaves its peak is no clipping of what comes after it."""
    quiet, loud = seconds(0.1), np.linspace(0, 0.5, RATE)[:, None].repeat(2, 1)
    peaks = fed(Peaks(), np.concatenate([quiet, loud]), step=100)
    assert peaks.peak == 0.5 and peaks.clipped == 1 / (2 * RATE)
    assert fed(Peaks(), seconds(0.0)).clipped == 0


def test_the_stereo_error_of_a_second_counts_by_its_energy_and_no_more_than_40_decibels() -> None:
    """In the first second of four times the energy the image is right, in the other it is 6.02 dB off."""
    s, e = seconds(0.2, 0.1), seconds(0.2, (0.1, 0.05))
    assert stereo_error(fed(Seconds(RATE), s, e, s).table())["level_db"] == pytest.approx(6.02 / 5, abs=0.01)
    e = seconds((0.2, 0.0), (0.1, 0.0))
    assert stereo_error(fed(Seconds(RATE), s, e, s).table())["level_db"] == pytest.approx(40, abs=0.01)
    faint = fed(Seconds(RATE), seconds((0.2, 0.0002)), seconds((0.2, 0.0)), s[:RATE]).table()
    assert stereo_error(faint)["level_db"] < 0.1  # a channel 60 dB below the other is as good as silent
    one_side = fed(Seconds(RATE), seconds((0.2, 0.0)), seconds((0.0, 0.2)), s[:RATE]).table()
    assert stereo_error(one_side)["level_db"] == 40


def test_leakage_needs_a_mixture_that_sounds_and_adds_up_energies() -> None:
    s, m = seconds(0.0, 0.0, 0.0, 0.1), seconds(0.2, 0.1, 0.0, 0.1)
    e = seconds(0.02, 0.0, 0.3, 0.3)
    expected = 10 * math.log10(0.02**2 / (0.2**2 + 0.1**2))
    assert leakage(fed(Seconds(RATE), s, e, m).table()) == pytest.approx(expected)
    assert leakage(fed(Seconds(RATE), s, 0 * e, m).table()) == -math.inf


@pytest.mark.parametrize(("level", "sounds"), [(0.6e-4, False), (0.8e-4, True)])
def test_a_second_sounds_from_80_decibels_under_full_scale_on(level: float, sounds: bool) -> None:
    """In the mean square of both channels together."""
    s = seconds(level)
    curve = second_measures(fed(Seconds(RATE), s, 0.9 * s, s).table())["sdr"]
    assert curve == ([pytest.approx(20)] if sounds else [pytest.approx(math.nan, nan_ok=True)])


def test_the_distance_of_spectra_has_a_floor() -> None:
    """Noise of -20 dB against nothing is as far away as its power is from -80 dB, in the mean over the spectrum."""
    noise = 0.1 * np.random.default_rng(0).standard_normal((20_000, 2))
    measure = fed(LogSpectra(RATE), noise, 0 * noise)
    window = np.hanning(2049)[:-1]
    frames = np.lib.stride_tricks.sliding_window_view(noise, 2048, axis=0)[::1024]
    power = np.square(np.abs(np.fft.rfft(frames * window))).mean(1) / window.sum() ** 2
    expected = np.sqrt(np.square(10 * np.log10(power / 1e-8 + 1)).mean(1)).mean()
    assert measure.mean == pytest.approx(expected, rel=1e-9) and 20 < expected < 60


def facts(**changes: Any) -> dict[str, Any]:
    sound = {"clipped": 0.0, "peak": 0.5, "seam_heard": False, "drift": 0.0, "delay": 0, "likeness": {"drums": 0.9}}
    return sound | changes


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"delay": 132}, "drums is 3.0 ms late (132 samples)"),
        ({"delay": -132}, "drums is 3.0 ms early (132 samples)"),
        ({"delay": 22}, None),
        ({"delay": 132, "likeness": {"drums": 0.4}}, None),
        ({"drift": -1 / 511}, "drums runs ahead of its truth more and more: one sample of every 512 is missing"),
        ({"drift": 1 / 513}, "drums runs behind its truth more and more: a sample is added every 512"),
        ({"clipped": 0.01}, "drums is clipped: 1 % of its samples lie at its peak of 0.5"),
        ({"clipped": 0.01, "clipped_true": 0.002}, "drums is clipped: 1 % of its samples lie at its peak of 0.5"),
        ({"clipped": 0.01, "clipped_true": 0.003}, None),
        ({"clipped": 1e-4}, None),
        ({"seam_heard": True, "seam": 7.25, "seam_period": 512},
         "drums has a seam every 512 samples, 7.2 dB rougher than between them"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_in_words(changes: dict[str, Any], text: str | None) -> None:
    found = diagnose({"drums": facts(**changes)}, 44100, 1_000_000)
    assert [each["text"] for each in found] == ([] if text is None else [text])


@pytest.mark.parametrize(
    ("heard", "warned"), [(23.2, False), (23.205, False), (24.7, True), (20.0, True), (None, False)]
)
def test_a_latency_other_than_the_declared_one_is_told(heard: float | None, warned: bool) -> None:
    found = jobs._latency_warnings({"latency_heard_ms": heard, "latency_declared_ms": 23.2})
    assert bool(found) is warned
    if heard is not None and warned:
        assert found[0]["text"] == f"an impulse comes {heard:.1f} ms late, not 23.2 ms"


@pytest.mark.parametrize(("figure", "sigma", "heard"), [(3.1, 8.1, True), (2.9, 20.0, False), (9.0, 7.9, False)])
def test_a_seam_is_3_decibels_and_eight_deviations(figure: float, sigma: float, heard: bool) -> None:
    assert Seam(512, figure, sigma).heard is heard
    assert not Seam(512, math.nan, math.nan).heard


def test_numbers_keep_six_digits_and_what_is_no_number_stays() -> None:
    data = {"a": [1.23456789, math.inf, {"b": 1234567.8}], "c": "1.23456789", "d": 123456789, "e": None}
    assert six_digits(data) == {
        "a": [1.23457, math.inf, {"b": 1234570.0}],
        "c": "1.23456789",
        "d": 123456789,
        "e": None,
    }


def written(folder: Path, **stems: Any) -> dict[str, Path]:
    for name, samples in stems.items():
        write_audio(folder / f"{name}.wav", samples.T.astype(np.float32), RATE, Codec(bits=32))
    return {name: folder / f"{name}.wav" for name in stems}


def test_the_excerpt_is_where_all_stems_are_loudest(tmp_path: Path) -> None:
    """The drums alone are loudest in the first two seconds, both together from the fifth on."""
    drums, bass = seconds(0.5, 0.5, 0.1, 0.1, 0.3, 0.3, 0.1), seconds(0.0, 0.0, 0.1, 0.1, 0.3, 0.3, 0.0)
    song = SongFiles("song", None, written(tmp_path / "song", drums=drums, bass=bass))
    wanted = Wanted(("drums", "bass"), RATE, excerpt=2.0)
    assert prepare(song, wanted, tmp_path / "work").excerpt == (4 * RATE, 2 * RATE)
    asked = Wanted(("drums", "bass"), RATE, excerpt=2.0, start=6.0)
    assert prepare(song, asked, tmp_path / "asked").excerpt == (5 * RATE, 2 * RATE)


@pytest.mark.parametrize(("error", "odd"), [(0.3, False), (0.33, True)])
def test_stems_that_do_not_add_up_to_their_song_are_told(error: float, odd: bool, tmp_path: Path) -> None:
    """0.316 of the level is 10 dB below it."""
    sound = seconds(0.5, 0.5)
    files = written(tmp_path / "song", drums=0.5 * sound, bass=(0.5 - error) * sound, mixture=sound)
    song = SongFiles("song", files.pop("mixture"), files)
    notes = prepare(song, Wanted(("drums", "bass"), RATE), tmp_path / "work").notes
    assert bool(notes) is odd
    if odd:
        assert notes[0].startswith("the true stems add up to the song only to 9.6 dB")
