"""The loss: aligned, blind to what is not known, safe with silence."""

import pytest
import torch

from streamsep.training.batches import Batch, known_apart
from streamsep.training.data import STEMS
from streamsep.training.losses import LossConfig, align, separation_loss
from streamsep.training.spectra import RealFFT

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
