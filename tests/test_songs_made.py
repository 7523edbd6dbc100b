"""Instruments and kits that are made up: in tune, the same from the same seed, others from others, and used."""

from __future__ import annotations

import ctypes.util
from pathlib import Path

import numpy as np
import pytest

from streamsep.training.clips import RATE
from streamsep.training.practice_samples import load_sample
from streamsep.training.songs.made_drums import MadeDrum, made_kit
from streamsep.training.songs.made_notes import LONGEST, MadeInstrument, kind_of
from streamsep.training.songs.made_tones import band, burst, saw
from streamsep.training.songs.players import Session, Studio
from streamsep.training.songs.sampler import GROUPS, PIECES, play_kit
from streamsep.training.songs.score import Note, Part, Score
from streamsep.training.songs.sounds import PROGRAMS
from streamsep.training.songs.sources import LICENCES, SongsConfig, open_studio
from tests.songs_material import write_soundfont


def energy(sound: np.ndarray, low: float, high: float) -> float:
    """That between two frequencies in Hz."""
    spectrum, hertz = np.fft.rfft(sound.mean(0)), np.fft.rfftfreq(sound.shape[1], 1 / RATE)
    return float(np.square(np.abs(spectrum[(hertz >= low) & (hertz < high)])).sum())


@pytest.mark.parametrize(
    ("family", "cents"),
    [
        ("electric bass", 10), ("clean guitar", 10), ("piano", 10), ("mallets", 10),
        ("synth lead", 40), ("organ", 40), ("synth pad", 40),  # voices beside each other, and vibrato
    ],
)  # fmt: skip
@pytest.mark.parametrize("key", [45, 57])
def test_notes_are_in_tune(family: str, cents: float, key: int) -> None:
    pitch = 440 * 2 ** ((key - 69) / 12)
    near = slice(round(8 * pitch / 1.08), round(8 * pitch * 1.08))
    for seed in range(8):
        sound = MadeInstrument(family, seed).note(key, 0.8, 1.0, np.random.default_rng(0))
        spectrum = np.abs(np.fft.rfft(sound.mean(0) * np.hanning(sound.shape[1]), 8 * RATE))[near]
        peak = (near.start + float(spectrum.argmax())) / 8
        assert abs(1200 * np.log2(peak / pitch)) < cents, (seed, peak)
        assert np.isfinite(sound).all() and 0.3 < np.abs(sound).max() <= 1


@pytest.mark.parametrize("family", sorted(PROGRAMS))
def test_a_seed_is_an_instrument(family: str) -> None:
    first, again, other = (
        MadeInstrument(family, seed).note(50, 0.7, 0.5, np.random.default_rng(0)) for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, again)
    count = min(first.shape[1], other.shape[1])
    assert np.abs(first[:, :count] - other[:, :count]).max() > 0.05


def test_every_kind_is_somebodys() -> None:
    assert {kind_of(family) for family in PROGRAMS} == {"string", "bar", "synth"}
    expected = {"slap bass": "string", "synth bass": "synth", "mallets": "bar", "brass": "synth"}
    assert {name: kind_of(name) for name in expected} == expected


def test_notes_end_when_they_are_let_go_and_loud_ones_are_louder() -> None:
    organ = MadeInstrument("organ", 3)
    short, soft = (organ.note(60, velocity, 0.3, np.random.default_rng(0)) for velocity in (1.0, 0.1))
    assert short.shape[1] == round((0.3 + organ.release) * RATE) and abs(short[:, -1]).max() < 1e-3
    assert np.abs(short).max() > 2 * np.abs(soft).max()
    assert organ.note(60, 1.0, 60.0, np.random.default_rng(0)).shape[1] == LONGEST * RATE


