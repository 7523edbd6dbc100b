"""Effects on batches: each alone does what it says, the same for the same step, and nothing where it is told to."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from streamsep.training.batch_effects import RATE, BatchEffects, EffectsConfig, draw_curves, equalise_batch

STEMS = ("drums", "bass", "other", "vocals")
NOTHING = EffectsConfig(tone=0, polarity=0, swap=0, gain=(0, 0), silence=0, instrumental=0, vocals_only=0, tone_gain=6)


def batch(size: int = 64, frames: int = 256) -> torch.Tensor:
    return torch.randn(size, 4, 2, frames, generator=torch.Generator().manual_seed(0))


def applied(config: EffectsConfig, stems: torch.Tensor, step: int = 0) -> torch.Tensor:
    return BatchEffects(config, STEMS)(stems, step)


def test_nothing_is_nothing() -> None:
    stems = batch()
    assert torch.equal(applied(NOTHING, stems), stems)


def test_a_step_is_the_same_again_and_others_differ() -> None:
    stems, config = batch(8), EffectsConfig()
    before = stems.clone()
    first, again, later = (applied(config, stems, step) for step in (3, 3, 4))
    assert torch.equal(first, again) and not torch.equal(first, later)
    assert not torch.equal(applied(replace(config, seed=1), stems, 3), first)
    assert torch.equal(stems, before)


def test_polarity_swap_and_gain_are_per_stem() -> None:
    stems = batch()
    ratio = applied(replace(NOTHING, polarity=0.5), stems) / stems
    assert torch.equal(ratio.abs(), torch.ones_like(ratio)) and 0.35 < (ratio[..., 0, 0] < 0).float().mean() < 0.65
    swapped = (applied(replace(NOTHING, swap=0.5), stems) == stems.flip(2)).all(-1).all(-1)
    assert 0.35 < swapped.float().mean() < 0.65
    assert not swapped.all(1).all() and swapped.any(1).any()
    loud = 20 * torch.log10((applied(replace(NOTHING, gain=(-6, 3)), stems) / stems)[..., 0, 0])
    assert -6 <= loud.min() < -5 and 2 < loud.max() <= 3.0001


def test_silence_never_takes_all() -> None:
    kept = applied(replace(NOTHING, silence=0.7), batch(400)).abs().sum((2, 3)) > 0
    assert kept.any(1).all()
    assert kept.float().mean() == pytest.approx(0.3 + 0.7**4, abs=0.05)


def test_views_are_of_the_vocals_or_of_the_rest() -> None:
    kept = applied(replace(NOTHING, instrumental=0.3, vocals_only=0.2), batch(600)).abs().sum((2, 3)) > 0
    alone = (kept == torch.tensor([False, False, False, True])).all(1).float().mean()
    without = (kept == torch.tensor([True, True, True, False])).all(1).float().mean()
    assert alone == pytest.approx(0.2, abs=0.06) and without == pytest.approx(0.3, abs=0.06)
    assert (kept.all(1).float().mean() + alone + without) == pytest.approx(1)
    drums = BatchEffects(replace(NOTHING, instrumental=1.0), ("drums", "bass", "other", "piano"))
    assert torch.equal(drums(batch(4), 0), batch(4))


@pytest.mark.parametrize("silent", [[0, 1, 2], [3]])
@pytest.mark.parametrize("effect", ["vocals_only", "instrumental", "silence"])
def test_where_nothing_else_sounds_a_stem_is_left(silent: list[int], effect: str) -> None:
    stems = batch()
    stems[:, silent] = 0
    out = applied(replace(NOTHING, **{effect: 0.9}), stems)  # type: ignore[arg-type]
    assert (out.abs().amax((1, 2, 3)) > 0).all()
    assert torch.equal(out[:, silent], stems[:, silent])


def test_tone_has_its_curve() -> None:
    stems = torch.zeros(1, 1, 2, 2048)
    stems[..., 1024] = 1
    curves = draw_curves((1, 1), 2048, 6.0, torch.Generator().manual_seed(1))
    heard = 20 * torch.log10(torch.fft.rfft(equalise_batch(stems, curves)).abs())
    torch.testing.assert_close(heard[0, 0, 1], curves[0, 0], atol=1e-3, rtol=0)
    assert curves.abs().max() > 2


def test_tone_is_as_strong_as_asked_and_smooth() -> None:
    curves = draw_curves((300,), 4096, 5.0, torch.Generator().manual_seed(0))
    hertz = torch.fft.rfftfreq(4096, 1 / RATE)
    assert 3 < curves[:, (hertz > 100) & (hertz < 8000)].std() < 8
    octave = [int((hertz > edge).int().argmax()) for edge in (1000, 1100)]
    assert (curves[:, octave[0]] - curves[:, octave[1]]).abs().max() < 5
    assert not draw_curves((2,), 512, 0.0, torch.Generator()).any()


def test_tone_leaves_shape_dtype_and_silence() -> None:
    stems = batch(2, 1001)
    stems[:, 1] = 0
    out = applied(replace(NOTHING, tone=1.0), stems)
    assert out.shape == stems.shape and out.dtype == stems.dtype
    assert not out[:, 1].any() and not torch.allclose(out[:, 0], stems[:, 0], atol=0.05)
    half = applied(replace(NOTHING, tone=1.0), stems.to(torch.bfloat16))
    assert half.dtype == torch.bfloat16


def level(stems: torch.Tensor, low: float, high: float) -> torch.Tensor:
    """dB of what lies between two frequencies."""
    hertz = torch.fft.rfftfreq(stems.shape[-1], 1 / RATE)
    inside = (hertz >= low) & (hertz < high)
    return 10 * torch.log10(torch.fft.rfft(stems)[..., inside].abs().square().sum((-1, -2)))


def test_lows_are_lifted_as_much_as_asked_and_the_level_stays() -> None:
    stems = batch(16, 8192)
    stems[3, 1] = 0
    out = applied(replace(NOTHING, lows={"bass": (6.0, 18.0)}), stems)
    torch.testing.assert_close(out.square().sum((2, 3)), stems.square().sum((2, 3)), rtol=1e-4, atol=0)
    torch.testing.assert_close(out[:, [0, 2, 3]], stems[:, [0, 2, 3]], atol=1e-4, rtol=0)
    sounds = torch.arange(16) != 3
    bass, before = out[sounds, 1], stems[sounds, 1]
    lifted = level(bass, 10, 40) - level(before, 10, 40) - (level(bass, 500, 9000) - level(before, 500, 9000))
    assert 5.5 < lifted.min() < 9 < 15 < lifted.max() < 18.5
    assert not out[3, 1].any()


def test_lows_leave_the_other_draws_as_they_are() -> None:
    stems, config = batch(16), EffectsConfig()
    as_before = applied(replace(config, lows={"bass": (3.0, 3.0)}), stems)[:, [0, 2, 3]]
    torch.testing.assert_close(as_before, applied(config, stems)[:, [0, 2, 3]], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    "wrong",
    [
        {"tone": 1.5},
        {"instrumental": 0.7, "vocals_only": 0.7},
        {"gain": (3.0, 1.0)},
        {"lows": {"bas": (0.0, 3.0)}},
        {"lows": {"bass": (3.0, 0.0)}},
        {"lows": {"bass": (0.0, 90.0)}},
    ],
)
def test_wrong_settings_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="must"):
        EffectsConfig(**wrong)  # type: ignore[arg-type]
