"""Voices: pitch, marks and syllables of a known recording are found; the cache, the list, the speech programs."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from streamsep.config import config_folder
from streamsep.errors import StreamsepError
from streamsep.training.clips import RATE
from streamsep.training.songs.speaking import Speaker, widen
from streamsep.training.songs.voice_analysis import analyse, voiced_runs
from streamsep.training.songs.voices import VoicesConfig, made_voice, open_voice, read_voices
from tests.song_voices import HISS, made_take

LIST = config_folder("songs") / "voices.yaml"


def test_a_known_voice_is_analysed_rightly() -> None:
    pytest.importorskip("pyworld")
    sound, marks, syllables = made_take(160.0)
    found = analyse(sound)
    voiced = found.pitch[found.pitch > 0]
    assert np.mean(np.abs(1200 * np.log2(voiced / 160)) < 20) > 0.95
    period = np.diff(found.marks)
    assert np.median(period) == pytest.approx(RATE / 160, rel=0.002)
    # One mark for each pulse, all at nearly the same place after it.
    after = np.array([(found.marks - mark)[np.argmin(np.abs(found.marks - mark))] for mark in marks])
    assert np.mean(np.abs(after - np.median(after)) < 0.15 * RATE / 160) > 0.9
    assert len(found.syllables) == len(syllables)
    for syllable, (start, vowel, _) in zip(found.syllables, syllables, strict=True):
        assert abs(syllable.vowel - vowel) < 0.03 * RATE
        assert abs(syllable.start - start) < 0.06 * RATE
        assert syllable.start < syllable.vowel < syllable.end


def test_silence_and_noise_hold_no_voice() -> None:
    pytest.importorskip("pyworld")
    noise = np.random.default_rng(0).normal(0, 0.1, RATE).astype(np.float32)
    for sound in (np.zeros(RATE, np.float32), noise):
        found = analyse(sound)
        assert found.syllables == () and len(found.marks) < 20


def test_runs() -> None:
    assert voiced_runs(np.array([1, 1, 0, 1, 0, 0, 1], bool)) == [(0, 2), (3, 4), (6, 7)]


def test_a_voice_is_analysed_once(tmp_path: Path) -> None:
    pytest.importorskip("pyworld")
    calls = []

    def takes() -> list[np.ndarray]:
        calls.append(1)
        return [made_take(160.0)[0], made_take(220.0, 3, 1)[0]]

    voices = [made_voice("one", "sung", takes, "stamp", tmp_path) for _ in range(2)]
    assert len(calls) == 1
    first, second = voices
    assert np.array_equal(first.syllables, second.syllables)
    assert first.take.tolist() == [0] * 6 + [1] * 3
    assert first.pitch == pytest.approx([160, 220], rel=0.01)
    start, end = first.bounds[1]
    assert ((first.syllables[6:] >= start) & (first.syllables[6:] <= end)).all()
    loud = first.source.samples[start + RATE // 5 + HISS : end] * first.source.scale
    assert 0.03 < loud.std() < 0.2
    made_voice("one", "sung", takes, "another stamp", tmp_path)
    assert len(calls) == 2


def test_a_voice_without_syllables_is_named(tmp_path: Path) -> None:
    pytest.importorskip("pyworld")
    with pytest.raises(StreamsepError, match="no syllable was found in the voice mute"):
        made_voice("mute", "sung", lambda: [np.zeros(RATE, np.float32)], "", tmp_path)
    with pytest.raises(StreamsepError, match="the voice none has no recordings"):
        made_voice("none", "sung", list, "", tmp_path)


def test_the_list_parts_training_from_test() -> None:
    config = read_voices(LIST)
    test, train = config.names(test=True), config.names(test=False)
    assert set(test) == set(config.held_out) and len(test) >= 4
    assert not set(test) & set(train) and set(train) >= {"yuki", "dorodoro", "scottpoid", "erithacus"}
    # A program's voice that is held out is not in training under another name.
    spoken = {name: entry[:2] for name, entry in config.synthesised.items()}
    assert not {spoken[name] for name in test if name in spoken} & {spoken[name] for name in train if name in spoken}


def test_a_wrong_list_is_refused() -> None:
    with pytest.raises(ValueError, match="held_out names the voice 'x'"):
        VoicesConfig(held_out=("x",))
    with pytest.raises(ValueError, match="words lacks the language 'xx'"):
        VoicesConfig(synthesised={"a": ("flite", "slt", "xx")})
    with pytest.raises(StreamsepError, match="no folder of recordings a"):
        open_voice("a", VoicesConfig(recorded={"a": "sung"}), None, Path())


def test_narrow_speech_is_widened_only_above_its_band() -> None:
    rate = 16000
    sound = np.random.default_rng(0).normal(0, 0.1, 2 * rate).astype(np.float32)
    out = widen(sound, rate, np.random.default_rng(1))
    power = np.abs(np.fft.rfft(out)) ** 2
    hertz = np.fft.rfftfreq(len(out), 1 / RATE)
    low, high = (power[(hertz > a) & (hertz < b)].mean() for a, b in ((2000, 6000), (9000, 12000)))
    assert -25 < 10 * np.log10(high / low) < -1
    assert len(out) == pytest.approx(2 * RATE, abs=2)


def test_speech_programs_speak() -> None:
    if shutil.which("espeak-ng") is None:
        pytest.skip("espeak-ng is not installed")
    lines = Speaker("espeak-ng", "en+f2", "en", ("love", "night", "rain")).lines(np.random.default_rng(0), 2)
    assert len(lines) == 2 and all(len(line) > RATE // 2 and np.abs(line).max() > 0.05 for line in lines)
    with pytest.raises(StreamsepError, match="nosuchprogram"):
        Speaker("nosuchprogram", "x", "en", ("a",)).lines(np.random.default_rng(0))
