"""From stems to a record: how loud each is beside the others, bus compression, loudness, and the limiter."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from streamsep.errors import missing
from streamsep.training.clips import RATE, Generator, Samples
from streamsep.training.songs.desk_dynamics import compressor_gain, limiter_gain
from streamsep.training.songs.desk_filters import equalise, random_tone

Stems = dict[str, Samples]
SHARES = {"vocals": (-12.0, -3.0), "drums": (-9.0, -3.0), "bass": (-12.0, -4.0), "other": (-9.0, -2.0)}  # dB of the mix
_ROUNDS = 4  # of limiting and turning up
_REACHED = 0.3  # LU


def balanced(stems: Mapping[str, Samples], rng: Generator) -> Stems:
    """Stems at random levels as records have them: RMS beside the mix's within `SHARES`, now and then far below."""
    sounding = [stem for stem in stems if level(stems[stem]) > 0]
    shares = {stem: float(rng.uniform(*SHARES[stem])) for stem in sounding}
    if sounding and rng.random() < 0.15:
        shares[sounding[int(rng.integers(len(sounding)))]] -= float(rng.uniform(4, 14))
    if "vocals" in shares and rng.random() < 0.06:
        shares["vocals"] = float(rng.uniform(-24, -15))
    unit = -10 * np.log10(sum(10 ** (share / 10) for share in shares.values())) if shares else 0.0
    return {
        stem: sound * np.float32(10 ** ((shares[stem] + unit) / 20) / level(sound)) if stem in shares else sound
        for stem, sound in stems.items()
    }


def mastered(stems: Mapping[str, Samples], rng: Generator) -> Stems:
    """The stems of a record: one tone, one compressor and one limiter for all, so that they still sum to the mix.

    The loudness of the mix is drawn between -20 and -8 LUFS (ITU-R BS.1770), its peaks from -1 to -0.1 dBFS.
    """
    bands = random_tone(rng, float(rng.uniform(0, 1.5)))
    toned = {stem: equalise(sound, bands) for stem, sound in stems.items()}
    target, ceiling = float(rng.triangular(-20, -11, -8)), 10 ** (float(rng.uniform(-1.0, -0.1)) / 20)
    mix = total(toned)
    loudness = integrated_loudness(mix)
    if not np.isfinite(loudness):
        return toned
    gain = np.full(mix.shape[1], 10 ** ((target - loudness) / 20), np.float32)
    if rng.random() < 0.6:
        glue = compressor_gain(mix * gain, float(rng.uniform(-18, -6)), float(rng.uniform(1.5, 4)), 0.01, 0.15)
        gain = gain * glue
    gain = _loud(mix, gain, target, ceiling)
    return {stem: sound * gain for stem, sound in toned.items()}


def _loud(mix: Samples, gain: Samples, target: float, ceiling: float) -> Samples:
    """The gain of every sample with which the mix has the target's loudness and stays under the ceiling."""
    for _ in range(_ROUNDS):
        limited = gain * limiter_gain(mix * gain, ceiling)
        short = target - integrated_loudness(mix * limited)
        if abs(short) < _REACHED:
            break
        gain = gain * np.float32(10 ** (min(1.3 * short if short > 0 else short, 9.0) / 20))
    return limited


def total(stems: Mapping[str, Samples]) -> Samples:
    """The sum of all stems, `[2, T]`."""
    return np.sum(list(stems.values()), axis=0, dtype=np.float32)


def level(sound: Samples) -> float:
    """RMS of `[2, T]` over the tenths of a second within 30 dB of the loudest; 0 for silence."""
    step = RATE // 10
    usable = sound[:, : sound.shape[1] // step * step]
    power = np.square(usable).mean(0).reshape(-1, step).mean(1, dtype=np.float64)
    if not len(power) or power.max() < 1e-12:
        return 0.0
    return float(np.sqrt(power[power >= power.max() / 1000].mean()))


def integrated_loudness(mix: Samples) -> float:
    """LUFS of `[2, T]`, minus infinity for silence.

    Raises:
        StreamsepError: pyloudnorm is missing.
    """
    try:
        import pyloudnorm
    except ImportError:
        raise missing("pyloudnorm", "songs") from None
    if mix.shape[1] < 0.5 * RATE or not mix.any():
        return -np.inf
    return float(pyloudnorm.Meter(RATE).integrated_loudness(mix.T))
