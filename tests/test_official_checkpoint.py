"""Official releases load: the hub's safetensors files, `.th` packages, and bags; what is not supported is named."""

from __future__ import annotations

import hashlib
import json
import sys
import types
from collections.abc import Callable, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import save_file
from torch import nn

from streamsep.errors import StreamsepError
from streamsep.models.bag import BagOfModels
from streamsep.models.checkpoint import load_checkpoint
from streamsep.models.htdemucs import HTDemucs
from streamsep.models.official import config_from_official
from tests.reference import TINY, call_reference, noise, reference_model, reference_module, relative_error

KWARGS = {**TINY, "depth": 2, "nfft": 128, "t_layers": 1, "segment": Fraction(1, 2)}


@pytest.fixture
def model() -> HTDemucs:
    torch.manual_seed(0)
    return HTDemucs(config_from_official(**KWARGS)).eval()


def as_json(value: Any) -> str:
    def fraction(item: Fraction) -> dict[str, object]:
        return {"_type": "fraction", "numerator": item.numerator, "denominator": item.denominator}

    return json.dumps(value, default=fraction)


def write_hub_file(path: Path, model: nn.Module, **metadata: str) -> Path:
    """A safetensors file as the official hub repositories hold them, in half precision as the releases are."""
    facts = {"klass": "demucs.htdemucs.HTDemucs", "args": "[]", "kwargs": as_json(KWARGS), **metadata}
    state = {name: value.half() for name, value in model.state_dict().items()}
    save_file(state, path, {key: value for key, value in facts.items() if value})
    return path


def write_th(path: Path, model: nn.Module, name: str = "htdemucs.HTDemucs", **changes: Any) -> Path:
    """A package as the official training code writes it; stand-in modules lend the class its official name."""
    module_name, class_name = f"demucs.{name}".rsplit(".", 1)
    module = types.ModuleType(module_name)
    klass = type(class_name, (), {"__module__": module_name})
    setattr(module, class_name, klass)
    state = {key: value.half() for key, value in model.state_dict().items()}
    package = {"klass": klass, "args": (), "kwargs": KWARGS, "state": state, "training_args": {"lr": 3e-4}, **changes}
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "demucs", types.ModuleType("demucs"))
        patch.setitem(sys.modules, module_name, module)
        torch.save(package, path)
    return path


def assert_same(loaded: nn.Module, model: nn.Module) -> None:
    assert isinstance(loaded, HTDemucs) and loaded.config == config_from_official(**KWARGS)
    assert not loaded.training
    for name, value in model.state_dict().items():
        assert loaded.state_dict()[name].dtype == torch.float32
        assert torch.equal(loaded.state_dict()[name], value.half().float()), name


def test_hub_file(model: HTDemucs, tmp_path: Path) -> None:
    assert_same(load_checkpoint(write_hub_file(tmp_path / "a.safetensors", model)), model)


def test_th_package(model: HTDemucs, tmp_path: Path) -> None:
    assert_same(load_checkpoint(write_th(tmp_path / "a.th", model)), model)
    kwargs = {key: value for key, value in KWARGS.items() if key != "sources"}
    path = write_th(tmp_path / "b.th", model, args=(list(KWARGS["sources"]),), kwargs=kwargs)
    assert_same(load_checkpoint(path), model)


def test_th_checksum_in_the_name(model: HTDemucs, tmp_path: Path) -> None:
    path = write_th(tmp_path / "a.th", model)
    checksum = hashlib.sha256(path.read_bytes()).hexdigest()[:8]
    assert_same(load_checkpoint(path.rename(tmp_path / f"a-{checksum}.th")), model)
    with pytest.raises(StreamsepError, match="checksum"):
        load_checkpoint((tmp_path / f"a-{checksum}.th").rename(tmp_path / "a-00000000.th"))


def test_hub_file_agrees_with_the_reference(model: HTDemucs, tmp_path: Path) -> None:
    path = write_hub_file(tmp_path / "a.safetensors", model)
    theirs: Any = call_reference(reference_module("hf").load_safetensors_model, path)
    ours, mix = load_checkpoint(path), noise((1, 2, 20000))
    assert relative_error(call_reference(ours, mix), call_reference(theirs.eval(), mix)) < 1e-5


