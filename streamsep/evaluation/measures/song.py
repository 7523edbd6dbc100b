"""Everything that is measured of one system on one song, as plain data."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from streamsep.evaluation.measures.alignment import align
from streamsep.evaluation.measures.bss import MEASURES, bss_frames
from streamsep.evaluation.measures.loudness import Loudness
from streamsep.evaluation.measures.sums import (
    SILENT,
    LogSpectra,
    Peaks,
    Seconds,
    leakage,
    second_measures,
    stereo_error,
    totals_of,
)
from streamsep.evaluation.metrics import StemTotals
from streamsep.evaluation.seams import Seam, SeamTotals

Array = NDArray[np.float64]
Waves = NDArray[np.float32]
Facts = dict[str, Any]
# Where the chunks of somebody else's stems may meet: the usual hops of streaming models.
USUAL_PERIODS = (128, 256, 512, 1024, 2048, 4096)


@dataclass(frozen=True)
class Sounds:
    """What is measured.

    Attributes:
        names: of the stems.
        estimates: `[T, S, 2]`.
        mix: `[T, 2]`.
        truth: `[T, S, 2]`, or None.
        rate: in Hz.
        hop: samples from chunk to chunk, or None where that is not known.
        offset: index of a border between chunks.
    """

    names: Sequence[str]
    estimates: Waves
    mix: Waves
    truth: Waves | None
    rate: int
    hop: int | None = None
    offset: int = 0


def measure(sounds: Sounds) -> dict[str, Facts]:
    """Measures by stem; all in dB, LUFS or samples, ratios as they are, nan where there is none.

    With truth: sdr, isr, sir, sar (medians of BSS eval v4), usdr (of the whole song), si_sdr, baseline_sdr (of the best
    constant gain), lsd, leakage, stereo_level and stereo_correlation, lufs_true, delay, drift, likeness (to each
    true stem), sounds; and curves by second. Always: lufs, peak, clipped, seam with its sigma and period.

    Raises:
        StreamsepError: a package of the extra `evaluation` is missing.
    """
    stems = [_stem(sounds, index) for index in range(len(sounds.names))]
    if sounds.truth is not None:
        _add_bss(sounds, sounds.truth, stems)
        _add_alignment(sounds.truth, sounds, stems)
    for index, facts in enumerate(stems):
        facts |= _seam(sounds, index, facts.get("drift", math.nan))
    return dict(zip(sounds.names, stems, strict=True))


def measure_briefly(sounds: Sounds) -> dict[str, Facts]:
    """By stem, what adds up by second against the truth: usdr, si_sdr, baseline_sdr, leakage, sounds and curves."""
    assert sounds.truth is not None
    tables = [Seconds(sounds.rate) for _ in sounds.names]
    for piece in _pieces(sounds):
        mix = np.asarray(sounds.mix[piece], np.float64)
        for index, table in enumerate(tables):
            s, e = (np.asarray(waves[piece, index], np.float64) for waves in (sounds.truth, sounds.estimates))
            table.update(s, e, mix)
    return {name: _of_seconds(table.table(), len(sounds.mix)) for name, table in zip(sounds.names, tables, strict=True)}


def _of_seconds(table: Array, frames: int) -> Facts:
    whole = totals_of(table.sum(0))
    sounds = bool(whole.reference > SILENT * frames)
    total = whole if sounds else StemTotals()  # what is next to nothing has no quality
    return {
        "sounds": sounds,
        "usdr": total.sdr,
        "si_sdr": total.si_sdr,
        "baseline_sdr": total.baseline,
        "leakage": leakage(table),
        "curves": second_measures(table),
    }


def _pieces(sounds: Sounds) -> Iterator[slice]:
    step = 4 * sounds.rate
    return (slice(start, start + step) for start in range(0, len(sounds.mix), step))


def _stem(sounds: Sounds, index: int) -> Facts:
    """What adds up in one pass over a stem."""
    loud, true_loud, peaks, true_peaks = Loudness(sounds.rate), Loudness(sounds.rate), Peaks(), Peaks()
    seconds, spectra = Seconds(sounds.rate), LogSpectra(sounds.rate)
    for piece in _pieces(sounds):
        e = np.asarray(sounds.estimates[piece, index], np.float64)
        loud.update(e)
        peaks.update(e)
        if sounds.truth is not None:
            s = np.asarray(sounds.truth[piece, index], np.float64)
            true_loud.update(s)
            true_peaks.update(s)
            seconds.update(s, e, np.asarray(sounds.mix[piece], np.float64))
            spectra.update(s, e)
    facts: Facts = {"lufs": loud.integrated, "peak": peaks.peak, "clipped": peaks.clipped}
    if sounds.truth is None:
        return facts
    table = seconds.table()
    image = stereo_error(table)
    facts |= _of_seconds(table, len(sounds.mix)) | {
        "lsd": spectra.mean,
        "stereo_level": image["level_db"],
        "stereo_correlation": image["correlation"],
        "lufs_true": true_loud.integrated,
        "clipped_true": true_peaks.clipped,
    }
    facts["curves"]["lsd"] = spectra.seconds()
    return facts


def _add_bss(sounds: Sounds, truth: Waves, stems: list[Facts]) -> None:
    """BSS eval among the stems that sound, as if the others did not exist."""
    heard = [index for index, facts in enumerate(stems) if facts["sounds"]]
    for facts in stems:
        facts |= dict.fromkeys(MEASURES, math.nan)
    if not heard:
        return
    whole = heard == list(range(len(stems)))
    pair = (truth, sounds.estimates) if whole else (_Some(truth, heard), _Some(sounds.estimates, heard))
    frames = bss_frames(*cast(tuple[Waves, Waves], pair), frame=sounds.rate)
    for row, (index, medians) in enumerate(zip(heard, frames.medians(), strict=True)):
        stems[index] |= medians
        stems[index]["curves"] |= {f"bss_{name}": getattr(frames, name)[row].tolist() for name in MEASURES}


class _Some:
    """Some stems of a mapped `[T, S, C]`, read where they are asked for: an index would copy the whole song."""

    def __init__(self, samples: Waves, stems: Sequence[int]) -> None:
        self.samples, self.stems = samples, list(stems)
        self.shape = (samples.shape[0], len(self.stems), samples.shape[2])

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, place: slice) -> Waves:
        return self.samples[place][:, self.stems]


def _add_alignment(truth: Waves, sounds: Sounds, stems: list[Facts]) -> None:
    found = align(truth, sounds.estimates)
    for index, facts in enumerate(stems):
        likeness = dict(zip(sounds.names, found.likeness[index].tolist(), strict=True))
        facts |= {"likeness": likeness, "delay": int(found.delays[index]), "drift": float(found.drifts[index])}


def _seam(sounds: Sounds, index: int, drift: float) -> Facts:
    """The clearest seam: at the borders of the chunks if these are known, else at any usual period.

    A stem that loses (or gains) a sample every n samples is looked at near that period as well; a seam found there
    tells n better than the delays did.
    """
    known = {sounds.hop: False} if sounds.hop and sounds.hop >= 8 else dict.fromkeys(USUAL_PERIODS, True)
    if abs(drift) > 0:
        near = 1 / abs(drift)
        known |= dict.fromkeys(range(max(8, round(0.97 * near)), round(1.03 * near) + 1), True)
    totals = {period: SeamTotals(period, sounds.offset) for period in known}
    for piece in _pieces(sounds):
        for each in totals.values():
            each.update(sounds.estimates[piece, index])
    seams: list[Seam] = [totals[period].result(anywhere) for period, anywhere in known.items()]
    best = max(seams, key=lambda seam: -math.inf if math.isnan(seam.sigma) else seam.sigma)
    exact = {"drift": math.copysign(1 / best.period, drift)} if abs(drift) > 0 and best.heard else {}
    return exact | {"seam": best.figure, "seam_sigma": best.sigma, "seam_period": best.period, "seam_heard": best.heard}
