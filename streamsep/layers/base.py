"""The law of a streaming layer, and the combinators that keep it.

    cat(step(c) for c in chunks(x)) == forward(x)

for every partition of `x` into chunks of whole hops. Time is always the last dimension, the batch the
first. Layers own weights; the caller owns the state, a nest of NamedTuples of tensors (batch first, fixed
shapes). `step` consumes the state it is given: clone it first to fork a stream.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn

State = Any
Device = torch.device | str | None
M = TypeVar("M", bound=nn.Module)


class Modules(nn.ModuleList, Generic[M]):
    """A list of modules that knows what it holds."""

    def __iter__(self) -> Iterator[M]:
        return super().__iter__()  # type: ignore[return-value]

    def __getitem__(self, index: int) -> M:  # type: ignore[override]
        return super().__getitem__(index)  # type: ignore[return-value]


class StreamingLayer(nn.Module):
    """A strictly causal layer that can also run chunk by chunk.

    Attributes:
        hop: `step` takes multiples of this many input frames.
        ratio: output frames per input frame.
        lag: output frames by which the content lags the index, in `forward` and in `step` alike.
    """

    hop: int = 1
    ratio: Fraction = Fraction(1)
    lag: int = 0

    def init_state(
        self, batch: int = 1, max_chunk: int = 1, device: Device = None, dtype: torch.dtype | None = None
    ) -> State:
        """A fresh state for `batch` streams; `max_chunk` counts the hops that one step may bring."""
        return ()

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Continue the streams by one chunk; a layer without memory has nothing to carry."""
        return self(x), state


class Pointwise(StreamingLayer):
    """Any function that treats each frame alone, as a streaming layer."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


class Delay(StreamingLayer):
    """`y[t] = x[t - frames]`, silence before the start.

    Shape:
        `[B, *shape, T] -> [B, *shape, T]`
    """

    def __init__(self, shape: Sequence[int], frames: int) -> None:
        super().__init__()
        self.shape, self.lag = tuple(shape), frames

    def init_state(
        self, batch: int = 1, max_chunk: int = 1, device: Device = None, dtype: torch.dtype | None = None
    ) -> Tensor:
        return torch.zeros(batch, *self.shape, self.lag, device=device, dtype=dtype)

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.pad(x, (self.lag, 0))[..., : x.shape[-1]] if self.lag else x

    def step(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        if not self.lag:
            return x, state
        joined = torch.cat([state, x], -1)
        return joined[..., : x.shape[-1]], joined[..., x.shape[-1] :]


class Lookahead(StreamingLayer):
    """Declares that what leaves at index `t` speaks of frame `t - frames`, of which it has seen the future.

    It does nothing to the signal; every path that meets this one must be delayed by as much, and `Sum`
    and `same_lag` see to that.
    """

    def __init__(self, frames: int) -> None:
        super().__init__()
        self.lag = frames

    def forward(self, x: Tensor) -> Tensor:
        return x


class Serial(StreamingLayer):
    """Layers one after another; rate, lag and hop follow from the parts."""

    def __init__(self, *layers: StreamingLayer) -> None:
        super().__init__()
        self.layers = Modules[StreamingLayer](layers)
        self.ratio, self.hop = Fraction(1), 1
        lag = Fraction(0)
        for layer in layers:
            before = self.hop
            while (self.hop * self.ratio) % layer.hop:  # the smallest chunk that feeds every part whole hops
                self.hop += before
            self.ratio *= layer.ratio
            lag = lag * layer.ratio + layer.lag
        if lag.denominator != 1:
            raise ValueError(f"the lag of {lag} frames is not whole at the output's rate")
        self.lag = int(lag)

    def init_state(
        self, batch: int = 1, max_chunk: int = 1, device: Device = None, dtype: torch.dtype | None = None
    ) -> tuple[State, ...]:
        states, frames = [], Fraction(max_chunk * self.hop)
        for layer in self.layers:
            states.append(layer.init_state(batch, int(frames / layer.hop), device, dtype))
            frames *= layer.ratio
        return tuple(states)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x)
        return x

    def step(self, x: Tensor, state: tuple[State, ...]) -> tuple[Tensor, tuple[State, ...]]:
        after = []
        for layer, before in zip(self.layers, state, strict=True):
            x, new = layer.step(x, before)
            after.append(new)
        return x, tuple(after)


class Sum(StreamingLayer):
    """The sum of branches over one input.

    Raises:
        ValueError: the branches differ in rate or lag.
    """

    def __init__(self, *branches: StreamingLayer) -> None:
        super().__init__()
        if len({branch.ratio for branch in branches}) > 1:
            raise ValueError(f"branches of unequal rate: {[str(branch.ratio) for branch in branches]}")
        self.lag = same_lag(*branches)
        self.branches = Modules[StreamingLayer](branches)
        self.ratio = branches[0].ratio
        self.hop = max(branch.hop for branch in branches)
        if any(self.hop % branch.hop for branch in branches):
            raise ValueError(f"branches whose hops do not divide {self.hop}")

    def init_state(
        self, batch: int = 1, max_chunk: int = 1, device: Device = None, dtype: torch.dtype | None = None
    ) -> tuple[State, ...]:
        return tuple(b.init_state(batch, max_chunk * self.hop // b.hop, device, dtype) for b in self.branches)

    def forward(self, x: Tensor) -> Tensor:
        return sum((branch(x) for branch in self.branches), torch.zeros((), dtype=x.dtype, device=x.device))

    def step(self, x: Tensor, state: tuple[State, ...]) -> tuple[Tensor, tuple[State, ...]]:
        pairs = [branch.step(x, before) for branch, before in zip(self.branches, state, strict=True)]
        return torch.stack([y for y, _ in pairs]).sum(0), tuple(after for _, after in pairs)


def same_lag(*branches: StreamingLayer) -> int:
    """The lag that all branches share, in frames.

    Raises:
        ValueError: they differ.
    """
    lags = [branch.lag for branch in branches]
    if len(set(lags)) != 1:
        raise ValueError(f"branches of unequal lag: {lags} frames")
    return lags[0]


def run(layer: StreamingLayer, x: Any, state: State | None) -> tuple[Any, Any]:
    """One chunk through a layer's `step`, or the whole signal through its `forward` where there is no state."""
    return (layer(x), None) if state is None else layer.step(x, state)
