"""The resampler against mathematics, soxr and itself: any pair of rates, any cut, any number of hours."""

from __future__ import annotations

import itertools
import tracemalloc
from fractions import Fraction

import numpy as np
import pytest
import soxr
from hypothesis import given, settings
from hypothesis import strategies as st

from streamsep.engine.resampler import (
    HALF,
    LANES,
    PHASES,
    Clock,
    Resampler,
    advance,
    count_from,
    filter_table,
    frames_for,
    half_width,
    make_clock,
)
from tests.engine_toys import Audio, noise

RATES = (8000, 11025, 16000, 22050, 32000, 44100, 48000, 88200, 96000, 176400, 192000)
PAIRS = [pair for pair in itertools.product(RATES, RATES) if 44100 in pair]


def convert(samples: Audio, input_rate: int, output_rate: int, blocks: tuple[int, ...] = (256,)) -> Audio:
    """All of `samples [C, T]` in portions."""
    resampler = Resampler.between(input_rate, output_rate, len(samples), max(blocks))
    pieces, start = [], 0
    for block in itertools.cycle(blocks):
        resampler.push(samples[:, start : start + block])
        pieces.append(resampler.pull_all())
        start += block
        if start >= samples.shape[1]:
            return np.concatenate(pieces, axis=1)
    raise AssertionError


def sine(hertz: float, rate: int, frames: int, start: float = 0.0) -> np.ndarray:
    return 0.5 * np.sin(2 * np.pi * hertz * (start + np.arange(frames)) / rate)


def decibels(ratio: float) -> float:
    return float(20 * np.log10(ratio))


def rms(samples: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(samples, dtype=np.float64))))


@pytest.mark.parametrize(("input_rate", "output_rate"), PAIRS)
def test_a_sine_comes_out_at_the_same_time(input_rate: int, output_rate: int) -> None:
    low = min(input_rate, output_rate)
    frames = round(0.1 * input_rate)
    for share in (0.01, 0.2, 0.4):
        out = convert(sine(share * low, input_rate, frames)[None].astype(np.float32), input_rate, output_rate)[0]
        edge = round(0.02 * output_rate)  # the sine begins and ends suddenly
        expected = sine(share * low, output_rate, len(out))
        assert decibels(rms(out[edge:-edge] - expected[edge:-edge]) / rms(expected)) < -95


