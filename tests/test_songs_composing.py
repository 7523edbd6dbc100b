"""Songs on paper: harmony, form, rests, grooves, bass lines, tunes; and songs read from MIDI files."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from streamsep.errors import StreamsepError
from streamsep.training.songs.clock import Clock
from streamsep.training.songs.composing import compose
from streamsep.training.songs.form import draw_form, draw_rests
from streamsep.training.songs.grooves import GROOVES, KEYS, Drumming, drum_bars, kicks
from streamsep.training.songs.harmony import PROGRESSIONS, Chord, lay_out, placed, read_chord
from streamsep.training.songs.lines import BASS_LINES, Ground
from streamsep.training.songs.midi_songs import read_midi, read_score
from streamsep.training.songs.score import Score
from streamsep.training.songs.sounds import PROGRAMS, REPLACED, family_of, place_program, playable
from streamsep.training.songs.styles import STYLES
from streamsep.training.songs.tunes import Voice, harmonised, scale, sung


@pytest.fixture(scope="module")
def songs() -> list[Score]:
    """One song of each style."""
    return [compose((3, index), 40.0, style) for index, style in enumerate(STYLES)]


def test_roman_numerals() -> None:
    assert read_chord("I", 0) == Chord(0, (0, 4, 7))
    assert read_chord("bVII", 2) == Chord(0, (0, 4, 7))
    assert read_chord("ii7", 0) == Chord(2, (0, 3, 7, 10))
    assert read_chord("vi", 7) == Chord(4, (0, 3, 7))
    assert read_chord("bII5", 4) == Chord(5, (0, 7))
    with pytest.raises(ValueError, match="is no chord"):
        read_chord("VIII", 0)


def test_all_progressions_can_be_read() -> None:
    for loops in PROGRESSIONS.values():
        for loop in loops:
            assert all(0 <= read_chord(numeral, 5).root < 12 for numeral in loop.split())


def test_bars_know_the_chord_that_follows() -> None:
    first, second = read_chord("I", 0), read_chord("V", 0)
    bars = lay_out((first, second), 2)
    assert [bar.at(1.9) for bar in bars] == [first, first] and [bar.at(2.0) for bar in bars] == [second, second]
    assert [bar.following for bar in bars] == [first, first]
    assert placed(4, 28) == 28 and placed(3, 28) == 39


def test_swing_and_shuffle() -> None:
    assert Clock(60, swing=0.5).seconds(1.25) == pytest.approx(1.375)
    assert Clock(60, swing=0.5).seconds(1.5) == pytest.approx(1.5)
    assert Clock(120, shuffle=True).seconds(2.5) == pytest.approx((2 + 2 / 3) / 2)
    assert Clock(120, shuffle=True).straight(2.5) == pytest.approx(1.25)


def test_the_form_fills_the_bars_without_gaps() -> None:
    for seed in range(20):
        passages = draw_form(22, np.random.default_rng(seed))
        assert [a.first + a.bars for a in passages] == [b.first for b in passages[1:]] + [22]


def test_players_rest_and_a_section_returns_alike() -> None:
    rested = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        passages = draw_form(40, rng)
        plays = draw_rests("vocal", passages, rng)
        assert any(plays)
        rested += not all(plays)
        by_name: dict[str, set[bool]] = {}
        for passage, on in zip(passages, plays, strict=True):
            by_name.setdefault(passage.name, set()).add(on)
        assert all(len(choices) == 1 for choices in by_name.values())
    assert rested > 20


def test_the_same_seed_is_the_same_song() -> None:
    assert compose((1, 2), 30.0) == compose((1, 2), 30.0)
    assert compose((1, 2), 30.0) != compose((1, 3), 30.0)


def test_songs_have_the_wanted_length_and_form(songs: list[Score]) -> None:
    for song in songs:
        assert 36 < song.length < 46
        assert song.sections[0].start == 0 and song.sections[-1].end == song.length
        assert all(a.end == pytest.approx(b.start) for a, b in pairwise(song.sections))
        assert {"drums", "bass", "other"} <= {part.stem for part in song.parts}


def test_notes_keep_to_the_song_and_their_range(songs: list[Score]) -> None:
    for song in songs:
        for part in song.parts:
            assert list(part.notes) == sorted(part.notes, key=lambda note: note.start)
            assert all(0 <= n.start < song.length and n.length > 0 and 0 < n.velocity <= 1 for n in part.notes)
        assert all(21 <= note.pitch <= 60 for part in song.of("bass") for note in part.notes)
        assert all(33 <= note.pitch <= 96 for part in song.of("vocals") for note in part.notes)


def test_voices_are_monophonic_breathe_and_have_words(songs: list[Score]) -> None:
    leads = [part for song in songs for part in song.of("vocals") if part.role == "lead vocal"]
    assert len(leads) > len(STYLES) / 2
    for part in leads:
        gaps = [b.start - a.end for a, b in pairwise(part.notes)]
        assert min(gaps) > -1e-9 and max(gaps) > 0.25
        assert all(note.syllable for note in part.notes)


def test_kicks_fall_where_the_groove_has_them() -> None:
    groove = GROOVES["rock"]
    assert kicks(groove) == [0.0, 2.0, 2.5]
    assert kicks(GROOVES["shuffle"]) == pytest.approx([0.0, 2.0, 8 / 3])
    passages = draw_form(8, np.random.default_rng(1))
    drumming = Drumming(groove, groove, 8, 0.0)
    strokes = [b for p in passages for b in drum_bars(drumming, p, np.random.default_rng(2)) if b.piece == "kick"]
    on_the_one = [b for b in strokes if b.beat % 4 in (0.0, 2.0, 2.5)]
    assert len(on_the_one) > 0.85 * len(strokes) and len(on_the_one) > 12


def test_a_bass_with_the_kick_plays_on_it() -> None:
    bar = lay_out((read_chord("i", 9),), 1)[0]
    hits = BASS_LINES["with kick"](Ground(bar, 28, [0.0, 1.5, 2.5]), np.random.default_rng(0))
    assert [hit.start for hit in hits] == [0.0, 1.5, 2.5] and hits[0].pitch == 33


@pytest.mark.parametrize("name", BASS_LINES)
def test_bass_lines_stay_in_their_bar(name: str) -> None:
    bar = lay_out((read_chord("I", 0), read_chord("IV", 0)), 1)[0]
    for seed in range(10):
        hits = BASS_LINES[name](Ground(bar, 28, [0.0, 2.5]), np.random.default_rng(seed))
        assert hits and all(0 <= hit.start < 4 and hit.start + hit.length <= 4.2 for hit in hits)
        assert all(23 <= hit.pitch <= 60 for hit in hits)


def test_a_tune_returns_and_its_harmony_moves_with_it() -> None:
    bars = lay_out((read_chord("I", 0), read_chord("V", 0)), 4)
    voice = Voice(55, 72, 0, False, 0.6)
    tune = sung(bars, 0, voice, (5,))
    again = sung(bars, 8, voice, (5,))
    assert [(t.start + 32, t.pitch) for t in tune] == [(t.start, t.pitch) for t in again]
    assert all(t.pitch % 12 in scale(0, False, bars[int(t.start // 4)].at(t.start % 4)) for t in tune)
    above = harmonised(tune, bars, 0, voice, 2)
    assert all(2 <= b.pitch - a.pitch <= 9 for a, b in zip(tune, above, strict=True))


def test_a_scale_leaves_out_what_clashes_with_the_chord() -> None:
    assert scale(0, False, Chord(0, (0, 4, 7))) == {0, 2, 4, 7, 9}
    assert scale(0, False, Chord(5, (0, 4, 7))) == {0, 2, 5, 7, 9}


def test_programs_go_to_their_stems() -> None:
    assert [place_program(p)[0] for p in (0, 29, 32, 33, 39, 48, 81)] == ["other"] * 2 + ["bass"] * 3 + ["other"] * 2
    assert place_program(30) == ("other", "rhythm guitar") and place_program(117) == ("drums", "percussion")
    assert (
        family_of(30) == "distorted guitar" and family_of(34) == "electric bass" and family_of(25) == "acoustic guitar"
    )
    assert not any(playable(program) in (52, 53, 54, 85) for program in range(128))
    assert all(family_of(playable(program)) in PROGRAMS for program in range(128)) and 52 in REPLACED


def _write_midi(path: Path) -> Path:
    mido = pytest.importorskip("mido")
    file = mido.MidiFile(ticks_per_beat=480)
    track = mido.MidiTrack([mido.MetaMessage("set_tempo", tempo=500_000)])
    for channel, program in ((0, 33), (1, 30), (2, 53)):
        track.append(mido.Message("program_change", channel=channel, program=program))
    for beat in range(160):
        keys = ((0, 33), (1, 57), (1, 64), (2, 69), (9, 36 if beat % 2 == 0 else 38))
        for channel, key in keys:
            track.append(mido.Message("note_on", channel=channel, note=key, velocity=100))
        for index, (channel, key) in enumerate(keys):
            track.append(mido.Message("note_off", channel=channel, note=key, time=480 if index == 0 else 0))
    file.tracks.append(track)
    file.save(path)
    return path


def test_a_midi_song_is_read(tmp_path: Path) -> None:
    song = read_midi(_write_midi(tmp_path / "a.mid"))
    assert (
        song.tempo == pytest.approx(120)
        and song.beats == 160
        and set(song.parts) == {(0, 33), (1, 30), (2, 53), (9, 0)}
    )
    assert song.parts[0, 33][1] == (1.0, 2.0, 33, 100 / 127)


def test_an_excerpt_is_transposed_as_one_and_its_drums_are_not(tmp_path: Path) -> None:
    song = read_midi(_write_midi(tmp_path / "a.mid"))
    scores = [read_score(song, 30.0, np.random.default_rng(seed), (seed,)) for seed in range(6)]
    for score in scores:
        assert 26 < score.length < 34 and 100 < score.tempo < 145
        bass = {note.pitch for part in score.of("bass") for note in part.notes}
        shift = bass.pop() - 33
        assert not bass and abs(shift) <= 4
        assert score.key == (9 + shift) % 12
        assert {note.pitch for part in score.of("drums") for note in part.notes} == {36, 38}
        assert {n.pitch - shift for p in score.of("other") for n in p.notes} <= {57, 64, 69}
        beat = 60 / score.tempo
        struck = np.array([note.start for part in score.of("bass") for note in part.notes]) / beat
        assert np.abs(struck - np.round(struck)).max() < 0.1
    assert len({score.tempo for score in scores}) == 6 and any(score.of("vocals") for score in scores)


def test_what_is_no_midi_file_is_told(tmp_path: Path) -> None:
    pytest.importorskip("mido")
    (tmp_path / "a.mid").write_bytes(b"no")
    with pytest.raises(StreamsepError, match="cannot read the MIDI file"):
        read_midi(tmp_path / "a.mid")


def test_every_struck_piece_is_a_general_midi_drum() -> None:
    assert {piece for groove in GROOVES.values() for piece in groove.lanes} <= set(KEYS)
