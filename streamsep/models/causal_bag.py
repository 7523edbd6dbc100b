"""Several causal models side by side, whose stems are averaged: they err differently, and the mean errs less."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from streamsep.layers.base import Device
from streamsep.models.causal_config import CausalConfig
from streamsep.models.causal_htdemucs import CausalHTDemucs, CausalState

State = tuple[CausalState, ...]


@dataclass(frozen=True)
class CausalBagConfig:
    """The members' configurations; they must agree in what the outside sees of them."""

    members: tuple[CausalConfig, ...]

    def __post_init__(self) -> None:
        if not self.members:
            raise ValueError("a bag needs at least one member")
        for name in ("hop", "latency", "sample_rate", "audio_channels", "sources"):
            values = {getattr(member, name) for member in self.members}
            if len(values) > 1:
                raise ValueError(f"the members of a bag must have the same {name}, not {sorted(values)}")

    @property
    def sources(self) -> tuple[str, ...]:
        """The stems of every member."""
        return self.members[0].sources

    @property
    def context_frames(self) -> int:
        """Frames of the past that the member with the longest memory sees."""
        return max(member.context_frames for member in self.members)

    @property
    def lookahead(self) -> int:
        """Frames of future that a member sees at most."""
        return max(member.lookahead for member in self.members)


class CausalBag(nn.Module):
    """The mean of causal models: `Separator`, and `forward` over whole signals, as each of them.

    Attributes:
        members: each with its own state, and its own expander if it has one.
        hop, latency: in samples, as every member's.
        has_graph: whether `onnx_graph` can be made.
    """

    def __init__(self, config: CausalBagConfig) -> None:
        super().__init__()
        self.config = config
        self.members = nn.ModuleList(CausalHTDemucs(member) for member in config.members)
        first = self.causal[0]
        self.hop, self.latency, self.sample_rate, self.sources = (
            first.hop, first.latency, first.sample_rate, first.sources,
        )  # fmt: skip
        self.has_graph = all(member.has_graph for member in self.causal)

    @property
    def causal(self) -> list[CausalHTDemucs]:
        """The members by their class."""
        return list(self.members)  # type: ignore[arg-type]

    def init_state(
        self, batch: int = 1, max_chunk: int = 1, device: Device = None, dtype: torch.dtype | None = None
    ) -> State:
        """A fresh state for `batch` streams; one step may then bring up to `max_chunk` hops."""
        return tuple(member.init_state(batch, max_chunk, device, dtype) for member in self.causal)

    def dead_when_still(self, state: State) -> tuple[Tensor, ...]:
        """See `CausalHTDemucs`."""
        pairs = zip(self.causal, state, strict=True)
        return tuple(leaf for member, part in pairs for leaf in member.dead_when_still(part))

    def step(self, mix: Tensor, state: State) -> tuple[Tensor, State]:
        """Separate the next hops of each stream.

        Shape:
            mix `[B, C, n * hop]` -> sources `[B, S, C, n * hop]`
        """
        answers = [member.step(mix, part) for member, part in zip(self.causal, state, strict=True)]
        return _mean([sources for sources, _ in answers]), tuple(after for _, after in answers)

    def forward(self, mix: Tensor) -> Tensor:
        """The whole signal in one pass: `[B, C, n * hop] -> [B, S, C, n * hop]`, lagging by `latency`."""
        return _mean([member(mix) for member in self.causal])

    def fused(self, precision: torch.dtype = torch.float32, side_by_side: bool = False) -> CausalBag:
        """A copy that only steps, of fused members; see `CausalHTDemucs`."""
        twin = CausalBag.__new__(CausalBag)
        nn.Module.__init__(twin)
        twin.__dict__.update({key: value for key, value in self.__dict__.items() if not key.startswith("_")})
        twin.members = nn.ModuleList(member.fused(precision, side_by_side) for member in self.causal)
        twin.has_graph = False
        return twin.eval()

    def onnx_graph(self, facts: dict[str, str] | None = None) -> bytes:
        """`step` for one hop of one stream as an ONNX model, with `facts` in its metadata; see `causal_graph`.

        Raises:
            StreamsepError: onnx is missing, or a member has recurrent layers.
        """
        from streamsep.models.causal_graph import build_graph

        return build_graph(self.causal, facts)


def _mean(answers: list[Any]) -> Tensor:
    return sum(answers[1:], answers[0]) / len(answers)
