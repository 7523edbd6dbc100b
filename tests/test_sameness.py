"""Weights go into a model only where they mean the same: the tools that ship and join them look at more than shapes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from streamsep.errors import StreamsepError
from streamsep.models.causal_bag import CausalBag, CausalBagConfig
from streamsep.models.causal_config import ExpanderConfig
from streamsep.models.causal_htdemucs import CausalHTDemucs
from streamsep.models.checkpoint import save_checkpoint
from streamsep.models.registry import build_preset
from streamsep.models.sameness import differing
from tests.models import tiny, tiny_config
from tools import join_bag, ship_weights

STEMS = ("vocals", "drums", "bass", "other")
# Settings that no weight's shape tells.
HIDDEN: list[tuple[dict[str, Any], str]] = [
    ({"compression": 0.9}, "compression"),
    ({"level_seconds": 1.0}, "level_seconds"),
    ({"mix_consistency": False}, "mix_consistency"),
    ({"sources": STEMS}, "sources"),
    ({"heads": 8}, "transformer.heads"),
    ({"context": 1.0}, "transformer.context"),
]


def changed(config: Any, changes: dict[str, Any]) -> Any:
    inner = {key: value for key, value in changes.items() if hasattr(config.transformer, key)}
    outer = {key: value for key, value in changes.items() if key not in inner}
    return replace(config, transformer=replace(config.transformer, **inner), **outer)


@pytest.mark.parametrize(("changes", "setting"), HIDDEN)
def test_weights_of_another_network_neither_ship_nor_join(
    changes: dict[str, Any], setting: str, tmp_path: Path
) -> None:
    model = build_preset("live-23-small")
    assert isinstance(model, CausalHTDemucs)
    path = tmp_path / "a.safetensors"
    save_checkpoint(CausalHTDemucs(changed(model.config, changes)), path, {})
    with pytest.raises(StreamsepError, match=rf"do not fit live-23-small \({setting} differs\)"):
        ship_weights.of_preset(path, "live-23-small")
    full = tmp_path / "b.safetensors"
    save_checkpoint(build_preset("live-23-small-full-band"), full, {})
    with pytest.raises(StreamsepError, match=rf"a\.safetensors does not fit its place .*\({setting} differs\)"):
        join_bag.join("live-23-bag", [path, full], tmp_path / "bag.safetensors")


def test_what_no_weight_knows_of_may_differ() -> None:
    config = tiny_config()
    edge = replace(config, lookahead=2, lookaheads=(0, 2), expander=ExpanderConfig())
    assert differing(CausalHTDemucs(config), CausalHTDemucs(edge)) is None
    bags = [CausalBag(CausalBagConfig((config,) * 2, expander)) for expander in (None, ExpanderConfig())]
    assert differing(*bags) is None


def test_a_bag_is_compared_member_by_member() -> None:
    config = tiny_config()
    bags = [CausalBag(CausalBagConfig((config, each))) for each in (config, replace(config, compression=0.4))]
    assert differing(*bags) == "members.1.compression"
    assert differing(bags[0], tiny()) == "their class"
