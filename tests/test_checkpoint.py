"""Our own checkpoint format: what is saved comes back, and anything else is one sentence."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from streamsep.errors import StreamsepError
from streamsep.models.bidirectional import Bidirectional, BidirectionalConfig
from streamsep.models.causal_bag import CausalBag, CausalBagConfig
from streamsep.models.causal_config import BranchConfig, CausalConfig, TransformerConfig
from streamsep.models.causal_htdemucs import CausalHTDemucs
from streamsep.models.checkpoint import FORMAT, find_model_file, load_checkpoint, read_record, save_checkpoint
from streamsep.models.htdemucs import HTDemucs, HTDemucsConfig

OFFLINE = HTDemucsConfig(
    sources=("low", "high"), channels=4, depth=2, nfft=128, bottom_channels=8, layers=1, heads=2,
    dconv_compress=4, segment=0.1,
)  # fmt: skip
CAUSAL = CausalConfig(
    hop=16,
    window=64,
    waveform=BranchConfig((4, 8), (4, 4), 1),
    spectrogram=BranchConfig((4, 8), (4, 4), 1),
    transformer=TransformerConfig(dim=8, heads=2, layers=1, context=0.01),
)


def causal() -> nn.Module:
    torch.manual_seed(0)
    model = CausalHTDemucs(CAUSAL).eval()
    for value in model.parameters():
        nn.init.normal_(value, std=0.2)  # as it starts, the model's outputs do not depend on most of its weights
    return model


def offline() -> nn.Module:
    torch.manual_seed(0)
    return HTDemucs(OFFLINE).eval()


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "model.safetensors"
    save_checkpoint(causal(), path, {"training": {"songs": 3}, "licence": "CC0"})
    return path


def outputs(model: nn.Module) -> Tensor:
    torch.manual_seed(1)
    with torch.no_grad():
        result = model(torch.randn(1, 2, 4096))
    assert isinstance(result, Tensor)
    return result


@pytest.mark.parametrize("make", [causal, offline])
def test_round_trip(make: Callable[[], nn.Module], tmp_path: Path) -> None:
    model, path = make(), tmp_path / "sub" / "a.safetensors"
    save_checkpoint(model, path, {})
    again = load_checkpoint(path)
    assert type(again) is type(model) and again.config == model.config
    assert not again.training
    assert torch.equal(outputs(again), outputs(model))
    assert sorted(item.name for item in path.parent.iterdir()) == ["a.json", "a.safetensors"]


def test_record_tells_what_was_saved(saved: Path) -> None:
    record = read_record(saved)
    assert record["format"] == FORMAT and record["class"] == "CausalHTDemucs"
    assert record["sources"] == ["drums", "bass", "other", "vocals"] and record["sample_rate"] == 44100
    assert record["config"]["hop"] == 16
    assert record["training"] == {"songs": 3} and record["licence"] == "CC0"


def test_half_precision_is_stored_small_and_loaded_as_float32(saved: Path, tmp_path: Path) -> None:
    small = tmp_path / "small.safetensors"
    save_checkpoint(causal(), small, {}, bits=16)
    assert small.stat().st_size < 0.75 * saved.stat().st_size  # the rest is the header
    model = load_checkpoint(small)
    assert {value.dtype for value in model.parameters()} == {torch.float32}
    difference = outputs(model) - outputs(causal())
    assert 0 < difference.abs().max() < 1e-2


def test_half_precision_refuses_weights_beyond_its_range(tmp_path: Path) -> None:
    model = causal()
    next(model.parameters()).data.flatten()[0] = 1e6
    with pytest.raises(StreamsepError, match="bits=32"):
        save_checkpoint(model, tmp_path / "a.safetensors", {}, bits=16)
    assert not list(tmp_path.iterdir())


def test_failed_save_leaves_the_old_checkpoint(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = {path.name: path.read_bytes() for path in saved.parent.iterdir()}

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StreamsepError, match="No space left"):
        save_checkpoint(offline(), saved, {})
    assert {path.name: path.read_bytes() for path in saved.parent.iterdir()} == before


def test_save_refuses_bad_places_and_records(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StreamsepError, match="cannot write"):
        save_checkpoint(causal(), tmp_path / "file" / "a.safetensors", {})
    with pytest.raises(StreamsepError, match=r"end in \.safetensors"):
        save_checkpoint(causal(), tmp_path / "a.pt", {})
    with pytest.raises(ValueError, match="config"):
        save_checkpoint(causal(), tmp_path / "a.safetensors", {"config": {}})


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_record_that_other_programs_could_not_read_is_not_written(value: float, saved: Path) -> None:
    """JSON knows no such numbers."""
    before = {path.name: path.read_bytes() for path in saved.parent.iterdir()}
    with pytest.raises(ValueError, match="JSON compliant"):
        save_checkpoint(causal(), saved, {"training": {"validation": value}})
    assert {path.name: path.read_bytes() for path in saved.parent.iterdir()} == before


def edit_record(path: Path, **changes: Any) -> None:
    record = json.loads(path.with_suffix(".json").read_text())
    record.update(changes)
    path.with_suffix(".json").write_text(json.dumps(record))


def edit_tensors(path: Path, change: Callable[[dict[str, Tensor]], object]) -> None:
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path, {"format": FORMAT})
    edit_record(path, weights_sha256=None)


def first(tensors: dict[str, Tensor]) -> str:
    return next(name for name in sorted(tensors) if tensors[name].is_floating_point() and tensors[name].dim() > 1)


def set_first(tensors: dict[str, Tensor], change: Callable[[Tensor], Tensor]) -> None:
    tensors[first(tensors)] = change(tensors[first(tensors)])


FAULTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "truncated": (lambda path: path.write_bytes(path.read_bytes()[:-100]), "damaged"),
    "truncated in the header": (lambda path: path.write_bytes(path.read_bytes()[:50]), "damaged"),
    "garbage": (lambda path: path.write_bytes(bytes(range(256)) * 9), "damaged"),
    "empty": (lambda path: path.write_bytes(b""), "damaged"),
    "absent": (lambda path: path.unlink(), "no such file"),
    "no json": (lambda path: path.with_suffix(".json").unlink(), "no such file"),
    "json garbage": (lambda path: path.with_suffix(".json").write_text("{"), "damaged"),
    "json of another kind": (lambda path: path.with_suffix(".json").write_text("[]"), "not of the format"),
    "newer format": (lambda path: edit_record(path, format="streamsep/2"), "update streamsep"),
    "unknown class": (lambda path: edit_record(path, **{"class": "os.system"}), "class 'os.system'"),
    "class of another type": (lambda path: edit_record(path, **{"class": ["x"]}), "model class"),
    "unknown key": (lambda path: edit_record(path, config={"colour": 1}), "unknown key 'colour'"),
    "no config": (lambda path: edit_record(path, config=None), "expected a mapping"),
    "other sources": (lambda path: edit_record(path, sources=["a"]), "contradicts itself about sources"),
    "another save's weights": (lambda path: edit_record(path, weights_sha256="0" * 64), "same save"),
    "missing": (lambda path: edit_tensors(path, lambda t: t.pop(first(t))), "lacks the tensor "),
    "unexpected": (lambda path: edit_tensors(path, lambda t: t.update(x=torch.ones(1))), "unexpected the tensor 'x'"),
    "shape": (lambda path: edit_tensors(path, lambda t: set_first(t, lambda v: v[:1, :1])), "has the shape"),
    "not finite": (lambda path: edit_tensors(path, lambda t: set_first(t, lambda v: v * torch.nan)), "not finite"),
    "integers": (lambda path: edit_tensors(path, lambda t: set_first(t, lambda v: v.int())), "int32 instead of"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_are_one_sentence(fault: str, saved: Path) -> None:
    load_checkpoint(saved)
    damage, message = FAULTS[fault]
    damage(saved)
    with pytest.raises(StreamsepError, match=message) as caught:
        load_checkpoint(saved)
    assert "\n" not in str(caught.value) and saved.stem in str(caught.value)


@pytest.mark.parametrize("fact", [{"sources": ["a", "b"]}, {"sample_rate": 48000}])
@pytest.mark.parametrize("kind", ["bag", "bidirectional"])
def test_models_of_several_do_not_contradict_themselves_either(kind: str, fact: dict[str, Any], tmp_path: Path) -> None:
    bag, both = CausalBagConfig((CAUSAL,)), BidirectionalConfig(CAUSAL, CAUSAL)
    save_checkpoint(CausalBag(bag) if kind == "bag" else Bidirectional(both), tmp_path / "a.safetensors", {})
    load_checkpoint(tmp_path / "a.safetensors")
    edit_record(tmp_path / "a.safetensors", **fact)
    with pytest.raises(StreamsepError, match=f"contradicts itself about {next(iter(fact))}"):
        load_checkpoint(tmp_path / "a.safetensors")


def test_config_of_another_size_is_refused(saved: Path) -> None:
    config = read_record(saved)["config"]
    config["transformer"]["layers"] = 2
    edit_record(saved, config=config)
    with pytest.raises(StreamsepError, match=r"does not fit its configuration: it lacks the tensors .* more"):
        load_checkpoint(saved)


def test_path_may_be_json_or_folder(saved: Path) -> None:
    for path in (saved, saved.with_suffix(".json"), saved.parent, str(saved)):
        assert isinstance(load_checkpoint(path), CausalHTDemucs)


def test_loading_draws_no_random_numbers(saved: Path) -> None:
    before = torch.get_rng_state()
    load_checkpoint(saved)
    assert torch.equal(torch.get_rng_state(), before)


def test_folders_that_name_no_single_model(saved: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(StreamsepError, match="holds no model"):
        find_model_file(tmp_path / "empty")
    save_checkpoint(causal(), saved.with_name("other.safetensors"), {})
    with pytest.raises(StreamsepError, match="more than one model"):
        find_model_file(saved.parent)
    (tmp_path / "song.wav").write_bytes(b"RIFF")
    with pytest.raises(StreamsepError, match="no model file"):
        find_model_file(tmp_path / "song.wav")


def test_unusable_device_is_one_sentence(saved: Path) -> None:
    assert {value.device.type for value in load_checkpoint(saved, "cpu").parameters()} == {"cpu"}
    for device in ("nonsense", "cuda:99"):
        with pytest.raises(StreamsepError, match=f"device {device} cannot be used"):
            load_checkpoint(saved, device)


def _set(config: dict[str, Any], path: str, value: Any) -> None:
    *parents, last = path.split(".")
    for key in parents:
        config = config[key]
    config[last] = value


@pytest.mark.parametrize(
    ("path", "value"),
    [
        *(("sources", value) for value in ([], ["a", "a", "b", "c"], ["../x", "b"], ["", "b"], ["a/b"], ["\u00e4"])),
        *(("hop", 0), ("window", -64), ("lookahead", -1), ("sample_rate", 0), ("level_seconds", 0.0)),
        *(("level_seconds", float("nan")), ("audio_channels", 0), ("compression", 0.0)),
        *(("transformer.heads", 0), ("transformer.dim", 0), ("transformer.dim", 1 << 20), ("transformer.layers", -1)),
        *(("transformer.context", 1e9), ("transformer.context", float("inf")), ("transformer.expansion", -1.0)),
        *(("waveform.dconv_compress", 0), ("waveform.channels", [0, 8]), ("waveform.strides", [-4, -4])),
        *(("waveform.channels", []), ("spectrogram.strides", [0, 4]), ("spectrogram.dconv_depth", -1)),
    ],
)
def test_absurd_numbers_are_one_sentence(saved: Path, path: str, value: Any) -> None:
    record = read_record(saved)
    _set(record["config"], path, value)
    edit_record(saved, config=record["config"], sources=record["config"]["sources"])
    with pytest.raises(StreamsepError, match=r"model\.json") as caught:
        load_checkpoint(saved)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "changes",
    [
        *({"sources": value} for value in ((), ("a", "A"), ("a/b",), ("",))),
        *({"heads": 0}, {"sample_rate": 0}, {"segment": float("nan")}, {"segment": float("inf")}, {"depth": 100}),
        *({"channels": 1 << 20}, {"nfft": 0}, {"hidden_scale": -1.0}, {"dconv_compress": 0}, {"bottom_channels": -8}),
    ],
)
def test_an_offline_configuration_has_bounds(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"."):
        dataclasses.replace(OFFLINE, **changes)
