"""Algorithmic latency of a separator, heard from outside: an impulse goes in, and the sum of the stems is watched."""

from __future__ import annotations

import torch

from streamsep.models.separator import Separator


@torch.inference_mode()
def impulse_latency(model: Separator, tail: float = 1.0, device: torch.device | str = "cpu") -> int | None:
    """Algorithmic latency in samples: the lag of an impulse in the sum of the stems, and the hop collected first.

    None where the impulse does not come out as one: the stems of a model need not add up to the mixture.

    Args:
        tail: seconds to wait after the declared latency.
    """
    after = model.latency + round(tail * model.sample_rate)
    hops = -(-(2 * model.hop + after) // model.hop)
    place = model.hop + model.hop // 3  # not at a border
    state = model.init_state(1, 1, device=device)
    heard = []
    for index in range(hops):
        mix = torch.zeros(1, 2, model.hop, device=device)
        if 0 <= place - index * model.hop < model.hop:
            mix[..., place - index * model.hop] = 0.5
        sources, state = model.step(mix, state)
        heard.append(sources[0].sum(0).mean(0).cpu())
    energy = torch.cat(heard).square()
    peak = int(energy.argmax())
    return peak - place + model.hop if energy[peak] > 0.5 * energy.sum() > 0 else None
