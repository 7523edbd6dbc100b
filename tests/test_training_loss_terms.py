"""Each term of the loss in its own unit: closed forms on sounds whose answer is known."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from streamsep.training.batches import Batch, known_apart
from streamsep.training.data import STEMS
from streamsep.training.losses import Asked, LossConfig, separation_loss, within
from streamsep.training.spectra import spectra

NOTHING = LossConfig(warm=0.0, ffts=(512,), l1=0.0, spectral=0.0, energy=0.0)
FRAMES = 8192


def make_batch(size: int = 1, joined: tuple[str, ...] = ()) -> Batch:
    """Noise of equal energy in all stems; the mixture has an RMS of 0.2."""
    sources = torch.randn(size, 4, 2, FRAMES)
    sources /= sources.square().mean((2, 3), keepdim=True).sqrt()
    mix = sources.sum(1)
    unit = mix.square().mean((1, 2)).sqrt()[:, None, None, None] / 0.2
    known = torch.from_numpy(known_apart(STEMS, joined)).expand(size, 4, 4)
    return Batch(mix / unit[:, 0], sources / unit, known)


def parts_of(estimate: Tensor, batch: Batch, **weights: float) -> dict[str, float]:
    config = replace(NOTHING, **weights)  # type: ignore[arg-type]
    loss, parts = separation_loss(estimate, batch, 0, config)
    terms = [getattr(config, name) * float(value) for name, value in parts.items() if name != "snr"]
    assert float(loss) == pytest.approx(sum(terms), rel=1e-5, abs=1e-6)
    return {name: float(value) for name, value in parts.items()}


def test_the_mean_is_over_the_rows_that_ask_and_then_over_the_items() -> None:
    """Two rows of the first item, one of the second, none of the third; a row's value is the mean of what it holds."""
    values = torch.tensor(
        [[[1.0, 3.0], [6.0, 6.0], [100.0, 100.0]], [[100.0, 100.0]] * 2 + [[5.0, 9.0]], [[9.0] * 2] * 3]
    )
    rows = torch.tensor([[1.0, 1.0, 0.0], [0.0, 0.0, 1.0], [0.0, 0.0, 0.0]])
    assert float(Asked(values, values, values, rows).mean(values)) == pytest.approx(((2 + 6) / 2 + 7 + 0) / 3)


def test_weights_multiply_their_terms() -> None:
    batch = make_batch()
    once, twice = (parts_of(0.5 * batch.sources, batch, l1=weight, energy=0.3) for weight in (1.0, 2.0))
    assert once == twice


def test_the_unit_is_the_mixture_and_of_a_silent_one_a_thousandth() -> None:
    batch = make_batch()
    assert parts_of(batch.sources + 0.02, batch, l1=1.0)["l1"] == pytest.approx(0.02 / 0.2, rel=1e-4)
    silent = Batch(0 * batch.mix, 0 * batch.sources, batch.known)
    assert parts_of(silent.sources + 0.002, silent, l1=1.0)["l1"] == pytest.approx(2, rel=1e-4)


def test_the_logged_snr_is_in_decibels_and_a_mean_over_the_items() -> None:
    """A tenth and a hundredth are missing: 20 and 40 dB."""
    batch = make_batch(2)
    missing = torch.tensor([0.1, 0.01])[:, None, None, None]
    assert parts_of((1 - missing) * batch.sources, batch)["snr"] == pytest.approx(30, abs=1e-2)


def test_the_log_of_magnitudes_is_in_nepers() -> None:
    """The small constant under the energies takes a hundredth off."""
    batch = make_batch()
    assert parts_of(math.e * batch.sources, batch, log=1.0)["log"] == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize(("power", "expected"), [(0.5, (3 - 1) / (2 - 1)), (1.0, (9 - 1) / (4 - 1)), (0.25, 1.767)])
def test_the_power_compresses_magnitudes(power: float, expected: float) -> None:
    """Nine times the truth is so much farther away than four times the truth."""
    batch = make_batch()
    config = replace(NOTHING, spectral=1.0, power=power)
    far, near = (float(separation_loss(gain * batch.sources, batch, 0, config)[0]) for gain in (9, 4))
    assert far / near == pytest.approx(expected, rel=2e-3)


def test_the_usual_power_has_a_shortcut_and_no_power_is_the_linear_term() -> None:
    batch = make_batch()
    for one, other in (({"power": 0.5}, {"power": 0.5 + 1e-6}), ({"power": 1.0}, {"linear": 1.0, "spectral": 0.0})):
        values = [
            float(separation_loss(0.3 * batch.sources, batch, 0, replace(NOTHING, **{"spectral": 1.0, **terms}))[0])  # type: ignore[arg-type]
            for terms in (one, other)
        ]
        assert values[0] == pytest.approx(values[1], rel=1e-4) and values[0] > 0.01


