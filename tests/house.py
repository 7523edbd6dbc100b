"""The rules of the house as functions on source code: who may import whom, how long things may be, how errors read."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

BASE = {"errors", "config", "damage", "files", "interrupts", "configs", "weights"}
MAY_IMPORT = {
    "dsp": {"dsp"},
    "layers": {"dsp", "layers"},
    "models": {"dsp", "layers", "models"},
    "engine": {"dsp", "layers", "models", "engine"},
    "control": {"engine", "control"},
    "training": {"dsp", "layers", "models", "training", "evaluation"},
    "evaluation": {"dsp", "layers", "models", "evaluation"},
    "bench": {"dsp", "layers", "models", "engine", "evaluation", "bench"},
    "cli": {"dsp", "layers", "models", "engine", "training", "evaluation", "bench", "control", "cli"},
}


def room_of(path: Path, package: Path) -> str:
    """The room of a module: its first folder, or its own name at the top."""
    parts = path.relative_to(package).with_suffix("").parts
    return parts[0]


def imported_rooms(source: str) -> Iterator[tuple[int, str]]:
    """(line, room) of every import of this package, wherever it stands."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import():
                names = [alias.name for alias in node.names]
            case ast.ImportFrom(level=0, module="streamsep"):
                names = [f"streamsep.{alias.name}" for alias in node.names]
            case ast.ImportFrom(level=0):
                names = [node.module or ""]
            case ast.ImportFrom():
                names = ["streamsep.relative"]
            case _:
                continue
        for name in names:
            head, *rest = name.split(".")
            if head == "streamsep" and rest:
                yield node.lineno, rest[0]


def forbidden_imports(room: str, source: str) -> list[str]:
    """What a module of `room` imports although its room does not allow it."""
    allowed = BASE | {"__version__"} | MAY_IMPORT.get(room, set())
    return [f"line {line}: {room} imports {other}" for line, other in imported_rooms(source) if other not in allowed]


def oversized(source: str) -> list[str]:
    """A file over 300 lines, functions over 50 lines, functions of more than ten parameters."""
    found = [f"{lines} lines"] if (lines := source.count("\n")) > 300 else []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or 0) - node.lineno + 1
            parameters = len(node.args.posonlyargs) + len(node.args.args) + len(node.args.kwonlyargs)
            found += [f"{node.name}: {length} lines"] if length > 50 else []
            found += [f"{node.name}: {parameters} parameters"] if parameters > 10 else []
    return found


def untidy_errors(source: str) -> list[str]:
    """StreamsepErrors whose text is not one sentence without a full stop, as it stands in the source."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "StreamsepError":
            message = node.args[0] if node.args else ast.Constant("")
            pieces = message.values if isinstance(message, ast.JoinedStr) else [message]
            texts = [piece.value for piece in pieces if isinstance(piece, ast.Constant)]
            last = pieces[-1]
            ends_badly = isinstance(last, ast.Constant) and (not last.value or str(last.value)[-1] in ".!\n ")
            if ends_badly or any("\n" in str(text) for text in texts):
                found.append(f"line {node.lineno}: {ast.unparse(message)}")
    return found
