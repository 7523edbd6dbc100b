"""Reads the dictionary in an official `.th` package without running anything that the file asks for.

A `.th` package is a zip archive written by `torch.save`: one pickle, and one raw entry for each tensor storage.
`torch.load(weights_only=True)` with inert stand-ins would read it too, but its table knows a hundred names and any
library of the process may add more (`torch.serialization.add_safe_globals`). The table here is closed and holds
exactly the names that published packages refer to. Every name becomes an inert stand-in, so a pickle can neither call
nor alter a real class, and an error tells what was refused.
"""

from __future__ import annotations

import codecs
import math
import pickle
import re
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from fractions import Fraction
from io import BytesIO
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from streamsep.errors import StreamsepError

QUANTISED = "its weights are quantised (diffq), which is not supported; use the release that is not quantised"
PICKLE_LIMIT = 64 * 2**20  # bytes; the pickles of published packages stay below 1 MiB
_FRACTION = re.compile(r"-?\d{1,18}(/\d{1,18})?")


class Named:
    """Stands for a class that the file names: it can be recognised, and neither called nor changed."""

    __slots__ = ("name",)
    name: str

    def __init__(self, name: str) -> None:
        object.__setattr__(self, "name", name)

    def __setattr__(self, key: str, value: object) -> None:
        raise pickle.UnpicklingError(f"it tries to change {self.name}")

    def __setstate__(self, state: object) -> None:
        raise pickle.UnpicklingError(f"it tries to change {self.name}")


class Maker(Named):
    """Stands for a function that the file may call; the work is done by a checked replacement."""

    __slots__ = ("make",)
    make: Callable[..., Any]

    def __init__(self, name: str, make: Callable[..., Any]) -> None:
        super().__init__(name)
        object.__setattr__(self, "make", make)

    def __call__(self, *args: Any) -> Any:
        return self.make(*args)


class Inert:
    """Takes the place of numpy's dtypes and scalars (old training figures); swallows whatever it is given."""

    __slots__ = ()

    def __setstate__(self, state: object) -> None:
        pass


def read_package(path: Path) -> dict[str, Any]:
    """Read the dictionary that `torch.save` wrote to `path`.

    Returns:
        Plain data, CPU tensors, and `Named` stand-ins where the package refers to a class.

    Raises:
        StreamsepError: the file is absent, damaged, in the layout from before torch 1.6, or refers to a name that no
            official package needs; nothing of the file has been run then.
    """
    if not path.is_file():
        raise StreamsepError(f"no such file: {path}")
    if not zipfile.is_zipfile(path):
        raise StreamsepError(
            f"{path} is not in the zip layout that torch.save writes since version 1.6 (or was not downloaded whole); "
            "fetch it anew, or save it anew with the program that wrote it"
        )
    try:
        with zipfile.ZipFile(path) as archive:
            package = _PackageReader(archive).load()
    except StreamsepError as error:
        raise StreamsepError(f"{path}: {error}") from None
    except Exception as error:  # a broken pickle may raise nearly anything
        raise StreamsepError(f"{path} is damaged or no model package ({error}); fetch it anew") from None
    if not isinstance(package, dict):
        raise StreamsepError(f"{path} holds no model package (a {type(package).__name__} instead of a dictionary)")
    return package


