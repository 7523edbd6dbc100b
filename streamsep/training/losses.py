"""The training loss: waveform, spectra at several resolutions, energies and a teacher; it asks only what is known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from streamsep.models.config_checks import check_range
from streamsep.training.batches import Batch
from streamsep.training.clips import RATE
from streamsep.training.spectra import energies, lowpassed

_SPECTRAL = ("spectral", "linear", "log")


@dataclass(frozen=True)
class LossConfig:
    """Weights and settings; a term of weight 0 is not computed.

    Attributes:
        warm: seconds at the start of each item that are not scored (the model's state is still empty there).
        warm_state: run these seconds before the scored part without gradients, and hand the state over, as a stream
            would: less memory and time a step, and nothing is learnt from how the state is filled. For causal models.
        l1: weight of the waveform L1, in units of the mixture's RMS.
        spectral: weight of the difference of compressed magnitudes.
        linear: weight of the difference of magnitudes.
        log: weight of the difference of log magnitudes, in nepers.
        energy: weight of the log error energy, in nepers of power.
        si_sdr: weight of the negative scale-invariant SDR of the stems that sound, in nepers of power (Le Roux et
            al. 2019, arXiv:1811.02508).
        rests: weight of the log energy of what is heard while a stem rests, in nepers of power over `rest_db`.
        teacher: weight of the waveform L1 to a teacher's answer, where that is nearer to the truth.
        ffts: window lengths of the spectra (even); the hop is half of each.
        power: exponent that compresses magnitudes.
        floor_db: level under the mixture below which the log error energy and the SI-SDR stop rewarding.
        rest_db: level under the mixture below which `rests` stops asking.
        rest_seconds: a stem rests where it is silent for so long.
        teacher_seconds: length of the pieces in which teacher and student are compared.
    """

    warm: float = 0.5
    warm_state: bool = False
    l1: float = 1.0
    spectral: float = 0.5
    linear: float = 0.0
    log: float = 0.0
    energy: float = 0.1
    si_sdr: float = 0.0
    rests: float = 0.0
    teacher: float = 0.0
    ffts: tuple[int, ...] = (4096, 1024)
    power: float = 0.5
    floor_db: float = 30.0
    rest_db: float = 45.0
    rest_seconds: float = 0.25
    teacher_seconds: float = 0.5

    def __post_init__(self) -> None:
        for name in ("l1", *_SPECTRAL, "energy", "si_sdr", "rests", "teacher"):
            check_range(name, getattr(self, name), 0, 10**9)
        check_range("warm", self.warm, 0, 86400)
        check_range("power", self.power, 0.01, 10)
        for name in ("floor_db", "rest_db"):
            check_range(name, getattr(self, name), -300, 300)
        for name in ("rest_seconds", "teacher_seconds"):
            check_range(name, getattr(self, name), 0.001, 86400)
        if not self.ffts or any(size < 2 or size % 2 for size in self.ffts):
            raise ValueError(f"ffts must be even numbers above 0, one at least, not {list(self.ffts)}")

    @property
    def longest(self) -> int:
        """Samples that the spectra need at least; 0 where none is asked for."""
        return max(self.ffts) if any(getattr(self, name) for name in _SPECTRAL) else 0


class Asked(NamedTuple):
    """What is compared: rows `[B, S, C, T]` in units of the mixture's RMS, each a stem or a sum of stems.

    Attributes:
        estimate: what the model says.
        truth: what is known.
        error: their difference.
        rows: `[B, S]`, 1 where the row asks something.
    """

    estimate: Tensor
    truth: Tensor
    error: Tensor
    rows: Tensor

    def mean(self, values: Tensor) -> Tensor:
        """Mean of `[B, S, ...]` over the rows of each item, then over the items.

        Item by item, so that the mean of the losses of two half batches is the loss of the whole.
        """
        return ((values.flatten(2).mean(-1) * self.rows).sum(1) / self.rows.sum(1).clamp_min(1)).mean()


def separation_loss(
    estimate: Tensor, batch: Batch, latency: int, config: LossConfig, taught: Tensor | None = None
) -> tuple[Tensor, dict[str, Tensor]]:
    """Loss of a model's output against the truth, each item in units of its mixture's RMS.

    Silent stems are safe: every term is bounded by the mixture, never divided by the stem.

    Args:
        estimate: `[B, S, C, T]`, late by `latency` samples.
        batch: mixture, truth and what is known of it.
        latency: index lag of the model in samples.
        taught: a teacher's answer `[B, S, C, T]`, not late.

    Returns:
        the scalar loss, and its parts with `snr` (dB, mean over the items) detached for the log.
    """
    skip, stop = round(config.warm * RATE), batch.mix.shape[-1] - latency
    student = align(estimate, batch.sources, latency, skip)
    unit = batch.mix[..., skip:stop].square().mean((1, 2), keepdim=True).sqrt().clamp_min(1e-3)[:, None]
    student = student / unit
    asked = _ask(student, batch.sources[..., skip:stop] / unit, batch)
    parts = {name: term(asked, config) for name, term in _TERMS.items() if getattr(config, name)}
    parts |= _spectral_terms(asked, config)
    if taught is not None and config.teacher:
        parts["teacher"] = _teacher(asked, student, taught[..., skip:stop] / unit, batch, config)
    loss = sum((getattr(config, name) * part for name, part in parts.items()), estimate.new_zeros(()))
    with torch.no_grad():
        truth, error = (x.square().sum((1, 2, 3)).clamp_min(1e-12) for x in (asked.truth, asked.error))
        parts["snr"] = 10 * torch.log10(truth / error).mean()
    return loss, {name: value.detach() for name, value in parts.items()}


def align(estimate: Tensor, truth: Tensor, latency: int, skip: int) -> Tensor:
    """The part of `estimate [..., T]` that answers `truth[..., skip : T - latency]`.

    Raises:
        ValueError: nothing is left to score.
    """
    if latency + skip >= truth.shape[-1]:
        raise ValueError("items are shorter than the latency and the unscored start; lengthen batch.seconds")
    return estimate[..., latency + skip : truth.shape[-1]]


def together(known: Tensor, sources: Tensor) -> Tensor:
    """Sum the stems that are only known together: `known [B, S, S]` times `sources [B, S, C, T]`."""
    if bool((known == torch.eye(known.shape[-1], device=known.device)).all()):
        return sources
    return torch.einsum("bij,bjct->bict", known, sources)


def within(band: Tensor, known: Tensor, rows: Tensor) -> Tensor:
    """The rows `[B, S, C, T]` below the lowest of the bands `[B, S]` of their stems, in Hz: what is known of them."""
    limits = torch.where(known > 0, band[:, None], torch.inf).amin(-1)
    limited = limits < RATE / 2
    if not bool(limited.any()):
        return rows
    return rows.index_put((limited,), lowpassed(rows[limited], limits[limited], RATE))


def _ask(student: Tensor, truth: Tensor, batch: Batch) -> Asked:
    estimate, truth = (_known(x, batch) for x in (student, truth))
    return Asked(estimate, truth, estimate - truth, (batch.known.sum(-1) > 0).to(truth.dtype))


def _known(sources: Tensor, batch: Batch) -> Tensor:
    """What of `sources [B, S, C, T]` can be compared: sums of stems, below their recordings' bands."""
    rows = together(batch.known, sources)
    return rows if batch.band is None else within(batch.band, batch.known, rows)


def _l1(asked: Asked, config: LossConfig) -> Tensor:
    return asked.mean(asked.error.abs())


def _energy(asked: Asked, config: LossConfig) -> Tensor:
    """ln of the error's share of the mixture's energy.

    Up to a constant the negative SDR, but finite for a silent stem, with a floor so that silence cannot rule the batch.
    """
    share = asked.error.square().mean((2, 3))
    return asked.mean(torch.log(share + _power(config.floor_db))[..., None])


def _si_sdr(asked: Asked, config: LossConfig) -> Tensor:
    """ln of the error's energy over that of the estimate's part along the truth, both with a floor under the truth."""
    estimate, truth = asked.estimate.flatten(2), asked.truth.flatten(2)
    sounding, floor = truth.square().mean(-1), _power(config.floor_db)
    energy = sounding.clamp_min(floor)
    along = (estimate * truth).mean(-1) / energy
    error = (estimate - along[..., None] * truth).square().mean(-1)
    ratio = torch.log((error + floor * energy) / ((along.square() + floor) * energy))
    return asked.mean((ratio * (sounding > floor))[..., None])


def _rests(asked: Asked, config: LossConfig) -> Tensor:
    """ln(1 + energy) of the estimate, in units of the level `rest_db`, over the pieces in which the truth is silent."""
    heard, truth = (_pieces(x, config.rest_seconds).square().mean((2, 4)) for x in (asked.estimate, asked.truth))
    return asked.mean(torch.log1p(heard / _power(config.rest_db)) * (truth < 1e-6))


_TERMS: dict[str, Callable[[Asked, LossConfig], Tensor]] = {
    "l1": _l1,
    "energy": _energy,
    "si_sdr": _si_sdr,
    "rests": _rests,
}


def _spectral_terms(asked: Asked, config: LossConfig) -> dict[str, Tensor]:
    """Differences of compressed, plain and log magnitudes, each the mean over the resolutions."""
    scales: dict[str, Callable[[Tensor], Tensor]] = {
        "spectral": lambda e: e.sqrt().sqrt() if config.power == 0.5 else e ** (config.power / 2),
        "linear": torch.sqrt,
        "log": lambda e: 0.5 * torch.log(e),
    }
    wanted = {name: scale for name, scale in scales.items() if getattr(config, name)}
    parts: dict[str, list[Tensor]] = {name: [] for name in wanted}
    for size in config.ffts if wanted else ():
        heard = energies(asked.estimate, size)
        with torch.no_grad():
            truth = energies(asked.truth, size)
        for name, scale in wanted.items():
            parts[name].append(asked.mean((scale(heard) - scale(truth)).abs()))
    return {name: torch.stack(values).mean() for name, values in parts.items()}


def _teacher(asked: Asked, student: Tensor, taught: Tensor, batch: Batch, config: LossConfig) -> Tensor:
    """L1 to the teacher's stems in the pieces where its rows are nearer to the truth than the student's."""
    with torch.no_grad():
        miss = _known(taught, batch) - asked.truth
        ours, theirs = (_pieces(x, config.teacher_seconds).square().mean((2, 4)) for x in (asked.error, miss))
        better = torch.einsum("bij,bip->bjp", (batch.known > 0).to(ours.dtype), (theirs < ours).to(ours.dtype))
    distance = _pieces(student - taught, config.teacher_seconds).abs().mean((2, 4))
    return (distance * better).mean()


def _pieces(x: Tensor, seconds: float) -> Tensor:
    """`[B, S, C, T] -> [B, S, C, P, n]`, pieces of about `seconds`; what is left at the end falls out."""
    length = min(max(round(seconds * RATE), 1), x.shape[-1])
    return x[..., : x.shape[-1] // length * length].unflatten(-1, (-1, length))


def _power(decibels: float) -> float:
    return float(10 ** (-decibels / 10))
