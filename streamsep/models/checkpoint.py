"""Checkpoints on disk: our own format (safetensors + JSON), and one door to every format that can be loaded.

NAME.safetensors holds the tensors, in the precision that `models/stored.py` tells of. NAME.json beside it holds what is
needed to build the model and what is worth knowing of it: format, class, config, sources, sample_rate, training record,
licence, and the SHA-256 of the weights, so that files from two different saves are never taken for a pair.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from streamsep.config import to_dict
from streamsep.errors import StreamsepError
from streamsep.models.model_classes import build_model
from streamsep.models.official_checkpoint import find_bag_member, load_official_tensors, load_th, read_bag
from streamsep.models.stored import Bits, widened
from streamsep.models.tensor_files import fill_model, pack_tensors, read_tensors, write_whole

FORMAT = "streamsep/1"
# keys of the JSON that the format keeps for itself
RESERVED = {"format", "class", "config", "sources", "sample_rate", "weights_sha256"}


def save_checkpoint(model: nn.Module, path: str | Path, record: Mapping[str, Any], *, bits: Bits = 32) -> None:
    """Write `path` (NAME.safetensors) and NAME.json beside it, each whole or not at all.

    Args:
        model: a model of a class in `model_classes`, with the attributes `config`, `sources` and `sample_rate`.
        record: what else the JSON tells, as plain data: `training`, `licence`, and whatever more is useful.
        bits: of a stored weight, 32, 16 or 8 (`models/stored.py`); they are loaded as float32.

    Raises:
        StreamsepError: the path does not end in .safetensors, cannot be written, or a weight is not finite.
        ValueError: `record` has a key that the format keeps for itself.
    """
    path = Path(path)
    if path.suffix != ".safetensors":
        raise StreamsepError(f"a checkpoint's name must end in .safetensors, not {path.name!r}")
    if taken := RESERVED & record.keys():
        raise ValueError(f"the record must not have the keys {sorted(taken)}")
    weights = pack_tensors(model, {"format": FORMAT}, bits)
    facts = {
        "format": FORMAT,
        "class": type(model).__name__,
        "config": to_dict(model.config),
        "sources": list(model.sources),  # type: ignore[arg-type]
        "sample_rate": model.sample_rate,
        "training": {},
        "licence": "not stated",
        **record,
        "weights_sha256": hashlib.sha256(weights).hexdigest(),
    }
    text = json.dumps(facts, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    write_whole({path: weights, path.with_suffix(".json"): text.encode()})


def load_checkpoint(path: str | Path, device: torch.device | str | None = None) -> nn.Module:
    """Load a model for inference from any supported file.

    Args:
        path: our NAME.safetensors or NAME.json, an official .safetensors, .th or bag .yaml, or a folder with one.
        device: where the weights go; the CPU if none is given.

    Returns:
        The model in float32 and in evaluation mode. A bag of one plain model is that model.

    Raises:
        StreamsepError: one sentence on what is wrong with the file or the device.
    """
    path = find_model_file(Path(path))
    with torch.random.fork_rng(devices=[]):  # building draws random weights; the caller's numbers stay as they were
        model = _load_bag(path) if path.suffix in (".yaml", ".yml") else _load_single(path)
    model.eval()
    try:
        return model.to(device) if device is not None else model
    except (RuntimeError, AssertionError) as error:
        reason = str(error).strip().splitlines()[0]
        raise StreamsepError(f"the device {device} cannot be used ({reason}); choose another, such as cpu") from None


def read_record(path: str | Path) -> dict[str, Any]:
    """The content of our NAME.json, given the path of it or of the weights.

    Raises:
        StreamsepError: absent, unreadable, or of another or newer format.
    """
    path = Path(path).with_suffix(".json")
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise StreamsepError(f"no such file: {path}, which a checkpoint needs beside its weights") from None
    except (OSError, ValueError, RecursionError) as error:
        raise StreamsepError(f"{path} is damaged ({error}); fetch or copy it anew") from None
    if not isinstance(record, dict) or record.get("format") != FORMAT:
        found = record.get("format") if isinstance(record, dict) else None
        raise StreamsepError(f"{path} is not of the format {FORMAT} (but {found!r}); update streamsep or fetch it anew")
    return record


def joined_licence(records: Iterable[Mapping[str, Any]]) -> str:
    """The licence of weights that come of several, by their records."""
    return " and ".join(sorted({record["licence"] for record in records}))


def find_model_file(path: Path) -> Path:
    """The one model file that `path` means: itself, the weights beside a JSON, or the one model in a folder.

    Raises:
        StreamsepError: nothing there, no model in the folder, more than one, or an unknown ending.
    """
    if path.is_dir():
        return _find_in_folder(path)
    if path.suffix == ".json":
        path = path.with_suffix(".safetensors")
    if not path.is_file():
        raise StreamsepError(f"no such file: {path}")
    if path.suffix not in (".safetensors", ".th", ".yaml", ".yml"):
        raise StreamsepError(f"{path} is no model file; known endings are .safetensors, .json, .th and .yaml")
    return path


def _find_in_folder(folder: Path) -> Path:
    for pattern in ("*.yaml", "*.safetensors", "*.th"):
        found = sorted(folder.glob(pattern))
        if len(found) > 1:
            names = ", ".join(item.name for item in found)
            raise StreamsepError(f"the folder {folder} holds more than one model ({names}); give the path of one")
        if found:
            return found[0]
    raise StreamsepError(f"the folder {folder} holds no model (.yaml, .safetensors or .th)")


def _load_single(path: Path) -> nn.Module:
    if path.suffix == ".th":
        return load_th(path)
    tensors, metadata = read_tensors(path)
    if "klass" in metadata:
        return load_official_tensors(path, tensors, metadata)
    record = read_record(path)
    expected = record.get("weights_sha256")
    if expected is not None and hashlib.sha256(path.read_bytes()).hexdigest() != expected:
        raise StreamsepError(f"{path} and the .json beside it are not from the same save; copy both files anew")
    model = build_model(record.get("class"), record.get("config"), str(path.with_suffix(".json")))
    for key, built in {"sources": list(model.sources), "sample_rate": model.sample_rate}.items():  # type: ignore[arg-type]
        if record.get(key, built) != built:
            raise StreamsepError(f"{path.with_suffix('.json')} contradicts itself about {key}; fetch or copy it anew")
    fill_model(model, widened(tensors), str(path))
    return model


def _load_bag(path: Path) -> nn.Module:
    bag = read_bag(path)
    models = [_load_single(find_bag_member(path.parent, signature)) for signature in bag.models]
    if len(models) == 1 and bag.weights is None and bag.segment is None:
        return models[0]
    from streamsep.models.bag import BagOfModels
    from streamsep.models.htdemucs import HTDemucs

    members = [model for model in models if isinstance(model, HTDemucs)]
    if len(members) < len(models):
        raise StreamsepError(f"{path}: a bag can only hold models of the class HTDemucs")
    try:
        return BagOfModels(members, bag.weights, bag.segment)
    except (StreamsepError, ValueError) as error:
        raise StreamsepError(f"{path}: {error}") from None