# The pure-Python reader: its memo is a dictionary, so a pickle cannot claim gigabytes with one opcode.
class _PackageReader(pickle._Unpickler):
    def __init__(self, archive: zipfile.ZipFile) -> None:
        entries = [name for name in archive.namelist() if name.endswith("/data.pkl")]
        if len(entries) != 1:
            raise pickle.UnpicklingError(f"{len(entries)} pickles in the archive instead of one")
        self._archive = archive
        self._root = entries[0].removesuffix("data.pkl")
        self._storages: dict[str, Tensor] = {}
        if f"{self._root}byteorder" in archive.namelist() and self._read("byteorder", 16) != b"little":
            raise StreamsepError("it was written on a big-endian machine; save it anew on a little-endian one")
        super().__init__(BytesIO(self._read("data.pkl", PICKLE_LIMIT)))

    def find_class(self, module: str, name: str) -> Any:
        full_name = f"{module}.{name}"
        if module.split(".")[0] == "diffq":
            raise StreamsepError(QUANTISED)
        if full_name not in _KNOWN:
            raise StreamsepError(f"refused, because it refers to {full_name}, which no official model package needs")
        return _KNOWN[full_name]

    def get_extension(self, code: int) -> Any:
        # The process-wide table of extension codes may hold real classes.
        raise pickle.UnpicklingError(f"extension code {code}")

    def persistent_load(self, pid: Any) -> Tensor:
        kind, storage, key, _device, length = pid
        dtype = _STORAGES.get(storage.name) if isinstance(storage, Named) else None
        if kind != "storage" or dtype is None or not isinstance(key, str):
            raise pickle.UnpicklingError("an unknown kind of tensor storage")
        if key not in self._storages:
            size = _count(length) * dtype.itemsize
            raw = self._read(f"data/{key}", size)
            if len(raw) != size:
                raise pickle.UnpicklingError(f"storage {key} has {len(raw)} bytes instead of {size}")
            self._storages[key] = torch.frombuffer(bytearray(raw), dtype=dtype) if size else torch.empty(0, dtype=dtype)
        if self._storages[key].dtype != dtype:
            raise pickle.UnpicklingError(f"storage {key} is used as two types")
        return self._storages[key]

    def _read(self, name: str, limit: int) -> bytes:
        entry = self._archive.getinfo(self._root + name)
        # torch.save never compresses; a compressed entry could unfold into any size.
        if entry.compress_type != zipfile.ZIP_STORED or entry.file_size > limit:
            raise pickle.UnpicklingError(f"the entry {name} is compressed or larger than announced")
        return self._archive.read(entry)


def _count(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise pickle.UnpicklingError("a size that is no natural number")
    return value


def _tensor(storage: object, offset: object, size: Any, stride: Any, *_unused: object) -> Tensor:
    """`torch._utils._rebuild_tensor_v2`, with every index checked to lie inside the storage."""
    if not isinstance(storage, Tensor) or storage.dim() != 1:
        raise pickle.UnpicklingError("a tensor without storage")
    shape, strides, start = [_count(n) for n in size], [_count(n) for n in stride], _count(offset)
    if len(shape) != len(strides) or math.prod(shape) > storage.numel():
        raise pickle.UnpicklingError("a tensor larger than its storage")
    last = start + sum((n - 1) * step for n, step in zip(shape, strides, strict=True))
    if math.prod(shape) and last >= storage.numel():
        raise pickle.UnpicklingError("a tensor that reaches outside its storage")
    return storage.as_strided(shape, strides, start if math.prod(shape) else 0)


def _fraction(*args: object) -> Fraction:
    """`fractions.Fraction` of its text (Python up to 3.11) or of two integers; no exponents, which could be huge."""
    if len(args) == 1 and isinstance(args[0], str) and _FRACTION.fullmatch(args[0]):
        return Fraction(args[0])
    if len(args) == 2 and isinstance(args[0], int) and isinstance(args[1], int):
        return Fraction(args[0], args[1])
    raise pickle.UnpicklingError("a malformed fraction")


def _encode(text: object, encoding: object) -> bytes:
    """`_codecs.encode` as pickle protocol 2 uses it for bytes."""
    if not isinstance(text, str) or encoding != "latin1":
        raise pickle.UnpicklingError("malformed bytes")
    return codecs.encode(text, "latin1")


def _inert(*_args: object) -> Inert:
    return Inert()


_STORAGES = {
    "torch.FloatStorage": torch.float32,
    "torch.HalfStorage": torch.float16,
    "torch.BFloat16Storage": torch.bfloat16,
    "torch.DoubleStorage": torch.float64,
    "torch.LongStorage": torch.int64,
    "torch.IntStorage": torch.int32,
    "torch.BoolStorage": torch.bool,
}
_CLASSES = ("demucs.htdemucs.HTDemucs", "demucs.hdemucs.HDemucs", "demucs.demucs.Demucs")
_MAKERS: dict[str, Callable[..., Any]] = {
    "collections.OrderedDict": OrderedDict,
    "fractions.Fraction": _fraction,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "_codecs.encode": _encode,
    "numpy.dtype": _inert,
    "numpy.core.multiarray.scalar": _inert,
    "numpy._core.multiarray.scalar": _inert,
}
_KNOWN: dict[str, Named] = {name: Named(name) for name in (*_CLASSES, *_STORAGES)}
_KNOWN.update({name: Maker(name, make) for name, make in _MAKERS.items()})
