"""Causal models that learnt to wait: the same weights with a part of the future in view, wherever a model is named."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from streamsep.cli import main
from streamsep.cli.live_model import ModelChoice
from streamsep.errors import StreamsepError
from streamsep.evaluation.systems import load, look_at, parse_systems
from streamsep.files import read_audio
from streamsep.models.causal_bag import CausalBag, CausalBagConfig
from streamsep.models.causal_config import ExpanderConfig
from streamsep.models.causal_htdemucs import CausalHTDemucs
from streamsep.models.checkpoint import load_checkpoint, save_checkpoint
from streamsep.models.htdemucs import HTDemucs
from streamsep.models.load import as_separator, load_separator
from streamsep.models.lookahead import learning, longest_lookahead, waiting, with_lookahead
from streamsep.models.registry import build_preset, find_weights
from streamsep.models.streaming import separate_stream
from tests.contract import Case, verify_contract, verify_graph
from tests.models import tiny, tiny_config, wake
from tests.sliding_toys import small_offline

HOP = 1000 * 16 / 44100  # milliseconds


def patient() -> CausalHTDemucs:
    """A tiny model whose weights pass for ones that learnt to wait four hops."""
    torch.manual_seed(0)
    return wake(CausalHTDemucs(replace(tiny_config(), lookaheads=(0, 2, 4))))


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    save_checkpoint(patient(), tmp_path / "patient.safetensors", {})
    return tmp_path / "patient.safetensors"


@pytest.fixture
def song(tmp_path: Path) -> Path:
    samples = 0.1 * np.random.default_rng(0).standard_normal((3000, 2))
    soundfile.write(tmp_path / "song.wav", samples, 44100, subtype="FLOAT")
    return tmp_path / "song.wav"


def wanted(weights: Path, song: Path, hops: int) -> np.ndarray:
    model = with_lookahead(load_checkpoint(weights), hops)
    return separate_stream(model, torch.from_numpy(read_audio(song)[0])[None])[0].numpy()


def found(command: str, weights: Path, song: Path, *flags: str) -> np.ndarray:
    out = song.parent / "out"
    names = ["--clip-mode", "none"] if command == "separate" else []
    assert main([command, str(song), "-n", str(weights), "-o", str(out), "--float32", *names, *flags]) == 0
    folder = out / "patient" / "song"
    return np.stack([read_audio(folder / f"{name}.wav")[0] for name in ("drums", "bass", "other", "vocals")])


@pytest.mark.parametrize(
    ("command", "flags", "hops"),
    [
        ("separate", (), 0),
        ("separate", ("--lookahead", "0"), 0),
        ("separate", ("--lookahead", f"{2 * HOP}ms"), 2),
        ("stream", (), 0),
        ("stream", ("--lookahead", f"{4 * HOP}ms"), 4),
    ],
)
def test_who_is_told_to_waits(
    command: str, flags: tuple[str, ...], hops: int, weights: Path, song: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Stems come out aligned with the song, whatever was waited."""
    np.testing.assert_allclose(found(command, weights, song, *flags), wanted(weights, song, hops), atol=1e-5)
    assert (f"looks {hops * HOP:.1f} ms ahead" in capsys.readouterr().out) == (command == "separate" and hops > 0)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--lookahead", "1s"], "patient.safetensors learnt to wait 0.0015 s at most; choose a shorter --lookahead"),
        (["--window", "1s"], "--window is for offline models"),
    ],
)
def test_what_cannot_be(
    flags: list[str], message: str, weights: Path, song: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["separate", str(song), "-n", str(weights), "-o", str(song.parent / "out"), *flags]) == 1
    assert message in capsys.readouterr().err


def test_weights_that_learnt_no_waiting(tmp_path: Path) -> None:
    save_checkpoint(tiny(), tmp_path / "a.safetensors", {})
    assert load_separator(tmp_path / "a.safetensors", lookahead=0.0).latency == 16
    with pytest.raises(StreamsepError, match=r"--lookahead is for offline models and those that learnt to wait"):
        load_separator(tmp_path / "a.safetensors", lookahead=2 * HOP / 1000)


def test_one_look_ahead_alone_is_kept() -> None:
    """Weights that learnt one look-ahead, as those of `live-93`, take that one and no other."""
    model = tiny(lookahead=2)
    for seconds in (0.0, HOP / 1000, 2 * HOP / 1000):
        assert waiting(model, "a", seconds) is model
    with pytest.raises(StreamsepError, match="learnt to wait"):
        waiting(model, "a", 3 * HOP / 1000)


def test_an_offline_model_of_one_channel_does_not_stream() -> None:
    with pytest.raises(StreamsepError, match="mono is not for stereo, which songs are separated in; choose"):
        as_separator(HTDemucs(replace(small_offline().config, audio_channels=1)), "mono", lookahead=0.5)


def test_the_shortest_time_is_a_hop() -> None:
    for hops, wanted in ((0.0, 0), (1e-3, 1), (1.4, 1), (1.6, 2)):
        assert waiting(patient(), "a", hops * HOP / 1000).latency == (1 + wanted) * 16


def test_what_is_frozen_stays_so_and_what_is_no_weight_goes_along() -> None:
    model = patient()
    model.branches[0].requires_grad_(False)
    wanted = [weight.requires_grad for weight in model.parameters()]
    twin = with_lookahead(model, 2)
    for each in (model, twin):
        assert [weight.requires_grad for weight in each.parameters()] == wanted and not all(wanted)
    with torch.device("meta"):
        model = patient()
    assert {value.device.type for value in with_lookahead(model, 2).buffers()} == {"meta"}