@pytest.mark.parametrize("piece", sorted({piece for piece in PIECES.values()}))
def test_drums_sound_at_once_and_die(piece: str) -> None:
    for seed in range(8):
        stroke = load_sample(MadeDrum(piece, seed))
        assert stroke.shape[0] == 1 and np.abs(stroke).max() == pytest.approx(0.9, abs=1e-3)
        assert np.abs(stroke[:, : RATE // 10]).max() > 0.3, seed
        assert np.abs(stroke[:, -100:]).max() < 0.1, seed
        np.testing.assert_array_equal(stroke, MadeDrum(piece, seed).render())


def test_a_kick_is_low_and_a_hat_high() -> None:
    for seed in range(12):
        kick, hat = (load_sample(MadeDrum(piece, seed)) for piece in ("kick", "hat"))
        assert energy(kick, 20, 300) > 3 * energy(kick, 300, 20000), seed
        assert energy(hat, 2000, 20000) > 3 * energy(hat, 0, 2000), seed


def test_a_made_kit_has_every_piece_and_no_two_are_alike() -> None:
    first, second = (made_kit(np.random.default_rng(seed)) for seed in (0, 1))
    assert set(first) == {piece for piece in PIECES.values()}
    assert all(first[piece] != second[piece] for piece in first)
    groups = play_kit([Note(0.0, 0.1, key, 0.9) for key in sorted(PIECES)], first, RATE, np.random.default_rng(0), 0.1)
    assert set(groups) == set(GROUPS.values())


def test_a_saw_has_no_mirrored_overtones() -> None:
    tone = saw(np.full(RATE, 5003.0), 0.3, 0.0)[None]
    overtones = sum(energy(tone, 5003 * k - 20, 5003 * k + 20) for k in range(1, 5))
    assert energy(tone, 10, 20000) - overtones < 0.02 * overtones
    assert abs(saw(np.full(RATE, 100.0), 0.0, 0.3).mean() + saw(np.full(RATE, 100.0), 0.0, 0.7).mean()) < 0.01


def test_noise_keeps_to_its_band_and_decays() -> None:
    noise = burst(1.0, 0.1, (2000, 4000), np.random.default_rng(0))
    assert np.abs(noise).max() == pytest.approx(1) and np.abs(noise[RATE // 2 :]).max() < 0.05
    assert energy(noise[None], 1000, 8000) > 0.8 * energy(noise[None], 0, 22050)
    np.testing.assert_allclose(band(np.ones(1000), 0, 1e9)[100:900], np.ones(800), atol=1e-6)


@pytest.mark.skipif(ctypes.util.find_library("fluidsynth") is None, reason="needs FluidSynth")
def test_made_sounds_are_played_and_told_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    font = write_soundfont(tmp_path / "tone.sf2")
    for family in PROGRAMS:
        monkeypatch.setitem(PROGRAMS, family, (0,))
    notes = tuple(Note(0.25 * i, 0.25, 40 + i, 0.8) for i in range(8))
    strokes = tuple(Note(0.25 * i, 0.1, (36, 38)[i % 2], 0.8) for i in range(8))
    parts = (
        Part("drums", "drums", strokes, "acoustic"), Part("bass", "bass", notes, "electric bass"),
        Part("other", "keys", notes, "piano"), Part("other", "lead guitar", notes, "lead guitar"),
    )  # fmt: skip
    config = SongsConfig(presets=(0,), drum_programs=(0,), made=1.0)

    def played(config: SongsConfig) -> tuple[list[str], list[np.ndarray]]:
        studio: Studio = open_studio(config, None, font)
        session = Session(studio, Score(120.0, 0, False, 4, 2.0, "rock", (), parts), [])
        tracks = [track for part in parts for track in session.play(part, np.random.default_rng(0))]
        return session.used, [track.samples for track in tracks]

    used, sounds = played(config)
    assert used == ["made kit", "made string", "made bar"] and all(sound.any() for sound in sounds)
    assert any("made kit".startswith(key) for key in LICENCES)
    for first, second in zip(sounds, played(config)[1], strict=True):
        np.testing.assert_array_equal(first, second)
    assert not any(name.startswith("made") for name in played(SongsConfig(presets=(0,), drum_programs=(0,)))[0])


def test_how_often_is_a_share() -> None:
    with pytest.raises(ValueError, match=r"made must be from 0 to 1, not 1\.5"):
        SongsConfig(made=1.5)
