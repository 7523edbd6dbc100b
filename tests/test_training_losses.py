"""The loss: aligned, blind to what is not known, safe with silence."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from streamsep.training.batches import Batch, known_apart
from streamsep.training.data import STEMS
from streamsep.training.losses import LossConfig, align, separation_loss
from streamsep.training.spectra import RealFFT, lowpassed

LATENCY = 128
CONFIG = LossConfig(warm=0.01, ffts=(512, 128))


def make_batch(joined: tuple[str, ...] = (), level: float = 0.1) -> Batch:
    torch.manual_seed(0)
    sources = level * torch.randn(2, 4, 2, 4096)
    known = torch.from_numpy(known_apart(STEMS, joined)).expand(2, 4, 4)
    return Batch(sources.sum(1), sources, known)


def late(sources: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.pad(sources, (LATENCY, 0))[..., : sources.shape[-1]]


def loss_of(estimate: torch.Tensor, batch: Batch) -> float:
    return float(separation_loss(estimate, batch, LATENCY, CONFIG)[0])


def test_the_late_truth_is_the_minimum() -> None:
    batch = make_batch()
    _, parts = separation_loss(late(batch.sources), batch, LATENCY, CONFIG)
    assert parts["l1"] == 0 and parts["spectral"] == 0 and parts["snr"] > 100
    assert parts["energy"] == pytest.approx(-3 * 2.302585, abs=1e-4)
    assert loss_of(late(batch.sources), batch) < loss_of(batch.sources, batch)


def test_the_start_is_not_scored() -> None:
    batch = make_batch()
    estimate = late(batch.sources)
    estimate[..., : LATENCY + 441] = 7.0
    assert loss_of(estimate, batch) == loss_of(late(batch.sources), batch)
    estimate[..., LATENCY + 441] = 7.0
    assert loss_of(estimate, batch) > loss_of(late(batch.sources), batch)


def test_level_does_not_matter() -> None:
    loud, quiet = make_batch(level=0.5), make_batch(level=0.005)
    torch.testing.assert_close(loss_of(0.5 * late(loud.sources), loud), loss_of(0.5 * late(quiet.sources), quiet))


def test_joined_stems_may_be_shared_out_freely() -> None:
    batch = make_batch(("bass", "other"))
    moved = late(batch.sources)
    moved[:, 1], moved[:, 2] = moved[:, 1] + moved[:, 2], torch.zeros_like(moved[:, 2])
    assert loss_of(moved, batch) == pytest.approx(loss_of(late(batch.sources), batch), abs=1e-5)
    apart = batch._replace(known=torch.eye(4).expand(2, 4, 4))
    assert loss_of(moved, apart) > loss_of(late(batch.sources), apart) + 0.3
    moved[:, 0] *= 0.5
    assert loss_of(moved, batch) > loss_of(late(batch.sources), batch) + 0.01


@pytest.mark.parametrize("silent", [slice(3, 4), slice(0, 4)])
def test_silence_keeps_loss_and_gradient_finite(silent: slice) -> None:
    batch = make_batch()
    batch.sources[:, silent] = 0
    batch = batch._replace(mix=batch.sources.sum(1))
    estimate = torch.zeros_like(batch.sources, requires_grad=True)
    loss, _ = separation_loss(estimate, batch, LATENCY, CONFIG)
    loss.backward()
    assert estimate.grad is not None
    assert torch.isfinite(loss) and torch.isfinite(estimate.grad).all()


def test_fft_gradient() -> None:
    frames = torch.randn(3, 16, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(RealFFT.apply, (frames,))


def test_too_short_items_are_refused() -> None:
    with pytest.raises(ValueError, match="lengthen"):
        align(torch.zeros(1, 100), torch.zeros(1, 100), 60, 40)


def gradient_of(estimate: torch.Tensor, batch: Batch, config: LossConfig, taught: torch.Tensor | None = None) -> Tensor:
    estimate = estimate.clone().requires_grad_()
    separation_loss(estimate, batch, LATENCY, config, taught)[0].backward()
    assert estimate.grad is not None and torch.isfinite(estimate.grad).all()
    return estimate.grad


EVERY = LossConfig(warm=0.01, ffts=(512,), linear=0.3, log=0.1, si_sdr=0.2, rests=0.2, rest_seconds=0.02)
NOTHING = replace(EVERY, l1=0.0, spectral=0.0, linear=0.0, log=0.0, energy=0.0, si_sdr=0.0, rests=0.0)


def test_nothing_is_asked_above_the_band_of_a_recording() -> None:
    """Of 4096 samples the bins above 5512.5 Hz of the limited stem have no gradient, those of the others have."""
    batch = make_batch()
    band = torch.full((2, 4), torch.inf)
    band[0, 3] = 44100 / 8
    start = round(EVERY.warm * 44100)
    grown = gradient_of(torch.randn_like(batch.sources), batch._replace(band=band), EVERY)[..., LATENCY + start :]
    padded = torch.fft.rfft(grown, 4096).abs()
    above = padded[..., 540:].square().sum((2, 3)) / padded.square().sum((2, 3))
    assert above[0, 3] < 0.02
    above[0, 3] = 1.0
    assert (above > 0.1).all()


def test_a_sum_of_stems_is_asked_and_its_parts_are_not() -> None:
    """What `no_vocals` beside `vocals` tells: moving sound between the other three has no gradient."""
    batch = make_batch(("drums", "bass", "other"))
    gradient = gradient_of(torch.randn_like(batch.sources), batch, EVERY)
    torch.testing.assert_close(gradient[:, 0], gradient[:, 1])
    torch.testing.assert_close(gradient[:, 0], gradient[:, 2])
    assert gradient[:, 0].abs().max() > 0 and (gradient[:, 0] - gradient[:, 3]).abs().max() > 1e-5


def test_a_stem_of_which_nothing_is_known_has_no_gradient() -> None:
    batch = make_batch()
    known = torch.eye(4).repeat(2, 1, 1)
    known[1, 2] = 0
    gradient = gradient_of(torch.randn_like(batch.sources), batch._replace(known=known), EVERY)
    moved = gradient.abs().amax((2, 3)) > 0
    assert moved.tolist() == [[True] * 4, [True, True, False, True]]


@pytest.mark.parametrize("name", ["l1", "spectral", "linear", "log", "energy", "si_sdr", "rests"])
def test_each_term_alone_is_least_at_the_truth(name: str) -> None:
    batch = make_batch()
    batch.sources[:, 1] = 0
    batch = batch._replace(mix=batch.sources.sum(1))
    config = replace(NOTHING, **{name: 1.0})  # type: ignore[arg-type]
    losses = [
        float(separation_loss(late(batch.sources) + noise * torch.randn(2, 4, 2, 4096), batch, LATENCY, config)[0])
        for noise in (0.0, 0.01, 0.1)
    ]
    assert losses[0] < losses[1] < losses[2]
    parts = separation_loss(late(batch.sources), batch, LATENCY, config)[1]
    assert set(parts) == {name, "snr"}


def test_si_sdr_does_not_see_the_level_and_rests_see_only_rests() -> None:
    batch = make_batch()
    blind = replace(NOTHING, si_sdr=1.0)
    noisy = late(batch.sources) + 0.04 * torch.randn(2, 4, 2, 4096)
    values = [float(separation_loss(gain * noisy, batch, LATENCY, blind)[0]) for gain in (0.5, 1.0, 2.0)]
    assert max(values) - min(values) < 0.1
    batch.sources[:, 1] = 0
    batch.sources[:, 2, :, 2048:] = 0
    gradient = gradient_of(torch.randn_like(batch.sources), batch, replace(NOTHING, rests=1.0))
    assert not gradient[:, [0, 3]].any() and gradient[:, 1].any()
    assert not gradient[:, 2, :, :1900].any() and gradient[:, 2, :, 2600:].any()


def test_a_teacher_teaches_only_where_it_is_nearer_to_the_truth() -> None:
    """The student is off everywhere, the teacher right in the drums and in the second half of the bass of item 0."""
    batch = make_batch()
    taught = batch.sources + 0.3 * torch.randn(2, 4, 2, 4096)
    taught[0, 0] = batch.sources[0, 0]
    taught[0, 1, :, 2048:] = batch.sources[0, 1, :, 2048:]
    config = replace(EVERY, teacher=1.0, teacher_seconds=0.005)
    student = late(batch.sources + 0.1 * torch.randn(2, 4, 2, 4096))
    without = gradient_of(student, batch, replace(config, teacher=0.0), taught)
    drawn = (gradient_of(student, batch, config, taught) - without).abs() > 1e-7
    assert drawn[0, 0].float().mean() > 0.7
    assert drawn[0, 1, :, 2600:].float().mean() > 0.7 and not drawn[0, 1, :, :1800].any()
    assert not drawn[0, 2:].any() and not drawn[1].any()


def test_a_teacher_divides_what_is_only_known_together() -> None:
    """Bass and other are known as a sum: a teacher that is right about it draws both stems to its own halves."""
    batch = make_batch(("bass", "other"))
    taught = batch.sources.clone()
    config = replace(EVERY, teacher=1.0)
    student = late(batch.sources)
    student[:, 1], student[:, 2] = student[:, 1] + student[:, 2] + 0.05 * torch.randn(2, 2, 4096), 0.0
    without = gradient_of(student, batch, replace(config, teacher=0.0), taught)
    with_it = gradient_of(student, batch, config, taught)
    assert (with_it - without)[:, 1].any() and (with_it - without)[:, 2].any()


def test_two_halves_of_a_batch_have_its_mean_loss() -> None:
    batch = make_batch()
    known = torch.stack([torch.from_numpy(known_apart(STEMS, joined)) for joined in ((), ("bass", "other"))])
    batch = batch._replace(known=known)
    estimate = torch.randn_like(batch.sources)
    halves = [Batch(*(part[i : i + 1] for part in batch[:3])) for i in range(2)]
    apart = [float(separation_loss(estimate[i : i + 1], half, LATENCY, EVERY)[0]) for i, half in enumerate(halves)]
    assert float(separation_loss(estimate, batch, LATENCY, EVERY)[0]) == pytest.approx(sum(apart) / 2, abs=1e-5)


def test_a_teacher_is_judged_below_the_band_of_a_recording() -> None:
    """The vocals' file lost its treble: a teacher that has it is right about them, and the student learns from it."""
    batch = make_batch()
    taught, band = batch.sources.clone(), torch.full((2, 4), torch.inf)
    band[:, 3] = 5000.0
    limited = torch.stack([*batch.sources[:, :3].unbind(1), lowpassed(taught[:, 3], band[:, 3], 44100)], 1)
    batch = batch._replace(mix=limited.sum(1), sources=limited, band=band)
    student = late(limited)
    student[:, 3] *= 1.3
    parts = separation_loss(student, batch, LATENCY, replace(CONFIG, teacher=1.0, teacher_seconds=0.01), taught)[1]
    assert parts["teacher"] > 0.01
