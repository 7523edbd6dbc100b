"""The running level by its formula."""

from __future__ import annotations

import math

import torch

from streamsep.layers.norm import RunningLevel

HOP, RATE, SECONDS = 8, 1000, 0.05


def test_it_is_the_root_of_the_mean_energy_of_a_past_that_fades() -> None:
    hops = torch.rand(12, generator=torch.Generator().manual_seed(1)) + 0.1
    mix = hops.repeat_interleave(HOP).expand(1, 2, -1)
    level = RunningLevel(HOP, RATE, SECONDS)(mix)[0, 0]
    keep = math.exp(-HOP / (SECONDS * RATE))
    for n in range(12):
        weights = [keep ** (n - k) for k in range(n + 1)]
        energy = sum(w * float(hops[k]) ** 2 for k, w in enumerate(weights)) / sum(weights)
        assert math.isclose(level[HOP * n + HOP - 1], math.sqrt(energy), rel_tol=1e-5)


def test_silence_has_the_level_of_the_floor() -> None:
    """What is divided by it stays a number, and what hardly sounds is not blown up to full scale."""
    mix = torch.cat([torch.zeros(1, 2, 40), torch.full((1, 2, 40), 1e-4)], -1)
    level = RunningLevel(HOP, RATE, SECONDS, floor=1e-3)(mix)
    torch.testing.assert_close(level, torch.full((1, 1, 80), 1e-3), rtol=1e-5, atol=0)