@pytest.mark.parametrize(("input_rate", "output_rate"), [(44100, 48000), (48000, 44100), (96000, 44100), (44100, 8000)])
def test_against_soxr(input_rate: int, output_rate: int) -> None:
    """Noise below 0.3 of the lower rate (13 kHz), as VHQ would have it; nearer the edge VHQ rings for longer."""
    low, frames = min(input_rate, output_rate), input_rate // 2
    spectrum = np.fft.rfft(noise(frames, seed=4)[0])
    spectrum[int(0.3 * low / input_rate * frames) :] = 0
    music = np.fft.irfft(spectrum, frames).astype(np.float32)
    ours = convert(music[None], input_rate, output_rate)[0]
    theirs = soxr.resample(music.astype(np.float64), input_rate, output_rate, quality="VHQ")
    middle = slice(output_rate // 10, 4 * output_rate // 10)
    assert decibels(rms(ours[middle] - theirs[middle]) / rms(theirs[middle])) < -100


def response(input_rate: int, output_rate: int) -> tuple[np.ndarray, np.ndarray]:
    """(Hz, gain in dB) of the filter, far beyond its input's Nyquist frequency: what lies there are images."""
    table = filter_table(input_rate, output_rate)[:-1].astype(np.float64)
    impulse = table[:, ::-1].T.ravel() / len(table)
    gain = np.abs(np.fft.rfft(impulse, 1 << 19))
    hertz = np.arange(len(gain)) * input_rate * len(table) / (1 << 19)
    return hertz, 20 * np.log10(np.maximum(gain, 1e-12))


@pytest.mark.parametrize(("input_rate", "output_rate"), [(44100, 48000), (48000, 44100), (192000, 44100)])
def test_flat_to_20_khz_and_80_db_down_where_it_would_fold_below(input_rate: int, output_rate: int) -> None:
    hertz, gain = response(input_rate, output_rate)
    assert np.abs(gain[hertz < 20000]).max() < 0.01
    assert gain[hertz > 44100 - 20000].max() < -88


def test_round_trip_is_short_enough_for_a_stage() -> None:
    there, back = half_width(44100, 48000) / 44100, half_width(48000, 44100) / 48000
    assert there + back < 1.5e-3


@pytest.mark.parametrize(("input_rate", "output_rate"), PAIRS)
def test_the_filter_spans_32_frames_of_the_lower_rate(input_rate: int, output_rate: int) -> None:
    half = half_width(input_rate, output_rate)
    exact = HALF * max(1.0, input_rate / output_rate)
    assert exact <= half < exact + LANES / 2 + 1
    assert 2 * half % LANES == 0
    assert filter_table(input_rate, output_rate).shape == (PHASES + 1, 2 * half)


def test_a_constant_stays_constant_at_every_phase() -> None:
    out = convert(np.ones((1, 4000), np.float32), 44100, 47999)
    np.testing.assert_allclose(out[0, 100:-100], 1.0, atol=3e-7)


def test_equal_rates_on_the_grid_are_a_copy_up_to_rounding() -> None:
    samples = noise(2000)
    out = convert(samples, 44100, 44100)
    np.testing.assert_allclose(out[:, 100:], samples[:, 100 : out.shape[1]], atol=1e-7)


@settings(max_examples=25, deadline=None)
@given(
    rates=st.sampled_from([(44100, 48000), (48000, 44100), (192000, 44100), (44100, 192000), (8000, 44100)]),
    blocks=st.lists(st.integers(1, 300), min_size=1, max_size=6),
)
def test_any_cut_gives_the_same_bits(rates: tuple[int, int], blocks: list[int]) -> None:
    samples = noise(1200, seed=2)
    whole, cut = convert(samples, *rates, (1200,)), convert(samples, *rates, tuple(blocks))
    frames = min(whole.shape[1], cut.shape[1])
    np.testing.assert_array_equal(whole[:, :frames], cut[:, :frames])


@pytest.mark.parametrize("position", [0, Fraction(1, 3), Fraction(-7, 2), -40, 5, Fraction(147, 160)])
def test_the_first_frame_lies_where_it_is_told(position: Fraction | int) -> None:
    resampler = Resampler.between(44100, 48000, 1, 1000, position)
    resampler.push(sine(1000, 44100, 1000)[None].astype(np.float32))
    out = resampler.pull_all()[0]
    first = 100  # past what was silence
    expected = sine(1000, 44100, 1000)
    times = float(position) + (first + np.arange(500)) * 44100 / 48000
    np.testing.assert_allclose(out[first : first + 500], 0.5 * np.sin(2 * np.pi * 1000 * times / 44100), atol=2e-5)
    assert np.abs(expected).max() > 0.49


@pytest.mark.parametrize(("input_rate", "output_rate"), [*PAIRS, (44101, 47999), (191999, 8001)])
def test_positions_are_exact_after_ten_hours(input_rate: int, output_rate: int) -> None:
    clock = make_clock(input_rate, output_rate, Fraction(1, 2 * output_rate))
    dropped, made = -int(clock[Clock.END]), 0
    blocks = itertools.cycle([1, 255, 4096, 65536, 1 << 20])
    while made < 36000 * output_rate:
        count = next(blocks)
        clock[Clock.END] = frames_for(clock, count)
        dropped += advance(clock, count)
        made += count
    unit = int(clock[Clock.UNIT])
    stands = dropped + int(clock[Clock.POSITION]) + Fraction(int(clock[Clock.FRACTION]), unit)
    start = Fraction(round(Fraction(unit, 2 * output_rate)), unit)
    assert stands == start + made * Fraction(input_rate, output_rate)


@settings(max_examples=100, deadline=None)
@given(
    rates=st.tuples(st.integers(8000, 192000), st.integers(8000, 192000)),
    moved=st.integers(0, 5000),
    count=st.integers(1, 5000),
)
def test_what_is_needed_for_a_count_gives_that_count(rates: tuple[int, int], moved: int, count: int) -> None:
    clock = make_clock(*rates)
    clock[Clock.END] = 10**6
    advance(clock, moved)
    frames = frames_for(clock, count)
    assert count_from(clock, frames) >= count
    assert count_from(clock, frames - 1) < count
    assert count_from(clock, 0) == 0


def test_a_steered_step_changes_the_pitch() -> None:
    resampler = Resampler.between(48000, 48000, 1, 48000)
    clock = resampler.clock
    clock[Clock.STEP] = round(int(clock[Clock.STEP]) * 1.001)
    resampler.push(sine(1000, 48000, 48000)[None].astype(np.float32))
    out = resampler.pull_all()[0, 100:]
    np.testing.assert_allclose(out[:4000], sine(1001, 48000, 4100)[100:], atol=1e-4)


def test_portions_allocate_no_audio() -> None:
    resampler = Resampler.between(48000, 44100, 8, 16384)
    block, out = np.ones((8, 16384), np.float32), np.zeros((8, 15000), np.float32)
    resampler.push(block)
    resampler.pull(out)
    tracemalloc.start()
    for _ in range(5):
        resampler.push(block)
        resampler.pull(out)
        resampler.clock[Clock.END] = 0  # what is left over
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < block.nbytes / 4  # numpy's own buffers are of a fixed size