def test_what_was_switched_off_is_off_in_the_twin() -> None:
    config = replace(patient().config, expander=ExpanderConfig())
    model, bag = CausalHTDemucs(config), CausalBag(CausalBagConfig((config,) * 2, ExpanderConfig()))
    assert with_lookahead(model, 2).expander is not None and with_lookahead(bag, 2).expander is not None
    model.expander = bag.expander = None
    model.mix_consistency = bag.causal[1].mix_consistency = False
    twin, twins = with_lookahead(model, 2), with_lookahead(bag, 2)
    assert isinstance(twin, CausalHTDemucs) and isinstance(twins, CausalBag)
    assert twin.expander is None and twins.expander is None and not twin.mix_consistency
    assert [member.mix_consistency for member in twins.causal] == [True, False]


def test_a_live_model_waits(weights: Path) -> None:
    separator = ModelChoice(str(weights), "cpu", "eager", lookahead=2 * HOP / 1000)().separator
    assert separator.latency == 3 * 16


def test_what_is_measured_waits(weights: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["-n", str(weights), "-d", "cpu", "--executor", "eager", "--lookahead", f"{2 * HOP}ms", "--json"]
    assert main(["bench", "--steps", "20", *flags]) == 0
    assert json.loads(capsys.readouterr().out)["latency_ms"] == pytest.approx(4 * HOP)
    assert main(["latency", "--no-device", "--queue", "1", *flags]) == 0
    assert json.loads(capsys.readouterr().out)["budget"]["algorithmic_frames"] == 4 * 16


def test_systems_of_a_comparison(weights: Path) -> None:
    systems = parse_systems([f"stream:{weights}@{2 * HOP}ms,{4 * HOP}ms", f"mine=stream:{weights}@{2 * HOP}ms"])
    assert [system.way for system in systems] == ["stream"] * 3 and systems[2].name == "mine"
    assert [look_at(system).latency for system in systems] == [4 * 16, 6 * 16, 4 * 16]
    assert load(systems[1]).config.lookahead == 4


@pytest.mark.parametrize(("text", "told"), [("stream:{}@30ms", "an offline"), ("sliding:{}@30ms", "a streaming")])
def test_systems_of_the_wrong_kind(text: str, told: str, weights: Path, tmp_path: Path) -> None:
    save_checkpoint(small_offline(), tmp_path / "offline.safetensors", {})
    path = weights if told == "a streaming" else tmp_path / "offline.safetensors"
    with pytest.raises(StreamsepError, match=f"is {told} model"):
        load(parse_systems([text.format(path)])[0])


def test_a_path_may_hold_an_at_sign(tmp_path: Path) -> None:
    (tmp_path / "me@home").mkdir()
    save_checkpoint(patient(), tmp_path / "me@home" / "a.safetensors", {})
    assert look_at(parse_systems([f"stream:{tmp_path}/me@home/a.safetensors"])[0]).latency == 2 * 16


def test_an_exported_step_waits(weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["-n", str(weights), "-o", str(tmp_path / "a.onnx"), "--lookahead", f"{2 * HOP}ms"]
    assert main(["export", "--onnx", *flags]) == 0
    assert f"algorithmic latency {4 * HOP:.1f} ms" in capsys.readouterr().out


def test_a_bag_waits() -> None:
    torch.manual_seed(0)
    config = CausalBagConfig((patient().config, replace(patient().config, mix_consistency=False)))
    bag = CausalBag(config).eval()
    for member in bag.causal:
        wake(member)
    twin = with_lookahead(bag, 2)
    assert (twin.latency, longest_lookahead(twin)) == (3 * 16, pytest.approx(4 * HOP / 1000))
    assert all(a is b for a, b in zip(bag.parameters(), twin.parameters(), strict=True))
    verify_graph(twin)
    verify_contract(Case(twin, lambda batch, hops: 0.1 * torch.randn(batch, 2, hops * 16), 12, name="patient bag"))
    with pytest.raises(ValueError, match="the same lookaheads"):
        CausalBagConfig((patient().config, tiny_config()))


@pytest.mark.parametrize("name", ["live-23-small", "live-23-bag"])
@pytest.mark.parametrize(("hops", "seconds"), [((), 0), ((5, 0, 5), 5 * 512 / 44100)])
def test_weights_tell_what_they_are_trained_for(name: str, hops: tuple[int, ...], seconds: float) -> None:
    """Whatever the preset's own weights learnt."""
    with torch.device("meta"):
        model = learning(build_preset(name), hops)
    assert longest_lookahead(model) == seconds
    assert isinstance(model, CausalHTDemucs | CausalBag) and model.config.lookahead == max(hops[:1], default=0)
    for member in model.causal if isinstance(model, CausalBag) else [model]:
        assert member.config.lookaheads == tuple(sorted(set(hops)))


@pytest.mark.parametrize("name", ["live-23-small", "live-23-bag"])
def test_shipped_weights_learnt_what_their_presets_say(name: str) -> None:
    shipped = load_checkpoint(find_weights(name) or Path())
    assert longest_lookahead(shipped) == longest_lookahead(build_preset(name)) > 0.4


def test_info_tells(weights: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "info", str(weights)]) == 0
    assert f"longest look-ahead: {4 * HOP:.0f} ms (--lookahead)" in capsys.readouterr().out
