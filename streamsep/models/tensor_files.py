"""Tensors to and from safetensors files: whole writes, strict reads. Knows nothing of models beyond their state."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import safetensors
import torch
from safetensors.torch import save
from torch import Tensor, nn

from streamsep.errors import StreamsepError
from streamsep.interrupts import interrupts_held
from streamsep.models.stored import Bits, narrowed


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read every tensor of a safetensors file, and the text metadata of its header.

    Raises:
        StreamsepError: the file is absent, unreadable, truncated, or no safetensors file.
    """
    with interrupts_held(), _opened(path) as file:  # safetensors would call the file damaged
        return {key: file.get_tensor(key) for key in file.keys()}, dict(file.metadata() or {})  # noqa: SIM118


def read_header(path: Path) -> dict[str, str]:
    """The text metadata of a safetensors file; raises as `read_tensors`."""
    with _opened(path) as file:
        return dict(file.metadata() or {})


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            yield file
    except FileNotFoundError:
        raise StreamsepError(f"no such file: {path}") from None
    except (OSError, safetensors.SafetensorError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise StreamsepError(f"{path} is damaged or no safetensors file ({reason}); fetch or copy it anew") from None


def pack_tensors(model: nn.Module, metadata: Mapping[str, str], bits: Bits = 32) -> bytes:
    """The content of a safetensors file that holds the state of `model`.

    Args:
        metadata: text kept in the file's header.
        bits: of a stored weight; see `narrowed`.

    Raises:
        StreamsepError: a value is not finite, or would not be in so few bits.
    """
    # The clone parts tensors that share memory, which the format refuses.
    state = {
        name: value.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, value in model.state_dict().items()
    }
    _check_finite(state, "go back to an earlier checkpoint")
    tensors = narrowed(state, bits)
    _check_finite(tensors, "store it with bits=32")
    return save(tensors, dict(metadata))


def _check_finite(tensors: Mapping[str, Tensor], cure: str) -> None:
    for name, value in tensors.items():
        if not torch.isfinite(value).all():
            raise StreamsepError(f"the tensor {name!r} holds values that are not finite as {value.dtype}; {cure}")


def fill_model(model: nn.Module, tensors: Mapping[str, Tensor], where: str) -> None:
    """Copy `tensors` into `model`; names and shapes must match one to one. Half precision is widened.

    Raises:
        StreamsepError: missing, unexpected or misshapen tensors, or values that are not finite.
    """
    state = model.state_dict()
    for problem, names in (("lacks", state.keys() - tensors.keys()), ("has unexpected", tensors.keys() - state.keys())):
        if names:
            raise StreamsepError(f"{where} does not fit its configuration: it {problem} {_listed(sorted(names))}")
    for name, target in state.items():
        value = tensors[name]
        if value.shape != target.shape:
            shapes = f"{tuple(value.shape)} instead of {tuple(target.shape)}"
            raise StreamsepError(f"{where} does not fit its configuration: the tensor {name!r} has the shape {shapes}")
        if value.is_floating_point() != target.is_floating_point() or value.is_complex() != target.is_complex():
            raise StreamsepError(f"{where}: the tensor {name!r} is {value.dtype} instead of {target.dtype}")
        if not torch.isfinite(value).all():
            raise StreamsepError(f"{where}: the tensor {name!r} holds values that are not finite; fetch the file anew")
    model.load_state_dict(dict(tensors))


def write_whole(files: Mapping[Path, bytes]) -> None:
    """Write each file under a temporary name beside its place, then rename all: old files or new, never halves.

    Raises:
        StreamsepError: the folder cannot be written to.
    """
    waiting: dict[Path, Path] = {}
    try:
        for path, content in files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            waiting[path] = _write_temporary(path, content)
        for path, temporary in waiting.items():
            os.replace(temporary, path)
    except OSError as error:
        place = next(iter(files)).parent
        raise StreamsepError(f"cannot write into {place}: {error.strerror or error}; choose another folder") from None
    finally:
        for temporary in waiting.values():
            temporary.unlink(missing_ok=True)


def _write_temporary(path: Path, content: bytes) -> Path:
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        # mkstemp makes files that only their owner may read; a checkpoint follows the usual mask.
        mask = os.umask(0)
        os.umask(mask)
        temporary.chmod(0o666 & ~mask)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return temporary


def _listed(names: list[str]) -> str:
    shown = ", ".join(repr(name) for name in names[:3])
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"the tensor{'s' if len(names) > 1 else ''} {shown}{more}"
