"""Models by name: presets, where weights are found, and the sentences for those that are not."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Literal

import pytest
import torch

from streamsep.cli import main
from streamsep.errors import StreamsepError
from streamsep.models import registry
from streamsep.models.causal_htdemucs import CausalHTDemucs
from streamsep.models.checkpoint import save_checkpoint
from streamsep.models.htdemucs import HTDemucs
from tests.test_checkpoint import causal, offline

LIVE = {"live-6": (128, 256), "live-12": (256, 512), "live-23": (512, 1024), "live-93": (1024, 4096)}


@pytest.fixture
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No shipped weights, an empty cache; returns the folder that stands for the shipped weights."""
    monkeypatch.setenv("STREAMSEP_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(registry, "weights_folder", lambda: tmp_path / "weights")
    return tmp_path / "weights"


def pulled(name: str) -> Path:
    path = registry.cache_folder() / "models" / name / f"{name}.safetensors"
    save_checkpoint(offline(), path, {})
    return path


@pytest.mark.parametrize("preset", sorted(LIVE))
@pytest.mark.parametrize("size", ["", "-small"])
def test_live_presets_have_their_announced_latency(preset: str, size: str) -> None:
    info = registry.preset_info(preset + size)
    assert (info.class_name, info.hop, info.latency, info.sample_rate) == ("CausalHTDemucs", *LIVE[preset], 44100)
    assert info.sources == ("drums", "bass", "other", "vocals")
    assert (info.parameters < 3e6) == (size == "-small")


def test_info_counts_what_is_built(empty: Path) -> None:
    model = registry.build_preset("live-23-small")
    info = registry.preset_info("live-23-small")
    assert isinstance(model, CausalHTDemucs)
    assert next(model.parameters()).device.type == "cpu"
    assert info.parameters == sum(value.numel() for value in model.parameters())
    assert info.weights is None


def test_offline_presets_do_not_stream() -> None:
    info = registry.preset_info("htdemucs_6s")
    assert (info.class_name, info.hop, info.latency) == ("HTDemucs", None, None)
    assert info.sources[4:] == ("guitar", "piano")


def test_shipped_weights_come_first_then_pulled(empty: Path) -> None:
    assert registry.find_weights("htdemucs") is None
    where = pulled("htdemucs")
    assert registry.find_weights("htdemucs") == where.parent
    assert isinstance(registry.load_model("htdemucs"), HTDemucs)
    save_checkpoint(causal(), empty / "htdemucs.safetensors", {})
    assert registry.find_weights("htdemucs") == empty / "htdemucs.safetensors"
    assert isinstance(registry.load_model("htdemucs", device="cpu"), CausalHTDemucs)
    assert registry.preset_info("htdemucs").weights == empty / "htdemucs.safetensors"


def test_what_is_loaded_asks_for_no_gradients(empty: Path) -> None:
    """A state that is stepped for an hour would hold the graph of that hour."""
    path = pulled("htdemucs")
    for loaded in (registry.load_model("htdemucs"), registry.load_model(path)):
        assert not any(weight.requires_grad for weight in loaded.parameters())


def test_a_name_wins_over_a_file_of_that_name(empty: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_checkpoint(causal(), empty / "live-6.safetensors", {})
    folder = empty.parent / "live-6"
    save_checkpoint(offline(), folder / "a.safetensors", {})
    monkeypatch.chdir(empty.parent)
    assert isinstance(registry.load_model("live-6"), CausalHTDemucs)
    for path in ("./live-6", Path("live-6"), str(folder), folder / "a.json"):
        assert isinstance(registry.load_model(path), HTDemucs)
    shutil.copytree(folder, "mine")
    assert isinstance(registry.load_model("mine"), HTDemucs)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("htdemucs", "fetch them with: streamsep models pull htdemucs"),
        ("htdemucs_ft", "streamsep models pull htdemucs_ft"),
        ("live-6", r"no weights of the preset live-6 .* has weights"),
        ("live-32-small", r"did you mean .*live-23-small.*streamsep models list"),
        ("zzz", "'zzz'; see: streamsep models list"),
        ("absent.safetensors", "no such file: absent.safetensors"),
        ("some/where", "no such file: some/where"),
        ("", "no model or file ''"),
        ("..", "holds no model"),
        pytest.param("a" * 300, "aaa'; see: streamsep models list", id="longer than a file's name"),
        pytest.param("ä" * 150, "ää'; see: streamsep models list", id="longer in bytes"),
    ],
)
def test_what_cannot_be_loaded_names_the_cure(name: str, message: str, empty: Path) -> None:
    empty.mkdir()
    with pytest.MonkeyPatch.context() as patch, pytest.raises(StreamsepError, match=message) as caught:
        patch.chdir(empty)
        registry.load_model(name)
    assert "\n" not in str(caught.value)


def test_preset_that_does_not_exist() -> None:
    with pytest.raises(StreamsepError, match="did you mean live-6"):
        registry.build_preset("live6")
    with pytest.raises(StreamsepError, match="no preset"):
        registry.build_preset("../models/live-6")


def test_malformed_preset_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "config_folder", lambda kind: tmp_path)
    (tmp_path / "a.yaml").write_text("class: HTDemucs\n")
    with pytest.raises(StreamsepError, match="keys class and config"):
        registry.build_preset("a")
    (tmp_path / "a.yaml").write_text("class: HTDemucs\nconfig: {chanels: 3}\n")
    with pytest.raises(StreamsepError, match="unknown key 'chanels'"):
        registry.build_preset("a")


def test_defaults(empty: Path) -> None:
    assert registry.default_model("stream") == "live-23-small"
    assert registry.default_model("file") == "bidirectional-small"
    assert registry.default_model("streamed file") == "live-23-bag"
    with pytest.raises(StreamsepError, match="streamsep models pull htdemucs"):
        registry.default_model("offline")
    save_checkpoint(offline(), empty / "htdemucs-small.safetensors", {})
    assert registry.default_model("offline") == "htdemucs-small"
    pulled("htdemucs")
    assert registry.default_model("offline") == "htdemucs"


def test_names_have_all_that_can_be_named(empty: Path) -> None:
    assert {"htdemucs", "htdemucs_ft", "live-6"} <= set(registry.model_names())
    save_checkpoint(causal(), empty / "extra.safetensors", {})
    pulled("another")
    assert {"extra", "another"} <= set(registry.model_names())
    assert registry.model_names() == sorted(set(registry.model_names()))


def test_cache_folder_follows_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("STREAMSEP_CACHE", str(tmp_path / "a"))
    assert registry.cache_folder() == tmp_path / "a"
    monkeypatch.delenv("STREAMSEP_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "b"))
    assert registry.cache_folder() == tmp_path / "b" / "streamsep"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert registry.cache_folder() == tmp_path / ".cache" / "streamsep"


def test_building_on_the_meta_device_leaves_the_default_alone() -> None:
    registry.preset_info("live-6-small")
    assert torch.get_default_device().type == "cpu"


@pytest.mark.parametrize(("command", "mode"), [("stream", "stream"), ("live", "stream"), ("separate", "file")])
def test_help_tells_the_model_that_is_taken(
    command: str, mode: Literal["stream", "file"], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main([command, "--help"])
    assert f"(default {registry.default_model(mode)}" in " ".join(capsys.readouterr().out.split())


def test_without_a_home_the_cure_is_told(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("STREAMSEP_CACHE", "~nobody-of-this-name/cache")
    assert main(["models", "list"]) == 1
    assert "set STREAMSEP_CACHE to a folder" in capsys.readouterr().err
