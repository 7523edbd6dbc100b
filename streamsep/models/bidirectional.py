"""An offline model of two causal ones: one hears a song from its beginning, the other from its end.

Each knows one side of every moment, so they err differently, and the mean of their answers errs less. M. Schuster and
K. K. Paliwal 1997, "Bidirectional recurrent neural networks", section II-B, merge two recurrent networks of opposite
directions so; here they are causal transformers.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from streamsep.errors import StreamsepError
from streamsep.models.causal_config import CausalConfig, ExpanderConfig
from streamsep.models.causal_htdemucs import CausalHTDemucs
from streamsep.models.config_checks import check_choice, check_range
from streamsep.models.consistency import share_missing
from streamsep.models.expanded import ExpandedStem
from streamsep.models.streaming import separate_stream


@dataclass(frozen=True)
class BidirectionalConfig:
    """Two causal models and what is taken of each.

    Attributes:
        forwards, backwards: the model along time and the one against it; of the same sources and hop.
        shares: stem -> how much of it the one against time says, from 0 to 1; half where nothing is said. All the same
            the stems sum to what those of the first do: what they miss of it they take in equal parts.
        expander: on the mean, of one that is not in training; None for none.
        segment: seconds that it hears at a time: more than either remembers.
    """

    forwards: CausalConfig
    backwards: CausalConfig
    shares: dict[str, float] = field(default_factory=dict)
    expander: ExpanderConfig | None = None
    segment: float = 30.0

    def __post_init__(self) -> None:
        for name in ("hop", "sample_rate", "sources"):
            if getattr(self.forwards, name) != getattr(self.backwards, name):
                raise ValueError(f"both directions must have the same {name}")
        for stem, share in self.shares.items():
            check_choice("a stem of shares", stem, self.sources)
            check_range(f"the share of {stem}", share, 0, 1)
        if self.expander is not None:
            check_choice("the expander's stem", self.expander.stem, self.sources)
        check_range("segment", self.segment, 0.01, 600)

    @property
    def sources(self) -> tuple[str, ...]:
        """The stems of either."""
        return self.forwards.sources


class Bidirectional(nn.Module):
    """Mix `[B, 2, T]` -> sources `[B, S, 2, T]`, in time with it, of any length up to `max_length`.

    Attributes:
        forwards, backwards: the two models; expanders of their own are taken off.
        expander: on one of the mean's stems, against their sum; None takes it out.
        shares: what is taken of the one against time, `[S, 1, 1]`.
        max_length: samples of a segment.
    """

    shares: Tensor

    def __init__(self, config: BidirectionalConfig) -> None:
        super().__init__()
        self.config = config
        self.forwards, self.backwards = CausalHTDemucs(config.forwards), CausalHTDemucs(config.backwards)
        self.forwards.expander = self.backwards.expander = None
        self.sample_rate, self.sources = config.forwards.sample_rate, config.sources
        self.audio_channels = 2
        self.max_length = round(config.segment * self.sample_rate)
        shares = torch.tensor([config.shares.get(stem, 0.5) for stem in self.sources])
        self.register_buffer("shares", shares[:, None, None], persistent=False)
        self.expander: ExpandedStem | None = None
        if config.expander is not None:
            self.expander = ExpandedStem(config.expander, self.sources, self.forwards.hop, self.sample_rate)

    @property
    def causal(self) -> list[CausalHTDemucs]:
        """Both."""
        return [self.forwards, self.backwards]

    def valid_length(self, length: int) -> int:
        """`length`, which may be anything up to `max_length`.

        Raises:
            StreamsepError: it is more.
        """
        if length > self.max_length:
            raise StreamsepError(f"{length} samples are more than the model's segment of {self.max_length}")
        return length

    def forward(self, mix: Tensor) -> Tensor:
        """Separate `mix [B, 2, T]` into `sources [B, S, 2, T]`."""
        length = mix.shape[-1]
        mix = F.pad(mix, (0, -length % self.forwards.hop))
        ahead, behind = in_time(self.forwards, mix), in_time(self.backwards, mix.flip(-1)).flip(-1)
        sources = share_missing(torch.lerp(ahead, behind, self.shares), ahead.sum(1))
        if self.expander is not None and not self.training:
            sources, _ = self.expander(sources, sources.sum(1), None)
        return sources[..., :length]

    separate = forward  # no segment is padded


def in_time(model: CausalHTDemucs, mix: Tensor) -> Tensor:
    """A causal model's answer to `mix [B, 2, n * hop]` without its lag: it hears silence after the end for so long."""
    if not torch.is_grad_enabled():  # the same, in less time: attention's full pass grows with the square of the length
        return separate_stream(model, mix)
    late = -(-model.latency // model.hop) * model.hop
    sources: Tensor = model(F.pad(mix, (0, late)))
    return sources[..., model.latency : model.latency + mix.shape[-1]]
