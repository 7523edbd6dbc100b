"""Algorithmic latency of a separator, heard from outside: an impulse goes in, and the sum of the stems is watched."""

from __future__ import annotations

import torch

from streamsep.models.separator import Separator

_CHUNK = 4096  # samples a step: small hops would take long one by one


@torch.inference_mode()
def impulse_latency(model: Separator, tail: float = 1.0, device: torch.device | str = "cpu") -> int | None:
    """Algorithmic latency in samples: the lag of an impulse in the sum of the stems, and the hop collected first.

    None where the impulse does not come out as one: the stems of a model need not add up to the mixture.

    Args:
        tail: seconds to wait after the declared latency.
    """
    chunk = max(1, _CHUNK // model.hop) * model.hop
    length = -(-(2 * model.hop + model.latency + round(tail * model.sample_rate)) // chunk) * chunk
    place = model.hop + model.hop // 3  # not at a border
    mix = torch.zeros(1, 2, length, device=device)
    mix[..., place] = 0.5
    state = model.init_state(1, chunk // model.hop, device=device)
    heard = []
    for piece in mix.split(chunk, dim=-1):
        sources, state = model.step(piece, state)
        heard.append(sources[0].sum(0).mean(0).cpu())
    energy = torch.cat(heard).square()
    peak = int(energy.argmax())
    return peak - place + model.hop if energy[peak] > 0.5 * energy.sum() > 0 else None
