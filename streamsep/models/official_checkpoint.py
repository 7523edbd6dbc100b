"""Official releases: the hub's safetensors files, the older `.th` packages, and bags of models in YAML.

Facts about the formats, from the reference package (demucs 4.1.0, `hf.py`, `repo.py`, `states.py`):

- NAME.safetensors keeps the class's import path and, as JSON, the arguments of its constructor in the header's
  metadata (`klass`, `args`, `kwargs`); fractions are `{"_type": "fraction", "numerator": n, "denominator": d}`.
  Quantised models have a further key `structure`.
- SIGNATURE-CHECKSUM.th is a dictionary of `klass`, `args`, `kwargs` and `state` written by `torch.save`; the checksum
  is the beginning of the file's SHA-256. Quantised states hold the key `__quantized`.
- NAME.yaml is a bag: `models` (signatures of files beside it), optional `weights` (one row a model, one column a
  source) and `segment` in seconds.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from streamsep.config import from_dict, read_yaml
from streamsep.errors import StreamsepError
from streamsep.models.restricted_pickle import QUANTISED, Named, read_package
from streamsep.models.tensor_files import fill_model

CLASS = "demucs.htdemucs.HTDemucs"
# A signature becomes a file name, so it must not be able to leave the folder.
_SIGNATURE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
_CHECKSUM = re.compile(r"[0-9a-f]{8,64}")


@dataclass(frozen=True)
class Bag:
    """A bag of models as its YAML file describes it."""

    models: list[str]
    weights: list[list[float]] | None = None
    segment: float | None = None

    def __post_init__(self) -> None:
        if self.segment is not None and not 0 < self.segment < math.inf:
            raise ValueError(f"segment must be a number of seconds above 0, not {self.segment}; correct it")
        if not all(math.isfinite(weight) for row in self.weights or [] for weight in row):
            raise ValueError("weights must be finite numbers; correct them")


def load_official_tensors(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str]) -> nn.Module:
    """Build the model of an official safetensors file from its tensors and header metadata.

    Raises:
        StreamsepError: quantised, of a class that is not implemented, or not fitting its own arguments.
    """
    if "structure" in metadata:
        raise StreamsepError(f"{path}: {QUANTISED}")
    try:
        args, kwargs = (_decode(json.loads(metadata[key])) for key in ("args", "kwargs"))
    except (KeyError, TypeError, ValueError, ZeroDivisionError) as error:
        raise StreamsepError(f"{path} has damaged metadata ({error!r}); fetch it anew") from None
    return _build(path, metadata["klass"], args, kwargs, tensors)


def load_th(path: Path) -> nn.Module:
    """Build the model of an official `.th` package; nothing that the file asks for is run.

    Raises:
        StreamsepError: damaged, checksum in the name not met, quantised, a class that is not implemented, or a
            package that refers to anything unexpected.
    """
    _verify_checksum(path)
    package = read_package(path)
    try:
        klass, args, kwargs, state = (package[key] for key in ("klass", "args", "kwargs", "state"))
    except KeyError as error:
        raise StreamsepError(f"{path} is no model package: it has no {error}") from None
    if isinstance(state, dict) and state.get("__quantized"):
        raise StreamsepError(f"{path}: {QUANTISED}")
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise StreamsepError(f"{path} is no model package: its state is not a dictionary of tensors")
    return _build(path, klass.name if isinstance(klass, Named) else klass, args, kwargs, state)


def read_bag(path: Path) -> Bag:
    """Read and check the YAML file of a bag.

    Raises:
        StreamsepError: not a bag, a malformed signature, a segment or weights that are none, or rows of weights that
            do not match the models.
    """
    data = read_yaml(path)
    if "class" in data:
        raise StreamsepError(f"{path} describes a model without weights; give the path of a checkpoint instead")
    bag = from_dict(Bag, data, str(path))
    if not bag.models:
        raise StreamsepError(f"{path}: the bag holds no model")
    for signature in bag.models:
        if not _SIGNATURE.fullmatch(signature):
            raise StreamsepError(f"{path}: {signature!r} is not the name of a model")
    if bag.weights is not None and len(bag.weights) != len(bag.models):
        raise StreamsepError(f"{path}: {len(bag.weights)} rows of weights for {len(bag.models)} models")
    return bag


def find_bag_member(folder: Path, signature: str) -> Path:
    """The file of one model of a bag: SIGNATURE.safetensors, SIGNATURE.th or SIGNATURE-CHECKSUM.th."""
    found = [folder / f"{signature}.safetensors", folder / f"{signature}.th", *folder.glob(f"{signature}-*.th")]
    for path in found:
        if path.is_file():
            return path
    raise StreamsepError(f"the bag's model {signature} is missing from {folder}; copy {signature}.safetensors there")


def _build(path: Path, klass: Any, args: Any, kwargs: Any, state: dict[str, Tensor]) -> nn.Module:
    if klass != CLASS:
        name = klass.rpartition(".")[2] if isinstance(klass, str) else repr(klass)
        raise StreamsepError(f"{path} holds a model of the class {name}; only HTDemucs is supported")
    if not isinstance(kwargs, dict) or not isinstance(args, (list, tuple)) or len(args) > 1:
        raise StreamsepError(f"{path} has malformed constructor arguments; fetch it anew")
    if args:
        kwargs = {"sources": args[0], **kwargs}  # the first parameter of the official constructor
    from streamsep.models.htdemucs import HTDemucs
    from streamsep.models.official import config_from_official

    try:
        model = HTDemucs(config_from_official(**kwargs))
    except (StreamsepError, ValueError, TypeError, RuntimeError, ZeroDivisionError) as error:
        raise StreamsepError(f"{path}: {error}") from None
    fill_model(model, state, str(path))
    return model


def _decode(value: Any) -> Any:
    if isinstance(value, dict):
        if value.get("_type") == "fraction":
            return Fraction(value["numerator"], value["denominator"])
        return {key: _decode(item) for key, item in value.items()}
    return [_decode(item) for item in value] if isinstance(value, list) else value


def _verify_checksum(path: Path) -> None:
    _, dash, checksum = path.stem.rpartition("-")
    if dash and _CHECKSUM.fullmatch(checksum) and path.is_file():
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if not digest.startswith(checksum):
            raise StreamsepError(f"{path} does not have the checksum that its name announces; fetch it anew")
