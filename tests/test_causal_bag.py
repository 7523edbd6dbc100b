"""Several causal models as one: the law, the graph, every executor, and what a bag refuses."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from streamsep.engine.onnx_export import export_onnx
from streamsep.engine.static_executor import StaticExecutor
from streamsep.errors import StreamsepError
from streamsep.models.causal_bag import CausalBag, CausalBagConfig
from streamsep.models.causal_config import ExpanderConfig
from streamsep.models.checkpoint import load_checkpoint, read_record, save_checkpoint
from streamsep.models.lookahead import declare
from streamsep.models.registry import build_preset
from streamsep.models.separator import Separator
from streamsep.training.start import freeze
from tests.contract import Case, verify_contract, verify_graph
from tests.models import tiny_config, wake
from tools.join_bag import main

CONFIG = tiny_config()
# Another transformer and another memory, one of two with an expander: members need not be alike.
OTHER = replace(
    CONFIG, transformer=replace(CONFIG.transformer, dim=24, context=3 * 16 / 44100), expander=ExpanderConfig()
)


UNEVEN: dict[str, tuple[float, ...]] = {"bass": (1.0, 0.0), "vocals": (0.5, 0.5)}
STRICT = ExpanderConfig("vocals", threshold_db=-3.0, ratio=2.0, seconds=0.002)  # a few hops of the tiny models


def build(
    *configs: Any,
    expander: ExpanderConfig | None = STRICT,
    shares: tuple[float, ...] = (),
    stem_shares: dict[str, tuple[float, ...]] | None = None,
) -> CausalBag:
    torch.manual_seed(0)
    bag = CausalBag(CausalBagConfig(configs or (CONFIG, OTHER), expander, shares, stem_shares or {}))
    for member in bag.causal:
        wake(member)
    with torch.no_grad():
        for member, sign in zip(bag.causal, (1, -1), strict=False):
            member.branches[0].output_bias.add_(0.1 * sign)  # the same seed woke them
    return bag.eval()


def noise(batch: int, hops: int) -> Tensor:
    return 0.1 * torch.randn(batch, 2, hops * CONFIG.hop)


@pytest.mark.parametrize("expander", [STRICT, None])
def test_law(expander: ExpanderConfig | None) -> None:
    verify_contract(Case(build(expander=expander), noise, 12, name="bag"))


def test_it_is_the_mean_of_its_members() -> None:
    bag, x = build(expander=None), noise(1, 12)
    with torch.inference_mode():
        first, second = (member(x) for member in bag.causal)
        assert (first - second).abs().max() > 1e-3
        torch.testing.assert_close(bag(x), (first + second) / 2)
    assert isinstance(bag, Separator) and bag.sources == CONFIG.sources


def test_members_may_have_unequal_shares(tmp_path: Path) -> None:
    bag, x = build(expander=None, shares=(0.75, 0.25)), noise(1, 12)
    save_checkpoint(bag, tmp_path / "bag.safetensors", {})
    with torch.inference_mode():
        first, second = (member(x) for member in bag.causal)
        torch.testing.assert_close(bag(x), 0.75 * first + 0.25 * second)
        torch.testing.assert_close(load_checkpoint(tmp_path / "bag.safetensors")(x), bag(x))
    verify_contract(Case(bag, noise, 12, name="unequal"))


def test_graph_of_unequal_shares_agrees() -> None:
    verify_graph(build(shares=(0.75, 0.25)))
    verify_graph(build(stem_shares=UNEVEN))


@pytest.mark.parametrize("expander", [STRICT, None])
def test_stems_may_have_shares_of_their_own(tmp_path: Path, expander: ExpanderConfig | None) -> None:
    bag, x = build(expander=expander, shares=(0.75, 0.25), stem_shares=UNEVEN), noise(1, 12)
    verify_contract(Case(bag, noise, 12, name="uneven"))
    save_checkpoint(bag, tmp_path / "bag.safetensors", {})
    with torch.inference_mode():
        first, second = (member(x) for member in bag.causal)
        torch.testing.assert_close(bag(x).sum(1), first.sum(1))
        torch.testing.assert_close(load_checkpoint(tmp_path / "bag.safetensors")(x), bag(x))
        bag.expander = None
        parts = torch.tensor([0.75, 1.0, 0.75, 0.5])[:, None, None]
        mean = parts * first + (1 - parts) * second
        missing = (first - mean).sum(1, keepdim=True)
        assert missing.abs().max() > 1e-3
        torch.testing.assert_close(bag(x), mean + missing / 4)


def test_shares_of_a_stem_that_is_not_there_are_refused() -> None:
    with pytest.raises(ValueError, match="a stem of stem_shares"):
        CausalBagConfig((CONFIG, OTHER), stem_shares={"flute": (0.5, 0.5)})
    with pytest.raises(ValueError, match="shares must be 2 numbers"):
        CausalBagConfig((CONFIG, OTHER), stem_shares={"bass": (1.0,)})


@pytest.mark.parametrize("shares", [(1.0,), (0.5, 0.6), (1.5, -0.5), (0.5, float("nan")), (0.2, 0.3, 0.5)])
def test_shares_that_make_no_mean_are_refused(shares: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="shares must be 2 numbers from 0 to 1 that sum to 1"):
        CausalBagConfig((CONFIG, OTHER), shares=shares)


@torch.inference_mode()
def test_one_stem_of_the_mean_is_turned_down() -> None:
    bag, x = build(), noise(1, 24)
    ours, plain = bag(x), build(expander=None)(x)
    gone = plain[:, 3] - ours[:, 3]
    assert gone.square().mean() > 0.01 * plain[:, 3].square().mean()  # the strict threshold is not idle here
    for stem in range(3):
        torch.testing.assert_close(ours[:, stem], plain[:, stem] + gone / 3, rtol=0, atol=1e-6)
    bag.expander = None
    torch.testing.assert_close(bag(x), plain, rtol=0, atol=0)
    torch.testing.assert_close(build().train()(x), build(expander=None).train()(x), rtol=0, atol=0)


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("expander", [STRICT, None])
def test_graph_agrees(count: int, expander: ExpanderConfig | None) -> None:
    verify_graph(build(*(OTHER, CONFIG, CONFIG)[:count], expander=expander))


def test_graph_is_written_for_others(tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    exported = export_onnx(build(), tmp_path / "bag.onnx", "bag")
    assert exported.error < 1e-5 and exported.states > 20


def test_a_recurrent_member_has_no_graph() -> None:
    lstm = replace(CONFIG, transformer=replace(CONFIG.transformer, kind="lstm"))
    assert build().has_graph and not build(CONFIG, lstm).has_graph
    pytest.importorskip("onnx")
    with pytest.raises(StreamsepError, match="recurrent"):
        build(CONFIG, lstm).onnx_graph()


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_fused_agrees(precision: torch.dtype) -> None:
    bag, x = build(), noise(1, 12)
    fused = bag.fused(precision)
    with torch.inference_mode():
        y, _ = fused.step(x, fused.init_state(1, 12))
        torch.testing.assert_close(y, bag(x), rtol=0, atol=1e-5 if precision == torch.float32 else 0.1)
    assert not fused.has_graph and bag.has_graph
    assert all(parameter.requires_grad for parameter in bag.parameters())


def test_static_steps_and_resting_rows() -> None:
    """The rings of both members are spared when a row rests, and still it wakes where it was."""
    bag, x = build(), noise(2, 6)
    executor = StaticExecutor(bag, batch=2, device="cpu")
    assert len(bag.dead_when_still(bag.init_state())) == sum(
        len(member.dead_when_still(member.init_state())) for member in bag.causal
    )
    with torch.inference_mode():
        wanted, state, rows = bag(x), executor.init_state(), [[], []]  # type: ignore[var-annotated]
        at = [0, 0]
        for awake in ([True, True], [True, False], [False, True], [True, True]) * 3:
            hops = [x[row, :, 16 * at[row] : 16 * (at[row] + 1)] for row in (0, 1)]
            if any(hop.shape[-1] < 16 for hop in hops):
                break
            y, state = executor(torch.stack(hops), state, torch.tensor(awake))
            for row in (0, 1):
                if awake[row]:
                    rows[row].append(y[row].clone())
                    at[row] += 1
    for row in (0, 1):
        got = torch.cat(rows[row], -1)
        torch.testing.assert_close(got, wanted[row, ..., : got.shape[-1]], rtol=0, atol=1e-5)
    assert min(at) > 3


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"hop": 32, "window": 128}, "hop"),
        ({"lookahead": 1}, "latency"),
        ({"sample_rate": 48000}, "sample_rate"),
        ({"sources": ("vocals", "rest")}, "sources"),
    ],
)
def test_members_that_cannot_be_averaged_are_refused(change: dict[str, Any], name: str) -> None:
    if "hop" in change:
        change |= {"waveform": replace(CONFIG.waveform, strides=(4, 8))}
    with pytest.raises(ValueError, match=f"the same {name}"):
        CausalBagConfig((CONFIG, replace(CONFIG, **change)))
    with pytest.raises(ValueError, match="at least one"):
        CausalBagConfig(())
    with pytest.raises(ValueError, match="the expander's stem must be one of drums"):
        CausalBagConfig((CONFIG,), ExpanderConfig("guitar"))


def test_saved_and_loaded(tmp_path: Path) -> None:
    bag, x = build(), noise(1, 8)
    save_checkpoint(bag, tmp_path / "bag.safetensors", {})
    again = load_checkpoint(tmp_path / "bag.safetensors")
    assert isinstance(again, CausalBag) and again.config == bag.config
    with torch.inference_mode():
        assert torch.equal(again(x), bag(x))


def test_a_frozen_member_learns_nothing() -> None:
    bag = build().train()
    freeze(bag, ["members.0"])
    bag(noise(1, 12)).square().mean().backward()
    first, second = bag.causal
    assert all(parameter.grad is None for parameter in first.parameters())
    assert any(parameter.grad is not None for parameter in second.parameters())
    with pytest.raises(StreamsepError, match=r"frozen names 'members\.7'"):
        freeze(bag, ["members.7"])


def run(monkeypatch: pytest.MonkeyPatch, *words: object) -> int:
    monkeypatch.setattr(sys, "argv", ["join_bag", *map(str, words)])
    return main()


def test_joined_by_the_tool(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    paths, out = [], tmp_path / "bag.safetensors"
    for name in ("live-23-small", "live-23-small-full-band"):
        paths.append(tmp_path / f"{name}.safetensors")
        model = build_preset(name)
        declare(model, (0, 8, 43)[: 4 - len(paths)])
        save_checkpoint(model, paths[-1], {"training": {"steps": len(paths)}, "licence": "MIT"})
    assert run(monkeypatch, "live-23-bag", *paths, "-o", out) == 0
    bag = load_checkpoint(out)
    assert isinstance(bag, CausalBag)
    for member, path in zip(bag.causal, paths, strict=True):
        state = load_checkpoint(path).state_dict()
        assert all(torch.equal(value, state[name]) for name, value in member.state_dict().items())
    assert bag.config.lookaheads == (0, 8)  # what both learnt
    record = read_record(out)
    assert record["training"] == {"members": [{"steps": 1}, {"steps": 2}]} and record["licence"] == "MIT"
    # A new first member, and of the bag the other one.
    save_checkpoint(build_preset("live-23-small"), paths[0], {"training": {}, "licence": "MIT"})
    assert run(monkeypatch, "live-23-bag", paths[0], out, "-o", tmp_path / "next.safetensors") == 0
    after, first = load_checkpoint(tmp_path / "next.safetensors").state_dict(), load_checkpoint(paths[0]).state_dict()
    for name, value in bag.state_dict().items():
        kept = first[name.removeprefix("members.0.")] if name.startswith("members.0.") else value
        assert torch.equal(after[name], kept)
    out.unlink()
    for words, told in (
        (("live-23-bag", *paths[::-1]), "does not fit its place"),
        (("live-23-bag", paths[0]), "has 2 members"),
        (("live-23-small", paths[0]), "is no bag"),
    ):
        assert run(monkeypatch, *words, "-o", out) == 1
        assert told in capsys.readouterr().err and not out.exists()


def test_the_preset_is_the_small_one_and_its_full_band_variant() -> None:
    with torch.device("meta"):
        bag, *members = (build_preset(f"live-23-{name}") for name in ("bag", "small", "small-full-band"))
    assert isinstance(bag, CausalBag)
    assert isinstance(bag.config.expander, ExpanderConfig)
    wanted = tuple(replace(member.config, expander=None) for member in members)  # type: ignore[type-var]
    assert bag.config.members == wanted
