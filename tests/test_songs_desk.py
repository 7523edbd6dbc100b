"""The desk: filters, dynamics and rooms do what their knobs say, and the stems of a record sum to it."""

from __future__ import annotations

import numpy as np
import pytest

from streamsep.training.clips import RATE, Samples
from streamsep.training.data import STEMS
from streamsep.training.songs.desk import STRIPS, channel, mix
from streamsep.training.songs.desk_dynamics import compress, ducking_gain, limiter_gain, saturate
from streamsep.training.songs.desk_filters import Band, equalise, random_tone, section
from streamsep.training.songs.desk_space import Space, balance, draw_space, echo, reverberate, widen_sides
from streamsep.training.songs.mastering import SHARES, balanced, integrated_loudness, level, mastered, total
from streamsep.training.songs.score import Track
from streamsep.training.songs.worn import coded, draw_band, surface, worn
from tests.song_voices import made_score

pytest.importorskip("scipy")
SECONDS = 4


def seed(number: int = 0) -> np.random.Generator:
    return np.random.default_rng(number)


def noise(scale: float = 0.1, number: int = 0, frames: int = SECONDS * RATE) -> Samples:
    return (scale * seed(number).normal(size=(2, frames))).astype(np.float32)


def kick(frames: int = SECONDS * RATE) -> Samples:
    """A stroke every half second."""
    time = np.arange(RATE // 8) / RATE
    stroke = np.sin(2 * np.pi * 60 * time) * np.exp(-30 * time)
    out = np.zeros((2, frames), np.float32)
    for start in range(RATE // 4, frames - len(stroke), RATE // 2):
        out[:, start : start + len(stroke)] += stroke.astype(np.float32)
    return out


def tracks() -> list[Track]:
    return [
        Track("drums", "kick", kick()),
        Track("drums", "room", noise(0.05, 1)),
        Track("bass", "bass", noise(0.1, 2)),
        Track("other", "pad", noise(0.1, 3)),
        Track("other", "keys", np.zeros((2, SECONDS * RATE), np.float32)),
        Track("vocals", "lead vocal", noise(0.1, 4)),
    ]


def response(band: Band, hertz: float) -> float:
    """dB of a band at a frequency."""
    b, a = np.split(section(band), 2)
    z = np.exp(-2j * np.pi * hertz / RATE * np.arange(3))
    return float(20 * np.log10(abs((b @ z) / (a @ z))))


@pytest.mark.parametrize(
    ("band", "at"),
    [
        (Band("low", 200, 6), {20: 6, 200: 3, 5000: 0}),
        (Band("high", 5000, -8), {100: 0, 5000: -4, 20000: -8}),
        (Band("bell", 1000, 5, 1.0), {20: 0, 1000: 5, 20000: 0}),
        (Band("low_cut", 100), {10: -40, 100: -3, 5000: 0}),
        (Band("high_cut", 1000), {20: 0, 1000: -3, 10000: -43}),
    ],
)
def test_bands_have_their_gain(band: Band, at: dict[float, float]) -> None:
    for hertz, decibels in at.items():
        assert response(band, hertz) == pytest.approx(decibels, abs=0.7)


def test_equaliser_is_its_bands_and_linear() -> None:
    sound = noise(frames=RATE)
    bands = random_tone(seed(), 6)
    one, both = equalise(sound, bands), equalise(2 * sound, bands)
    np.testing.assert_allclose(both, 2 * one, atol=1e-6)
    assert equalise(sound, []) is sound
    assert one.dtype == np.float32
    impulse = np.zeros((1, 8192), np.float32)
    impulse[0, 0] = 1
    heard = 20 * np.log10(np.abs(np.fft.rfft(equalise(impulse, bands)[0])))
    wanted = sum(response(band, 1000 * RATE / 8192) for band in bands)
    assert heard[1000] == pytest.approx(wanted, abs=0.01)


def test_compressor_turns_down_what_is_loud_by_its_ratio() -> None:
    time = np.arange(2 * RATE) / RATE
    tone = np.sin(2 * np.pi * 500 * time) * np.where(time < 1, 0.1, 1.0)
    out = compress(np.stack([tone, tone]).astype(np.float32), -20.0, 4.0, 0.005, 0.1)
    quiet, loud = (np.abs(out[0, int(at * RATE) : int((at + 0.2) * RATE)]).max() for at in (0.7, 1.7))
    assert 20 * np.log10(quiet) == pytest.approx(-20, abs=0.3)
    assert 20 * np.log10(loud) == pytest.approx(-15, abs=0.3)  # 20 dB over become 5


def test_ducking_dips_where_the_kick_is_and_nowhere_else() -> None:
    gain = ducking_gain(kick(), 9.0, 0.08)
    struck = [start + RATE // 50 for start in range(RATE // 4, 3 * RATE, RATE // 2)]
    assert all(gain[place] < 10 ** (-6 / 20) for place in struck)
    assert all(gain[place - RATE // 20] > 0.95 for place in struck)
    assert gain.min() > 10 ** (-9.5 / 20) and gain.max() <= 1
    assert (ducking_gain(np.zeros((2, RATE), np.float32), 9, 0.1) == 1).all()


def test_saturation_bends_peaks_and_keeps_the_level() -> None:
    sound = noise()
    out = saturate(sound, 3.0)
    assert out.std() == pytest.approx(sound.std(), rel=0.01)
    assert np.abs(out).max() < 0.8 * np.abs(sound).max()
    assert saturate(sound, 0) is sound
    assert not saturate(0 * sound, 3).any()


def test_the_limiter_keeps_its_ceiling_and_leaves_the_rest_alone() -> None:
    sound = noise(0.05)
    sound[:, RATE] = 3.0
    sound[0, 2 * RATE + 31] = -2.0
    gain = limiter_gain(sound, 0.9)
    assert np.abs(sound * gain).max() <= 0.9 * (1 + 1e-6)
    assert (gain[: RATE - 1000] == 1).all() and (gain[RATE + 1000 : 2 * RATE - 1000] == 1).all()
    assert gain[RATE] == pytest.approx(0.3, abs=0.02)
    assert np.abs(np.diff(gain)).max() < 0.01  # no click


@pytest.mark.parametrize("number", range(6))
def test_limited_noise_never_passes(number: int) -> None:
    sound = noise(10 ** seed(number).uniform(-1, 1), number, RATE + number)
    assert np.abs(sound * limiter_gain(sound, 0.8)).max() <= 0.8 * (1 + 1e-6)


def test_a_space_decays_as_asked() -> None:
    space = draw_space(seed(), 1.0, 1.0).response
    assert np.square(space).sum() == pytest.approx(2, rel=0.05)
    power = np.cumsum(np.square(space).mean(0)[::-1])[::-1]
    decibels = 10 * np.log10(power / power[0] + 1e-12)
    first, last = (int(np.argmax(decibels < level)) for level in (-15, -35))
    assert 3 * (last - first) / RATE == pytest.approx(1.0, rel=0.35)
    assert float(np.corrcoef(space[0], space[1])[0][1]) < 0.6


def test_reverberation_is_convolution() -> None:
    sound, space = noise(frames=3000), Space(noise(1.0, 1, 500))
    wanted = np.stack([np.convolve(a, b)[:3000] for a, b in zip(sound, space.response, strict=True)])
    np.testing.assert_allclose(reverberate(sound, space), wanted, atol=1e-4)


def test_echoes_come_in_time_and_cross() -> None:
    sound = np.zeros((2, RATE), np.float32)
    sound[0, 100] = 1.0
    out = echo(sound, 0.2, 0.5, crossed=True)
    step = int(0.2 * RATE)
    assert not out[:, : step + 100].any()
    assert out[1, step + 100 : step + 110].sum() == pytest.approx(0.5, rel=1e-3)
    assert out[0, 2 * step + 100 : 2 * step + 110].sum() == pytest.approx(0.25, rel=1e-3)
    assert not out[0, step + 100 : step + 110].any()


def test_pan_and_width() -> None:
    sound = noise(frames=1000)
    np.testing.assert_array_equal(balance(sound, 0), sound)
    assert not balance(sound, -1)[1].any() and not balance(sound, 1)[0].any()
    np.testing.assert_allclose(balance(sound, 0.4), balance(sound[::-1], -0.4)[::-1])
    narrow = widen_sides(sound, 0)
    np.testing.assert_array_equal(narrow[0], narrow[1])
    np.testing.assert_allclose(widen_sides(sound, 1), sound, atol=1e-6)


def test_a_channel_keeps_its_level_and_silence() -> None:
    for number in range(12):
        for strip in STRIPS.values():
            out = channel(noise(0.03, number, RATE), strip, seed(number))
            assert level(out) == pytest.approx(0.03, rel=0.02)
    assert not channel(np.zeros((2, RATE), np.float32), STRIPS["vocals"], seed()).any()


def test_stems_stand_beside_the_mix_as_on_records() -> None:
    stems = {stem: noise(0.01 * (i + 1), i, RATE) for i, stem in enumerate(STEMS)}
    shares: dict[str, list[float]] = {stem: [] for stem in STEMS}
    for number in range(200):
        out = balanced(stems, seed(number))
        loudness = level(total(out))
        for stem in STEMS:
            shares[stem].append(20 * np.log10(level(out[stem]) / loudness))
    for stem, (low, high) in SHARES.items():
        assert np.mean([low - 2.5 < share < high + 2.5 for share in shares[stem]]) > 0.8
    assert 0.02 < np.mean(np.array(shares["vocals"]) < -14) < 0.25
    silent = balanced({"drums": noise(frames=RATE), "vocals": np.zeros((2, RATE), np.float32)}, seed())
    assert not silent["vocals"].any() and level(silent["drums"]) == pytest.approx(1, rel=0.02)


@pytest.mark.parametrize("number", range(4))
def test_a_record_reaches_its_loudness_under_its_ceiling(number: int) -> None:
    pytest.importorskip("pyloudnorm")
    stems = {"drums": kick(), "other": noise(0.1)}
    out = mastered(stems, seed(number))
    draws = seed(number)
    draws_bands = random_tone(draws, float(draws.uniform(0, 1.5)))
    target = float(draws.triangular(-20, -11, -8))
    assert len(draws_bands) == 4
    assert integrated_loudness(total(out)) == pytest.approx(target, abs=0.5)
    assert np.abs(total(out)).max() <= 10 ** (-0.1 / 20) + 1e-5


@pytest.mark.parametrize("style", ["rock", "electronic"])
def test_a_mix_is_whole_repeatable_and_alive(style: str) -> None:
    pytest.importorskip("pyloudnorm")
    score = made_score(length=SECONDS, style=style)
    first, second, other = (mix(tracks(), score, seed(number)) for number in (5, 5, 6))
    assert list(first) == ["drums", "bass", "other", "vocals"]
    for stem, sound in first.items():
        assert sound.shape == (2, SECONDS * RATE) and sound.dtype == np.float32 and np.isfinite(sound).all()
        np.testing.assert_array_equal(sound, second[stem])
        assert not np.array_equal(sound, other[stem])
    assert -21 < integrated_loudness(total(first)) < -7.5
    assert np.abs(total(first)).max() <= 1.0


def test_a_mix_of_silence_is_silence() -> None:
    pytest.importorskip("pyloudnorm")
    silent = [Track(stem, "", np.zeros((2, RATE), np.float32)) for stem in STEMS]
    assert not any(sound.any() for sound in mix(silent, made_score(length=1.0), seed()).values())


def test_wear_is_the_same_for_every_stem() -> None:
    """But for hiss and codecs, wear is linear: what befalls the sum is the sum of what befalls the stems."""
    first, second = noise(0.1, 0, RATE), noise(0.1, 1, RATE)
    seen = set()
    for number in range(40):
        apart = worn({"drums": first, "bass": second}, seed(number))
        joined = worn({"drums": first + second, "bass": np.zeros_like(first)}, seed(number))
        same = np.allclose(total(apart), joined["drums"], atol=1e-4)
        untouched = np.array_equal(apart["drums"], first)
        seen.add((same, untouched))
        if not same:  # the codec: near, sample by sample
            assert np.linalg.norm(total(apart) - joined["drums"]) < 0.9 * np.linalg.norm(joined["drums"])
    assert {(True, True), (True, False)} <= seen


def test_hiss_lies_in_other_alone() -> None:
    stems = {stem: noise(0.1, i, RATE) for i, stem in enumerate(STEMS)}
    noisy = [
        out
        for number in range(60)
        if (out := worn(stems, seed(number))) and out["drums"] is stems["drums"] and out["other"] is not stems["other"]
    ]
    assert noisy
    for out in noisy:
        hiss = out["other"] - stems["other"]
        assert out["vocals"] is stems["vocals"]
        assert -51 < 20 * np.log10(hiss.std() / 0.1) < -29
    assert surface(RATE, seed()).std() == pytest.approx(1, rel=0.02)


def test_a_codec_keeps_time_and_level() -> None:
    time = np.arange(RATE) / RATE
    sound = np.stack([np.sin(2 * np.pi * 440 * time), np.sin(2 * np.pi * 660 * time)]).astype(np.float32) * 1.7
    out = coded(sound, 0.4)
    assert out.shape == sound.shape
    inner = slice(2000, -2000)
    assert np.linalg.norm((out - sound)[:, inner]) < 0.1 * np.linalg.norm(sound[:, inner])
    assert not coded(np.zeros((2, 100), np.float32), 0.4).any()
    assert {band.kind for number in range(30) for band in draw_band(seed(number))} >= {
        "low_cut",
        "high_cut",
        "bell",
        "high",
    }