def test_spectral_terms_are_means_over_the_resolutions() -> None:
    batch = make_batch()
    values = [
        float(separation_loss(0.3 * batch.sources, batch, 0, replace(NOTHING, linear=1.0, ffts=ffts))[0])
        for ffts in ((512,), (128,), (512, 128))
    ]
    assert values[2] == pytest.approx((values[0] + values[1]) / 2, rel=1e-5)


def test_spectra_are_those_of_hann_windows_half_overlapped() -> None:
    x = torch.randn(2, 1000)
    known = torch.stft(x, 128, 64, window=torch.hann_window(128), center=False, return_complex=True) / 128**0.5
    torch.testing.assert_close(spectra(x, 128), known.transpose(1, 2))


def test_energy_is_in_nepers_of_power_over_its_floor() -> None:
    """Each stem has a quarter of the mixture's energy, up to chance; ln of a hundredth of that and of the floor."""
    batch = make_batch()
    share = float((batch.sources[0, 0] / 0.2).square().mean())
    found = parts_of(0.9 * batch.sources, batch, energy=1.0)["energy"]
    assert found == pytest.approx(math.log(0.01 * share + 1e-3), abs=1e-4)


def test_si_sdr_is_in_nepers_of_power() -> None:
    """An error at right angles to the truth with a hundredth of its energy: -20 dB; the floor moves both sides."""
    batch = make_batch()
    error = torch.randn_like(batch.sources)
    along = (error * batch.sources).sum((2, 3), keepdim=True) / batch.sources.square().sum((2, 3), keepdim=True)
    error -= along * batch.sources
    error *= 0.1 * batch.sources.norm(dim=(2, 3), keepdim=True) / error.norm(dim=(2, 3), keepdim=True)
    found = parts_of(0.5 * (batch.sources + error), batch, si_sdr=1.0)["si_sdr"]
    assert found == pytest.approx(math.log((0.0025 + 1e-3) / (0.25 + 1e-3)), abs=1e-4)


def test_si_sdr_does_not_ask_a_stem_below_the_floor() -> None:
    batch = make_batch()
    batch.sources[:, 1] *= 0.01
    assert parts_of(0 * batch.sources, batch, si_sdr=1.0)["si_sdr"] == pytest.approx(0, abs=1e-6)
    louder = batch.sources.clone()
    louder[:, 1] += 0.2
    alike = [parts_of(estimate, batch, si_sdr=1.0)["si_sdr"] for estimate in (batch.sources, louder)]
    assert alike[0] == alike[1]


def test_rests_are_heard_over_their_own_level() -> None:
    """A tone of 0.02 is 20 dB below the mixture, and 25 dB over the level of 45 dB below it."""
    batch = make_batch()
    batch.sources[:, 1] = 0
    estimate = batch.sources.clone()
    estimate[:, 1] = 0.02
    found = parts_of(estimate, batch, rests=1.0, rest_seconds=FRAMES / 44100)["rests"]
    assert found == pytest.approx(math.log1p(0.01 / 10**-4.5) / 4, rel=1e-4)


def test_a_faint_stem_does_not_rest() -> None:
    batch = make_batch()
    batch.sources[:, 1] *= 0.01
    assert parts_of(0.5 + batch.sources, batch, rests=1.0)["rests"] == 0


def test_of_a_sum_is_known_what_lies_below_the_lowest_band_of_its_stems() -> None:
    """Three and six kilohertz; the bass is limited to 8 kHz, other and vocals to 4 kHz, the drums not at all."""
    time = torch.arange(FRAMES) / 44100 * 2 * math.pi
    low, high = (torch.sin(time * hertz * 44100 / FRAMES) for hertz in (557, 1115))
    rows = (low + high).expand(1, 4, 2, FRAMES)
    band = torch.tensor([[torch.inf, 8000.0, 4000.0, 4000.0]])
    known = torch.from_numpy(known_apart(STEMS, ("bass", "other")))[None]
    left = within(band, known, rows)[0, :, 0]
    torch.testing.assert_close(left[0], low + high, atol=1e-3, rtol=0)
    torch.testing.assert_close(left[1], low, atol=1e-3, rtol=0)
    torch.testing.assert_close(left[3], low, atol=1e-3, rtol=0)


def test_a_teacher_no_nearer_than_the_student_does_not_draw_it() -> None:
    """As far away on the other side."""
    batch = make_batch()
    config = replace(NOTHING, teacher=1.0, teacher_seconds=0.01)
    step = torch.full_like(batch.sources, 0.0625)
    whole = Batch(torch.ones_like(batch.mix), torch.ones_like(batch.sources), batch.known)
    for moved, drawn in ((step, 0.0), (0.5 * step, 1.5 * 0.0625)):
        parts = separation_loss(whole.sources + step, whole, 0, config, whole.sources - moved)[1]
        assert float(parts["teacher"]) == drawn