def write_with_reference(model: Any, path: Path) -> None:
    states = reference_module("states")
    args, kwargs = model._init_args_kwargs
    state = states.get_state(model, None, half=True)
    states.save_with_checksum({"klass": type(model), "args": args, "kwargs": kwargs, "state": state}, path)


def test_package_written_by_the_reference(tmp_path: Path) -> None:
    states = reference_module("states")
    write_with_reference(reference_model(**KWARGS), tmp_path / "955717e8.th")
    (path,) = tmp_path.glob("955717e8-????????.th")
    ours, mix = load_checkpoint(path), noise((1, 2, 20000))
    theirs: Any = call_reference(states.load_model, path)
    assert relative_error(call_reference(ours, mix), call_reference(theirs.eval(), mix)) < 1e-5


def test_bag_agrees_with_the_reference(model: HTDemucs, tmp_path: Path) -> None:
    for seed, name in enumerate(("f7e0c4bc", "d12395a8")):
        write_with_reference(reference_model(seed, **KWARGS), tmp_path / f"{name}.th")
    weights = [[1.0, 0.0, 0.5, 1.0], [0.0, 1.0, 0.5, 3.0]]
    bag = {"models": ["f7e0c4bc", "d12395a8"], "weights": weights, "segment": 0.25}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(bag))
    repo = reference_module("repo")
    theirs: Any = call_reference(repo.BagOnlyRepo(tmp_path, repo.LocalRepo(tmp_path)).get_model, "mine")
    ours = load_checkpoint(tmp_path)
    assert isinstance(ours, BagOfModels) and ours.weights == theirs.weights
    assert ours.max_length == int(theirs.max_allowed_segment * ours.sample_rate)
    for mine, other in zip(ours.models, theirs.models, strict=True):
        assert mine.state_dict().keys() == other.state_dict().keys()
        assert all(torch.equal(value, mine.state_dict()[name]) for name, value in other.state_dict().items())


def test_bag_of_one_plain_model_is_the_model(model: HTDemucs, tmp_path: Path) -> None:
    write_hub_file(tmp_path / "955717e8.safetensors", model)
    (tmp_path / "955717e8.json").write_text("{}")  # the hub's repositories have a second record beside each file
    (tmp_path / "htdemucs.yaml").write_text("models: ['955717e8']\n")
    assert_same(load_checkpoint(tmp_path / "htdemucs.yaml"), model)


BAD_METADATA: dict[str, tuple[dict[str, str], str]] = {
    "older class": ({"klass": "demucs.hdemucs.HDemucs"}, "class HDemucs; only HTDemucs"),
    "oldest class": ({"klass": "demucs.demucs.Demucs"}, "class Demucs; only HTDemucs"),
    "a function": ({"klass": "os.system"}, "class system; only HTDemucs"),
    "quantised": ({"structure": "{}"}, "quantised"),
    "no arguments": ({"kwargs": ""}, "damaged metadata"),
    "broken json": ({"kwargs": "{"}, "damaged metadata"),
    "fraction of nothing": ({"args": '[{"_type": "fraction", "numerator": 1, "denominator": 0}]'}, "damaged"),
    "a list": ({"kwargs": "[]"}, "malformed constructor arguments"),
    "two positions": ({"args": "[1, 2]"}, "malformed constructor arguments"),
    "no sources": ({"kwargs": "{}"}, "sources"),
    "other positions": ({"kwargs": as_json({**KWARGS, "t_emb": "cape"})}, "t_emb='cape' is not implemented"),
    "unknown": ({"kwargs": as_json({**KWARGS, "colour": 1})}, "colour"),
    "endless segment": (
        {"kwargs": as_json({**KWARGS, "segment": 1}).replace('"segment": 1', '"segment": 1e999')},
        "cannot be used",
    ),
    "other size": ({"kwargs": as_json({**KWARGS, "channels": 16})}, "does not fit its configuration"),
}


@pytest.mark.parametrize("case", BAD_METADATA)
def test_hub_files_that_are_refused(case: str, model: HTDemucs, tmp_path: Path) -> None:
    metadata, message = BAD_METADATA[case]
    path = write_hub_file(tmp_path / "a.safetensors", model, **metadata)
    with pytest.raises(StreamsepError, match=message) as caught:
        load_checkpoint(path)
    assert "\n" not in str(caught.value) and "a.safetensors" in str(caught.value)


