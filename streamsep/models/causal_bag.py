"""Several causal models side by side, whose stems are averaged: they err differently, and the mean errs less."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from streamsep.layers.base import Device
from streamsep.layers.expander import ExpanderState
from streamsep.models.causal_config import CausalConfig, ExpanderConfig
from streamsep.models.causal_htdemucs import Absent, CausalHTDemucs, CausalState
from streamsep.models.config_checks import check_choice
from streamsep.models.consistency import share_missing
from streamsep.models.expanded import ExpandedStem


class BagState(NamedTuple):
    """All that a stream remembers."""

    members: tuple[CausalState, ...]
    expander: ExpanderState | Absent


@dataclass(frozen=True)
class CausalBagConfig:
    """A bag of causal models.

    Attributes:
        members: they must agree in what the outside sees of them.
        shares: of each in the mean, from 0 to 1 and together 1; none for equal ones.
        stem_shares: stem -> shares of its own, in place of those. All the same the stems sum to what the first member's
            do: what they miss of it they take in equal parts.
        expander: on the mean, of one that is not in training; None for none.
    """

    members: tuple[CausalConfig, ...]
    expander: ExpanderConfig | None = None
    shares: tuple[float, ...] = ()
    stem_shares: dict[str, tuple[float, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.members:
            raise ValueError("a bag needs at least one member")
        for name in ("hop", "latency", "lookaheads", "sample_rate", "sources"):
            values = {getattr(member, name) for member in self.members}
            if len(values) > 1:
                raise ValueError(f"the members of a bag must have the same {name}, not {sorted(values)}")
        if self.expander is not None:
            check_choice("the expander's stem", self.expander.stem, self.sources)
        for stem in self.stem_shares:
            check_choice("a stem of stem_shares", stem, self.sources)
        for shares in (self.shares or self._equal, *self.stem_shares.values()):
            if len(shares) != len(self.members) or min(shares) < 0 or not math.isclose(sum(shares), 1):
                raise ValueError(f"shares must be {len(self.members)} numbers from 0 to 1 that sum to 1, one a member")

    @property
    def _equal(self) -> tuple[float, ...]:
        return (1 / len(self.members),) * len(self.members)

    @property
    def parts(self) -> tuple[tuple[float, ...], ...]:
        """For each member its share of each stem."""
        stems = [self.stem_shares.get(stem, self.shares or self._equal) for stem in self.sources]
        return tuple(zip(*stems, strict=True))

    @property
    def sources(self) -> tuple[str, ...]:
        """The stems of every member."""
        return self.members[0].sources

    @property
    def context_frames(self) -> int:
        """Frames of the past that the member with the longest memory sees."""
        return max(member.context_frames for member in self.members)

    @property
    def lookaheads(self) -> tuple[int, ...]:
        """Of every member."""
        return self.members[0].lookaheads

    @property
    def lookahead(self) -> int:
        """Frames of future that a member sees at most."""
        return max(member.lookahead for member in self.members)


class CausalBag(nn.Module):
    """The mean of causal models: `Separator`, and `forward` over whole signals, as each of them.

    Attributes:
        members: each with its own state, and its own expander if it has one.
        expander: on one of the mean's stems, against their sum; None instead, before a stream begins, takes it out.
        hop, latency: in samples, as every member's.
        has_graph: whether `onnx_graph` can be made.
        parts: for each member its share of each stem, `[M, S, 1, 1]`.
    """

    parts: Tensor

    def __init__(self, config: CausalBagConfig) -> None:
        super().__init__()
        self.config, first = config, config.members[0]
        self.hop, self.latency, self.sample_rate, self.sources = (
            first.hop, first.latency, first.sample_rate, first.sources,
        )  # fmt: skip
        self.members = nn.ModuleList(CausalHTDemucs(member) for member in config.members)
        self.has_graph = all(member.has_graph for member in self.causal)
        self.register_buffer("parts", torch.tensor(config.parts)[..., None, None], persistent=False)
        self.expander: ExpandedStem | None = None
        if config.expander is not None:
            self.expander = ExpandedStem(config.expander, self.sources, self.hop, self.sample_rate)

    @property
    def causal(self) -> list[CausalHTDemucs]:
        """The members by their class."""
        return list(self.members)  # type: ignore[arg-type]

    def init_state(
        self, batch: int = 1, max_chunk: int = 1, device: Device = None, dtype: torch.dtype | None = None
    ) -> BagState:
        """A fresh state for `batch` streams; one step may then bring up to `max_chunk` hops."""
        like = self.causal[0].level.ramp
        members = tuple(member.init_state(batch, max_chunk, device, dtype) for member in self.causal)
        if self.expander is None:
            return BagState(members, ())
        return BagState(members, self.expander.init_state(batch, 1, device or like.device, dtype or like.dtype))

    def dead_when_still(self, state: BagState) -> tuple[Tensor, ...]:
        """See `CausalHTDemucs`."""
        pairs = zip(self.causal, state.members, strict=True)
        return tuple(leaf for member, part in pairs for leaf in member.dead_when_still(part))

    def step(self, mix: Tensor, state: BagState) -> tuple[Tensor, BagState]:
        """Separate the next hops of each stream.

        Shape:
            mix `[B, C, n * hop]` -> sources `[B, S, C, n * hop]`
        """
        answers = [member.step(mix, part) for member, part in zip(self.causal, state.members, strict=True)]
        sources, after = self._together([sources for sources, _ in answers], state.expander)
        return sources, BagState(tuple(member for _, member in answers), after)

    def forward(self, mix: Tensor) -> Tensor:
        """The whole signal in one pass: `[B, C, n * hop] -> [B, S, C, n * hop]`, lagging by `latency`."""
        return self._together([member(mix) for member in self.causal], None)[0]

    def _together(self, answers: list[Tensor], state: Any) -> tuple[Tensor, Any]:
        """The mean, after its expander."""
        first, *others = (part * answer for part, answer in zip(self.parts.to(answers[0]), answers, strict=True))
        sources = sum(others, first)
        if self.config.stem_shares:
            sources = share_missing(sources, answers[0].sum(1))
        if self.expander is None or self.training:
            return sources, state
        return self.expander(sources, sources.sum(1), state)

    def fused(self, precision: torch.dtype = torch.float32, side_by_side: bool = False) -> CausalBag:
        """A copy that only steps, of fused members; see `CausalHTDemucs`."""
        twin = copy.copy(self)
        twin._modules = dict(self._modules)
        twin.members = nn.ModuleList(member.fused(precision, side_by_side) for member in self.causal)
        twin.has_graph = False
        return twin.eval()

    def onnx_graph(self, facts: dict[str, str] | None = None) -> bytes:
        """`step` for one hop of one stream as an ONNX model, with `facts` in its metadata; see `causal_graph`.

        Raises:
            StreamsepError: onnx is missing, or a member has recurrent layers.
        """
        from streamsep.models.causal_graph import build_graph

        return build_graph(self.causal, facts, self.config.parts, self.expander)
