"""Plans of the edge, and runs through it with a core that repeats its input late."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from streamsep.engine.edge import Edge, EdgePlan
from streamsep.engine.routing import Matrix
from tests.engine_toys import Audio

STEREO: Matrix = ((1.0, 0.0), (0.0, 1.0))
RATES = (8000, 16000, 22050, 44100, 48000, 88200, 96000, 192000)
SIZES = (64, 1, 63, 7, 33)
LAG = 100


def make_plan(rate: int = 44100, matrix: Matrix = STEREO, max_block: int = 64, **more: Any) -> EdgePlan:
    more = {"device_inputs": 2, "engine_lag": LAG, **more}
    return EdgePlan(engine_rate=44100, input_rate=rate, output_rate=rate, matrix=matrix, max_block=max_block, **more)


class Core:
    """What stands for the engine: its input, repeated over all pairs of outputs, `lag` frames later."""

    def __init__(self, plan: EdgePlan) -> None:
        self._pairs = plan.engine_outputs // 2
        self._past: Audio = np.zeros((2, plan.engine_lag), np.float32)

    def __call__(self, core_in: Audio, core_out: Audio) -> None:
        joined = np.concatenate([self._past, core_in], axis=1)
        core_out[:] = np.tile(joined[:, : core_in.shape[1]], (self._pairs, 1))
        self._past = joined[:, core_in.shape[1] :]


def run(edge: Edge, samples: Audio, sizes: tuple[int, ...] = SIZES, core: Core | None = None) -> Audio:
    """`samples [device inputs, T]` through the edge and a core, in blocks."""
    core, position = core or Core(edge.plan), 0
    played: list[Audio] = []
    for frames in itertools.cycle(sizes):
        block = samples[:, position : position + frames]
        if block.shape[1] == 0:
            return np.concatenate(played, axis=1)
        out = np.full((edge.plan.device_outputs, block.shape[1]), np.nan, np.float32)
        edge.capture(block)
        count = edge.enter(block.shape[1])
        assert 0 <= count <= edge.plan.max_core
        core(edge.core_in[:, :count], edge.core_out[:, :count])
        edge.leave(count, out)
        played.append(out)
        position += frames
    raise AssertionError