BAD_PACKAGES: dict[str, tuple[Mapping[str, Any], str]] = {
    "older class": ({"name": "hdemucs.HDemucs"}, "class HDemucs; only HTDemucs"),
    "oldest class": ({"name": "demucs.Demucs"}, "class Demucs; only HTDemucs"),
    "unknown class": ({"name": "other.Thing"}, "refers to demucs.other.Thing"),
    "no class": ({"klass": None}, "class None; only HTDemucs"),
    "quantised": ({"state": {"__quantized": True, "quantized": []}}, "quantised"),
    "no tensors": ({"state": {"a": [1]}}, "dictionary of tensors"),
    "lacking": ({"state": {"a": torch.ones(1)}}, "does not fit its configuration"),
}


@pytest.mark.parametrize("case", BAD_PACKAGES)
def test_packages_that_are_refused(case: str, model: HTDemucs, tmp_path: Path) -> None:
    changes, message = BAD_PACKAGES[case]
    path = write_th(tmp_path / "a.th", model, **changes)
    with pytest.raises(StreamsepError, match=message) as caught:
        load_checkpoint(path)
    assert "\n" not in str(caught.value) and "a.th" in str(caught.value)


def test_package_without_its_parts(tmp_path: Path) -> None:
    torch.save({"klass": None}, tmp_path / "a.th")
    with pytest.raises(StreamsepError, match="no 'args'"):
        load_checkpoint(tmp_path / "a.th")


BAD_BAGS: dict[str, tuple[str, str]] = {
    "missing member": ("models: [absent]", "model absent is missing"),
    "outside": ("models: ['../a']", "'../a' is not the name of a model"),
    "hidden": ("models: ['..']", "is not the name"),
    "empty": ("models: []", "holds no model"),
    "no models": ("segment: 3", "missing key 'models'"),
    "numbers": ("models: [1]", "expected str"),
    "rows": ("models: [a]\nweights: [[1.0, 1.0, 1.0, 1.0], [1.0, 1.0, 1.0, 1.0]]", "2 rows of weights for 1 models"),
    "columns": ("models: [a]\nweights: [[1.0]]", "weights"),
    "no segment": ("models: [a]\nsegment: 0", "bag.yaml: segment must be a number of seconds above 0, not 0.0"),
    "negative segment": ("models: [a]\nsegment: -1.0", "above 0, not -1.0"),
    "endless segment": ("models: [a]\nsegment: .inf", "above 0, not inf"),
    "segment of no number": ("models: [a]\nsegment: .nan", "above 0, not nan"),
    "segment of no sample": ("models: [a]\nsegment: 1.0e-9", "at least one sample long, not 1e-09 s"),
    "weight of no number": ("models: [a]\nweights: [[1.0, .nan, 1.0, 1.0]]", "bag.yaml: weights must be finite"),
    "endless weight": ("models: [a]\nweights: [[1.0, -.inf, 1.0, 1.0]]", "bag.yaml: weights must be finite"),
    "unknown key": ("models: [a]\ncolour: 3", "unknown key 'colour'"),
    "code": ("models: !!python/object/apply:os.getcwd []", "not valid YAML"),
    "a preset": ("class: HTDemucs\nconfig: {}", "without weights"),
}


@pytest.mark.parametrize("case", BAD_BAGS)
def test_bags_that_are_refused(case: str, model: HTDemucs, tmp_path: Path) -> None:
    write_hub_file(tmp_path / "a.safetensors", model)
    text, message = BAD_BAGS[case]
    (tmp_path / "bag.yaml").write_text(text)
    with pytest.raises(StreamsepError, match=message):
        load_checkpoint(tmp_path / "bag.yaml")


def test_bags_built_by_hand_are_checked(model: HTDemucs) -> None:
    with pytest.raises(StreamsepError, match=r"at least one sample long, not 0\.0 s"):
        BagOfModels([model], segment=0.0)
    with pytest.raises(StreamsepError, match="must be finite numbers"):
        BagOfModels([model], [[float("nan")] * 4])


@pytest.mark.parametrize("write", [write_hub_file, write_th])
def test_broken_downloads_are_one_sentence(
    write: Callable[[Path, nn.Module], Path], model: HTDemucs, tmp_path: Path
) -> None:
    path = write(tmp_path / ("a.th" if write is write_th else "a.safetensors"), model)
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(StreamsepError, match="anew"):
        load_checkpoint(path)
