"""Singing: pitch follows the melody, consonants stand before the beat, silence stays silent, seeds decide all."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from streamsep.training.clips import RATE, Samples
from streamsep.training.songs.ensemble import Line, Singer, draw_ensemble, draw_singer
from streamsep.training.songs.melody import Delivery, Sung, contour, draw_delivery, loudness
from streamsep.training.songs.phrasing import phrases, place, syllable_units
from streamsep.training.songs.resinging import STEP, Manner, Passage, Source, resing
from streamsep.training.songs.score import Note, Part
from streamsep.training.songs.singing import Singers, in_range, perform, sung_notes
from streamsep.training.songs.voice_effects import breath, drive, pan
from tests.song_voices import HISS, made_part, made_score, made_take, made_voice_of, tracked

PLAIN = Delivery(vibrato=0, drift=0, swell=0)


def cents(heard: float, wanted: float) -> float:
    return float(1200 * np.log2(heard / wanted))


def hertz(pitch: float) -> float:
    return float(440 * 2 ** ((pitch - 69) / 12))


def seed(number: int = 0) -> np.random.Generator:
    return np.random.default_rng(number)


def sing_plain(notes: list[Sung], **changes: Any) -> Samples:
    singer = replace(Singer(made_voice_of(), delivery=PLAIN, paste=0.0), **changes)
    return perform(notes, singer, 6 * RATE, 3, seed())


@pytest.mark.parametrize("semitones", [-7.0, 0.0, 4.5, 12.0])
def test_pitch_is_as_ordered_and_formants_stay(semitones: float) -> None:
    sound, marks, _ = made_take(200.0, 1)
    wanted = 200 * 2 ** (semitones / 12)
    pitch = np.full(2000, wanted, np.float32)
    out = resing(Source(sound, 1.0, marks), [Passage(0.0, 0.7, 0.0, 1.0)], pitch, Manner(), len(sound), seed())
    assert abs(cents(tracked(out, 0.45), wanted)) < 10
    assert out[int(0.3 * RATE) : int(0.55 * RATE)].std() == pytest.approx(
        sound[int(0.3 * RATE) : int(0.55 * RATE)].std(), rel=0.3
    )


def test_own_pitch_and_time_give_the_recording_back() -> None:
    sound, marks, _ = made_take(180.0, 2)
    source = Source(sound, 1.0, marks)
    out = resing(
        source, [Passage(0.0, len(sound) / RATE, 0.0, 1.0)], np.zeros(1000, np.float32), Manner(), len(sound), seed()
    )
    first, last = int(0.3 * RATE), int(0.55 * RATE)
    alike = [np.corrcoef(out[first + lag : last + lag], sound[first:last])[0, 1] for lag in range(-250, 250, 2)]
    assert max(alike) > 0.97


def test_a_smaller_throat_has_higher_formants() -> None:
    sound, marks, _ = made_take(100.0, 1)
    middles = []
    for throat in (0.8, 1.0, 1.25):
        out = resing(
            Source(sound, 1.0, marks),
            [Passage(0, 0.6, 0, 1)],
            np.full(500, 100.0, np.float32),
            Manner(throat),
            len(sound),
            seed(),
        )
        power = np.abs(np.fft.rfft(out[int(0.3 * RATE) : int(0.5 * RATE)])) ** 2
        middles.append(float((power * np.arange(len(power))).sum() / power.sum()))
    assert middles[0] * 1.1 < middles[1] < middles[2] / 1.1


def test_whisper_has_no_pitch_and_growl_is_uneven() -> None:
    def peak(manner: Manner) -> float:
        sound, marks, _ = made_take(200.0, 1)
        out = resing(
            Source(sound, 1.0, marks),
            [Passage(0, 0.6, 0, 1)],
            np.full(500, 200.0, np.float32),
            manner,
            len(sound),
            seed(),
        )
        piece = out[int(0.3 * RATE) : int(0.5 * RATE)].astype(np.float64)
        heard = np.correlate(piece, piece, "full")[len(piece) - 1 :]
        return float(heard[200:240].max() / heard[0])

    assert peak(Manner()) > 0.9
    assert peak(Manner(rough=0.8)) < 0.85
    assert abs(peak(Manner(whisper=1.0))) < 0.4


def test_the_voice_sings_the_score_within_30_cents() -> None:
    score = made_score(made_part())
    notes = in_range(sung_notes(score.parts[0], score), made_voice_of())
    out = sing_plain(notes)
    middles = [(note.start + 0.2, note.pitch) for note in notes]
    assert [round(cents(tracked(out, at), hertz(pitch)) / 30) for at, pitch in middles] == [0] * 8


def test_consonants_end_where_the_note_begins() -> None:
    voice = made_voice_of()
    passages = place([Sung(1.0, 1.5, 55, 1), Sung(1.5, 2.5, 57, 1)], voice, seed())
    onsets = {passage.start: passage for passage in passages}
    for start in (1.0, 1.5):
        assert (onsets[start].source - HISS in voice.syllables[:, 0]) and onsets[start].rate > 0
        before = next(passage for passage in passages if passage.stop == start)
        assert before.rate == 1 and before.source + (before.stop - before.start) * RATE == pytest.approx(
            onsets[start].source
        )
    assert passages[-1].stop == 2.5
    assert all(one.stop <= two.start + 1e-9 for one, two in pairwise(passages))


def test_tied_notes_share_a_syllable() -> None:
    notes = (Note(1, 0.5, 60, 1, "la"), Note(1.5, 0.5, 62, 1, "-a"), Note(2, 0.5, 64, 1, "la"))
    part = Part("vocals", "lead vocal", notes)
    units = syllable_units(sung_notes(part, made_score(part)))
    assert [(unit.start, unit.stop) for unit in units] == [(1, 2), (2, 2.5)]


def test_phrases_part_at_rests_and_at_a_breath() -> None:
    notes = [Sung(0.5 * i, 0.5 * i + 0.45, 60, 1) for i in range(20)] + [Sung(12, 13, 60, 1)]
    assert [len(phrase) for phrase in phrases(notes)] == [14, 6, 1]


def test_notes_are_made_singable() -> None:
    notes = (Note(1, 1, 60, 1), Note(1.01, 1, 67, 1), Note(1.5, 0.5, 62, 1), Note(3, 0.01, 60, 1), Note(5.8, 3, 60, 1))
    part = Part("vocals", "lead vocal", notes)
    assert [(n.start, n.stop) for n in sung_notes(part, made_score(part))] == [(1, 1.5), (1.5, 2.0), (5.8, 5.95)]


def test_contour_glides_trembles_and_rests_on_its_notes() -> None:
    notes = [Sung(0.5, 1.5, 60, 1), Sung(1.5, 3.0, 67, 1)]
    plain = contour(notes, 3.5, PLAIN, seed())
    assert plain[int(1.0 / STEP)] == pytest.approx(hertz(60), rel=1e-4)
    assert plain[int(2.5 / STEP)] == pytest.approx(hertz(67), rel=1e-4)
    assert np.abs(np.diff(np.log2(plain))).max() < 7 / 12 / 10  # no leap
    alive = contour(notes, 3.5, replace(PLAIN, vibrato=50, rate=5.1, wait=0.2), seed())[
        int(2.1 / STEP) : int(2.9 / STEP)
    ]
    assert cents(float(alive.max()), hertz(67)) == pytest.approx(50, abs=3)
    assert np.diff(np.sign(np.log(alive / hertz(67)))).astype(bool).sum() == pytest.approx(8, abs=1)
    assert set(np.unique(contour(notes, 3.5, Delivery(tuned=True), seed()))) == {
        np.float32(hertz(60)),
        np.float32(hertz(67)),
    }
    scooped = contour(notes, 3.5, replace(PLAIN, scoop=3.0), seed())
    assert scooped[int(0.48 / STEP)] == pytest.approx(hertz(57), rel=0.01)


def test_hard_notes_are_louder() -> None:
    level = loudness([Sung(0, 1, 60, 1.0), Sung(1, 2, 60, 0.5)], 2.0, PLAIN)
    assert 20 * np.log10(level[250] / level[750]) == pytest.approx(6, abs=0.1)


def test_silence_stays_silence_outside_the_phrases() -> None:
    score = made_score(made_part())
    out = sing_plain(sung_notes(score.parts[0], score))
    assert not out[: int(0.3 * RATE)].any()
    assert not out[int(5.3 * RATE) :].any()
    assert np.abs(out[int(2.75 * RATE) : int(3.05 * RATE)]).max() < 1e-6
    sound, names = Singers([made_voice_of()]).sing(Part("vocals", "lead vocal", ()), score, seed())
    assert not sound.any() and names == ()


@pytest.mark.parametrize("manner", ["sung", "rap", "shout", "soft"])
@pytest.mark.parametrize("role", ["lead vocal", "backing vocal"])
def test_a_part_is_the_same_for_the_same_seed(role: str, manner: str) -> None:
    voices = [made_voice_of(), made_voice_of(120.0, "spoken", "speaker")]
    score = made_score(made_part(role, manner))
    sung, names = zip(*(Singers(voices).sing(score.parts[0], score, seed(number)) for number in (1, 1, 2)), strict=True)
    assert names[0] == names[1] and set(names[0]) <= {voice.name for voice in voices} and names[0]
    assert np.array_equal(sung[0], sung[1])
    assert not np.array_equal(sung[0], sung[2])
    for out in sung:
        assert out.shape == (2, score.frames) and out.dtype == np.float32 and np.isfinite(out).all()
        assert 0.03 < out.std() < 0.12


def test_rap_is_spoken_and_keeps_the_melody_of_speech() -> None:
    voices = [made_voice_of(), made_voice_of(120.0, "spoken", "speaker")]
    singer = draw_singer(voices, "rap", "hiphop", seed())
    assert singer.spoken and singer.voice.name == "speaker"
    notes = [Sung(1.0 + 0.25 * i, 1.25 + 0.25 * i, 47 + i, 0.8) for i in range(8)]
    out = sing_plain(notes, voice=voices[1], spoken=True)
    heard = [tracked(out, note.start + 0.12) for note in notes]
    assert max(cents(value, heard[0]) for value in heard) < 30  # one pitch, as recorded, though the notes rise


def test_doubles_are_loose_and_backing_is_wide() -> None:
    notes = [Sung(1, 2, 60, 1), Sung(2, 3, 62, 1)]
    part = replace(made_part("backing vocal"), pan=0.5)
    drawn: list[list[Line]] = [draw_ensemble([made_voice_of()], part, notes, "pop", seed(i)) for i in range(30)]
    assert {len(lines) for lines in drawn} == {1, 2, 3, 5}
    assert {lines[0].position for lines in drawn if len(lines) == 1} == {0.5}
    doubled = [
        lines
        for i in range(30)
        if len(lines := draw_ensemble([made_voice_of()], made_part(), notes, "pop", seed(i))) >= 3
    ]
    for lines in doubled:
        assert lines[1].position == -lines[2].position
        assert lines[1].words == lines[0].words
        assert 0 < abs(lines[1].notes[0].start - 1) < 0.08


def test_no_two_singers_are_alike() -> None:
    assert len({draw_delivery(seed(i)) for i in range(20)}) == 20
    voices = [made_voice_of(name=name) for name in "ab"]
    assert {draw_singer(voices, "sung", "rock", seed(i)).voice.name for i in range(20)} == {"a", "b"}
    rough = [sum(draw_singer(voices, "sung", s, seed(i)).manner.rough > 0 for i in range(100)) for s in ("rock", "pop")]
    assert rough[0] > 3 * rough[1]


def test_effects_of_the_voice() -> None:
    sound = 0.1 * np.sin(2 * np.pi * 220 * np.arange(RATE) / RATE).astype(np.float32)
    assert np.array_equal(drive(sound, 0), sound)
    assert drive(sound, 6).std() == pytest.approx(sound.std(), rel=0.1)
    assert np.abs(drive(sound, 6)).max() < 0.95 * np.abs(sound).max()
    assert np.square(pan(sound, 0.3)).sum() == pytest.approx(np.square(sound).sum(), rel=1e-4)
    assert not pan(sound, -1)[1].any()
    air = breath(0.3, seed())
    assert air.std() == pytest.approx(1, rel=0.05) and np.abs(air[-20:]).max() < 0.2
