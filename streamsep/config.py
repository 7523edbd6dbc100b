"""Strict configuration: YAML -> frozen dataclasses; an unknown key is an error that names the key."""

from __future__ import annotations

import dataclasses
import re
import types
import typing
from pathlib import Path
from typing import Any, TypeVar

import yaml

from streamsep.errors import StreamsepError

T = TypeVar("T")

# Numbers that YAML 1.1 takes for text: it writes .inf, and 1e-3 as 1.0e-3.
_NUMBER = re.compile(r"[-+]?(inf|(\d+\.?\d*|\.\d+)[eE][-+]?\d+)", re.ASCII)
# What PyYAML lets through from its constructors, such as 2024-02-30 or !!int word.
_MISTAKEN = (ValueError, TypeError, AttributeError, LookupError, ArithmeticError)


def config_folder(kind: str) -> Path:
    """Where the configurations of one kind are ("live", "models", "train")."""
    # A wheel carries them inside the package; a checkout has them beside it.
    package = Path(__file__).parent
    inside = package / "configs"
    return (inside if inside.is_dir() else package.parent / "configs") / kind


class _UniqueKeys(yaml.SafeLoader):
    """The safe loader, but a key given twice is an error: YAML's last-one-wins hides mistakes."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for key in keys:
            if keys.count(key) > 1:
                raise yaml.constructor.ConstructorError(None, None, f"the key {key!r} is given twice", node.start_mark)
        return super().construct_mapping(node, deep)


def load_yaml(cls: type[T], path: str | Path) -> T:
    """Read one YAML file into the dataclass `cls`; see `read_whole`.

    Raises:
        StreamsepError: unreadable file, malformed YAML, unknown key, or wrong type.
    """
    return from_dict(cls, read_whole(Path(path)), str(path))


def read_whole(path: Path, above: tuple[Path, ...] = ()) -> dict[str, Any]:
    """A YAML mapping with what it takes from others: `like: other.yaml` names one that holds where it is silent.

    Mappings are joined key by key, everything else is replaced.

    Raises:
        StreamsepError: as `read_yaml`; files that are like each other in a circle.
    """
    data = read_yaml(path)
    like = data.pop("like", None)
    if like is None:
        return data
    try:
        other = (path.parent / str(like)).resolve()
    except (OSError, RuntimeError, ValueError):
        raise StreamsepError(
            f"{path} is like {str(like)!r}, which is no name that a file can have; correct it"
        ) from None
    if other in (path.resolve(), *above):
        raise StreamsepError(f"{path} is like {like}, which is like itself; break the circle")
    return _joined(read_whole(other, (*above, path.resolve())), data)


def _joined(base: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
    both = [key for key in data if isinstance(data[key], dict) and isinstance(base.get(key), dict)]
    return {**base, **data, **{key: _joined(base[key], data[key]) for key in both}}


def read_yaml(path: str | Path) -> dict[str, Any]:
    """Read a YAML mapping with the safe loader; an empty file is an empty mapping.

    Raises:
        StreamsepError: unreadable file, malformed YAML, a value that is not what it looks like, or no mapping.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise StreamsepError(f"cannot read the configuration {path}: {reason}; correct its path or the file") from None
    try:
        data = yaml.load(text, Loader=_UniqueKeys)
    except yaml.YAMLError as error:
        raise StreamsepError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from None
    except RecursionError:
        raise StreamsepError(f"{path} is nested too deeply; flatten it") from None
    except _MISTAKEN as error:
        what = f"a date, time, number or tag in {path} is none"
        raise StreamsepError(f"{what} ({error}); correct it, or put text in quotes") from None
    data = {} if data is None else data
    if not isinstance(data, dict):
        raise StreamsepError(f"{path} must hold a mapping of keys to values")
    return data


def from_dict(cls: type[T], data: Any, where: str = "") -> T:
    """Build the dataclass `cls` from plain data, recursively; `where` names the place in errors."""
    where = where or cls.__name__
    if not isinstance(data, dict):
        raise StreamsepError(f"{where}: expected a mapping, got {data!r}")
    hints = typing.get_type_hints(cls)
    fields = {f.name: f for f in dataclasses.fields(cls)}  # type: ignore[arg-type]
    for key in data:
        if key not in fields:
            raise StreamsepError(f"{where}: unknown key {key!r}; known keys are {', '.join(sorted(fields))}")
    values = {key: _convert(hints[key], value, f"{where}: {key}") for key, value in data.items()}
    needed = [n for n, f in fields.items() if f.default is f.default_factory is dataclasses.MISSING and n not in values]
    if needed:
        raise StreamsepError(f"{where}: missing key {needed[0]!r}")
    try:
        return cls(**values)
    except ValueError as error:
        raise StreamsepError(f"{where}: {error}") from None


def to_dict(config: Any) -> dict[str, Any]:
    """The plain data of a dataclass (tuples as lists), as `from_dict` reads it."""
    plain = _plain(config)
    assert isinstance(plain, dict)
    return plain


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        return {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, (tuple, list)):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return value


def _convert(hint: Any, value: Any, where: str) -> Any:
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return value
    if origin in (typing.Union, types.UnionType):
        return _convert_union(args, value, where)
    if origin is typing.Literal:
        if value not in args:
            raise StreamsepError(f"{where}: expected {' or '.join(map(str, args))}, got {value!r}")
        return value
    if dataclasses.is_dataclass(hint):
        return from_dict(typing.cast(type, hint), value, where)
    if origin in (tuple, list):
        return _convert_sequence(origin, args, value, where)
    if origin is dict and isinstance(value, dict):
        return {key: _convert(args[1], item, f"{where}.{key}") for key, item in value.items()}
    if hint is float and _is_number(value):
        return _float(value, where)
    plain = origin or hint
    if not isinstance(value, plain) or (isinstance(value, bool) and plain is not bool):
        raise StreamsepError(f"{where}: expected {getattr(plain, '__name__', plain)}, got {value!r}")
    return value


def _float(value: Any, where: str) -> float:
    try:
        return float(value)
    except OverflowError:
        raise StreamsepError(f"{where}: the number is too large") from None


def _is_number(value: Any) -> bool:
    if isinstance(value, str):
        return _NUMBER.fullmatch(value) is not None
    return isinstance(value, int) and not isinstance(value, bool)


def _convert_union(args: tuple[Any, ...], value: Any, where: str) -> Any:
    if value is None and type(None) in args:
        return None
    problems = []
    for hint in args:
        if hint is not type(None):
            try:
                return _convert(hint, value, where)
            except StreamsepError as error:
                problems.append(error)
    raise problems[0]


def _convert_sequence(origin: type, args: tuple[Any, ...], value: Any, where: str) -> Any:
    if not isinstance(value, (list, tuple)):
        raise StreamsepError(f"{where}: expected a list, got {value!r}")
    if origin is tuple and len(args) == len(value) and Ellipsis not in args:
        return tuple(_convert(hint, item, where) for hint, item in zip(args, value, strict=True))
    if origin is tuple and Ellipsis not in args:
        raise StreamsepError(f"{where}: expected {len(args)} values, got {len(value)}")
    return origin(_convert(args[0], item, where) for item in value)
