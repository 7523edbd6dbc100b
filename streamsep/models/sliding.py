"""Any offline model as a streaming separator: a window over the last seconds, moved on hop by hop.

At every hop the model separates the whole window anew, and of its answer the part that lies `lookahead` samples
before the window's end is heard: every sample has been seen with as much of its future as was agreed on. Successive
answers differ a little, for they come from different windows; they are faded into each other.

It knows a model only as something that separates a piece of music of any length.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn

from streamsep.errors import StreamsepError
from streamsep.layers.base import Device
from streamsep.models.apply import mean_and_level


class OfflineModel(Protocol):
    """What is asked of a model: `HTDemucs`, a bag of them, or anything else with these."""

    @property
    def sources(self) -> tuple[str, ...]:
        """Names of the stems."""
        ...

    @property
    def sample_rate(self) -> int:
        """In Hz."""
        ...

    @property
    def audio_channels(self) -> int:
        """Of the mix and of each stem."""
        ...

    @property
    def max_length(self) -> int:
        """Samples of the longest window that the model was made for."""
        ...

    def separate(self, mix: Tensor) -> Tensor:
        """`mix [B, C, T]` to `sources [B, S, C, T]`."""
        ...


@dataclass(frozen=True)
class Windowing:
    """How the window moves, in samples.

    Attributes:
        window: what the model hears at a time.
        hop: between windows; a step.
        lookahead: future that every sample of the output has been heard with; the separator's latency.
        fade: over which successive windows fade into each other, with less look-ahead in the older one.
    """

    window: int
    hop: int
    lookahead: int
    fade: int

    def __post_init__(self) -> None:
        if self.hop < 1 or self.lookahead < 0:
            raise StreamsepError(f"a hop of {self.hop} and a look-ahead of {self.lookahead} samples cannot be")
        if self.window < self.hop + self.lookahead:
            raise StreamsepError(
                f"a window of {self.window} samples is shorter than look-ahead and hop, {self.lookahead} + {self.hop}; "
                "choose a longer window, a shorter look-ahead or a shorter hop"
            )
        if not 0 <= self.fade <= min(self.hop, self.lookahead):
            raise StreamsepError(f"a fade of {self.fade} samples must fit into the hop and into the look-ahead")

    def text(self, sample_rate: int) -> str:
        """All but the fade, in seconds."""
        window, hop, lookahead = (samples / sample_rate for samples in (self.window, self.hop, self.lookahead))
        return f"a window of {window:.3g} s every {hop:.3g} s, look-ahead {lookahead:.3g} s"


def windowing(window: int, hop: int, lookahead: int) -> Windowing:
    """A `Windowing` with the longest fade that there is room for.

    Raises:
        StreamsepError: a window shorter than look-ahead and hop.
    """
    return Windowing(window, hop, lookahead, min(hop, lookahead))


class SlidingState(NamedTuple):
    """What a stream remembers.

    Attributes:
        past: the mix that the next window begins with, `[B, C, window - hop]`.
        tail: the last window's answer, fading out, that the next one meets, `[B, S, C, fade]`.
    """

    past: Tensor
    tail: Tensor


class SlidingSeparator(nn.Module):
    """An offline model behind the contract of `Separator`.

    What a step returns depends on no input after that step: sample `t` of the output is sample `t - latency` of the
    stems, with `latency == lookahead`. Before the song the window is filled with silence.

    Each window is brought to unit level before the model and back after it, as a whole song is in `apply_levelled`.
    The mean is left alone: added back to every stem, that of a short window would be a step at every hop, four times
    over in the sum. With one window over a whole song of zero mean, the two are the same.

    Args:
        model: put into evaluation mode; what is added to it goes where its weights are.
        moves: window, hop, look-ahead and fade.

    Attributes:
        hop, latency: in samples; `latency + hop` is the algorithmic latency.
        recordable: whether a step can become a CUDA graph.

    Raises:
        StreamsepError: a window longer than the model's segment.
    """

    recordable = False
    rise: Tensor

    def __init__(self, model: OfflineModel, moves: Windowing) -> None:
        super().__init__()
        if moves.window > model.max_length:
            seconds = model.max_length / model.sample_rate
            raise StreamsepError(
                f"a window of {moves.window} samples is longer than the model's segment of {model.max_length} "
                f"({seconds:.3g} s); choose a shorter window"
            )
        self.model, self.moves = model, moves
        self.hop, self.latency = moves.hop, moves.lookahead
        self.sample_rate, self.sources = model.sample_rate, tuple(model.sources)
        # The squared sine: rise and fall sum to one, and no slope breaks where a fade begins or ends.
        rise = torch.sin(torch.pi / 2 * (torch.arange(moves.fade) + 0.5) / max(1, moves.fade)) ** 2
        place = next((weight.device for weight in self.parameters()), None)
        self.register_buffer("rise", rise.to(place), persistent=False)
        self.eval()

    def init_state(
        self, batch: int = 1, max_chunk: int = 1, device: Device = None, dtype: torch.dtype | None = None
    ) -> SlidingState:
        """A fresh state for `batch` streams; nothing in it depends on `max_chunk`."""
        moves, channels = self.moves, self.model.audio_channels
        past, tail = (batch, channels, moves.window - moves.hop), (batch, len(self.sources), channels, moves.fade)
        device, dtype = device or self.rise.device, dtype or self.rise.dtype
        return SlidingState(
            torch.zeros(past, device=device, dtype=dtype), torch.zeros(tail, device=device, dtype=dtype)
        )

    def forward(self, mix: Tensor) -> Tensor:
        """The whole signal from a fresh state: `[B, C, n * hop] -> [B, S, C, n * hop]`, lagging by `latency`."""
        return self.step(mix, self.init_state(mix.shape[0], device=mix.device, dtype=mix.dtype))[0]

    def step(self, mix: Tensor, state: SlidingState) -> tuple[Tensor, SlidingState]:
        """Separate the next hops of each stream, one window a hop.

        Shape:
            mix `[B, C, n * hop]` -> sources `[B, S, C, n * hop]`
        """
        if not mix.shape[-1] or mix.shape[-1] % self.hop:
            raise ValueError(f"{mix.shape[-1]} samples are not whole hops of {self.hop}")
        parts = []
        for hop in mix.split(self.hop, -1):
            stems, state = self._slide(hop, state)
            parts.append(stems)
        return torch.cat(parts, -1), state

    def _slide(self, mix: Tensor, state: SlidingState) -> tuple[Tensor, SlidingState]:
        """One hop: what is done of the new window's answer, and what will meet the next."""
        moves = self.moves
        heard = torch.cat([state.past, mix], -1)
        begin = moves.window - moves.lookahead - moves.hop
        stems = self._separate(heard)[..., begin : begin + moves.hop + moves.fade]
        blended = stems[..., : moves.fade] * self.rise + state.tail
        done = torch.cat([blended, stems[..., moves.fade : moves.hop]], -1)
        return done, SlidingState(heard[..., moves.hop :], stems[..., moves.hop :] * (1 - self.rise))

    def _separate(self, window: Tensor) -> Tensor:
        _, level = mean_and_level(window)
        return self.model.separate(window / level) * level[:, None]
