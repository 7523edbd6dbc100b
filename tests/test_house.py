"""The house itself: who may import whom, what an import costs, how the command line speaks."""

from __future__ import annotations

import argparse
import ast
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import streamsep
from streamsep import cli
from streamsep.errors import StreamsepError, missing
from tests.house import MAY_IMPORT, forbidden_imports, oversized, room_of, untidy_errors

PACKAGE = Path(streamsep.__file__).parent
ROOT = PACKAGE.parent
MODULES = sorted(PACKAGE.rglob("*.py"))
SOURCES = [*MODULES, *sorted((ROOT / "tools").glob("*.py"))]
# What only an extra brings, or what a machine without a sound card or a GPU lacks.
OPTIONAL = [
    *("cupy", "huggingface_hub", "jack", "matplotlib", "mido", "museval", "numba", "onnx", "onnxruntime", "onnxscript"),
    *("PIL", "psutil", "pyloudnorm", "pyworld", "rich", "rtmidi", "scipy", "selenium", "sounddevice", "tensorboard"),
    *("torchaudio", "torchcodec"),
]


def python(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run code in a fresh interpreter that sees this package."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "error"}
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=environment, cwd="/", timeout=120, check=False)


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", [path for path in MODULES if path.parent != PACKAGE], ids=name_of)
def test_imports_go_one_way(path: Path) -> None:
    room = room_of(path, PACKAGE)
    assert room in MAY_IMPORT, f"{room} is a new room: say in MAY_IMPORT what it may import"
    assert forbidden_imports(room, path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("name", ["config", "damage", "errors", "files", "interrupts"])
def test_the_base_imports_only_the_base(name: str) -> None:
    assert forbidden_imports(name, (PACKAGE / f"{name}.py").read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("room", "line"),
    [
        ("dsp", "import streamsep.layers.conv"),
        ("layers", "from streamsep.models import separator"),
        ("models", "from streamsep import engine"),
        ("engine", "def f():\n    from streamsep.evaluation.metrics import sdr"),
        ("engine", "from streamsep.training import data"),
        ("evaluation", "from streamsep.training.data import Song"),
        ("training", "from streamsep.engine.ring import Ring"),
        ("models", "from . import apply"),
        ("models", "from streamsep import load_model"),
        ("files", "from streamsep.dsp import stft"),
    ],
)
def test_a_wrong_import_is_noticed(room: str, line: str) -> None:
    assert len(forbidden_imports(room, line)) == 1


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_rooms_stay_small(path: Path) -> None:
    assert oversized(path.read_text(encoding="utf-8")) == []
    assert "util" not in path.stem


def test_what_is_too_big_is_noticed() -> None:
    assert oversized("x = 1\n" * 301) == ["301 lines"]
    assert oversized("def f():\n" + "    x = 1\n" * 50) == ["f: 51 lines"]
    many = ", ".join("abcdefghijk")
    assert oversized(f"def f({many}): pass\n") == ["f: 11 parameters"]


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_errors_are_one_sentence(path: Path) -> None:
    assert untidy_errors(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("text", ["'No.'", "''", "'two\\nlines'", "f'{x} fails.'", "f'a\\n{x}'"])
def test_an_untidy_error_is_noticed(text: str) -> None:
    assert len(untidy_errors(f"raise StreamsepError({text})")) == 1
    assert untidy_errors("raise StreamsepError(f'cannot read {x}')") == []


def test_import_is_quick_and_light() -> None:
    code = (
        "import sys, time\n"
        "import streamsep\n"
        "assert not {'torch', 'numpy', 'soundfile'} & sys.modules.keys(), 'import streamsep is not lazy'\n"
        "import torch\n"
        "start = time.process_time()\n"
        "for name in streamsep.__all__: getattr(streamsep, name)\n"
        "print(time.process_time() - start)\n"
    )
    result = python(code)
    assert result.returncode == 0, result.stderr
    assert float(result.stdout) < 2


def test_every_module_imports_without_optional_parts() -> None:
    code = (
        "import importlib, pkgutil, sys\n"
        "optional = set(sys.argv[1:])\n"
        "class Absent:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.split('.')[0] in optional: raise ModuleNotFoundError(name, name=name)\n"
        "sys.meta_path.insert(0, Absent())\n"
        "import streamsep\n"
        "for module in pkgutil.walk_packages(streamsep.__path__, 'streamsep.'):\n"
        "    if not module.name.endswith('__main__'): importlib.import_module(module.name)\n"
    )
    result = python(code, *OPTIONAL)
    assert result.returncode == 0, result.stderr


def test_public_names_are_sorted_and_there() -> None:
    assert streamsep.__all__ == sorted(streamsep.__all__) == sorted(streamsep._HOMES)
    for name in streamsep.__all__:
        assert getattr(streamsep, name).__module__ == f"streamsep.{streamsep._HOMES[name]}"
        assert name in dir(streamsep)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        streamsep.nothing  # noqa: B018


def test_type_checkers_see_the_same_names() -> None:
    tree = ast.parse((PACKAGE / "__init__.py").read_text(encoding="utf-8"))
    seen = {
        alias.name: node.module
        for block in tree.body
        if isinstance(block, ast.If)
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert seen == {name: f"streamsep.{home}" for name, home in streamsep._HOMES.items()}


def test_help_needs_no_torch() -> None:
    code = (
        "import sys\n"
        "from streamsep.cli import main\n"
        "try: main(sys.argv[1:])\n"
        "except SystemExit as stop: assert stop.code == 0\n"
        "heavy = {'torch', 'numpy', 'soundfile', 'matplotlib'} & sys.modules.keys()\n"
        "assert not heavy, heavy\n"
    )
    for name in cli.SUBCOMMANDS:
        result = python(code, name, "--help")
        assert result.returncode == 0, result.stderr
        assert f"usage: streamsep {name}" in result.stdout


def test_help_names_every_subcommand(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        cli.main(["--help"])
    assert stop.value.code == 0
    listed = [line.split()[0] for line in capsys.readouterr().out.splitlines() if line.startswith("    ")]
    assert listed[1:] == list(cli.SUBCOMMANDS) or listed == list(cli.SUBCOMMANDS)
    modules = {p.stem for p in (PACKAGE / "cli").glob("*.py") if "def add_parser(" in p.read_text(encoding="utf-8")}
    assert modules == set(cli.SUBCOMMANDS)


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        cli.main(["--version"])
    assert stop.value.code == 0 and capsys.readouterr().out == f"streamsep {streamsep.__version__}\n"
    assert f"\n## {streamsep.__version__}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_python_dash_m_is_the_same_program() -> None:
    result = python(
        "import runpy, sys; sys.argv = ['x', '--version']; runpy.run_module('streamsep', run_name='__main__')"
    )
    assert result.stdout == f"streamsep {streamsep.__version__}\n"


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], int]], int]:
    """Run a function as if it were the one subcommand."""

    def run(function: Callable[[], int]) -> int:
        parser = argparse.ArgumentParser()
        parser.set_defaults(run=lambda args: function())
        monkeypatch.setattr(cli, "build_parser", lambda: parser)
        return cli.main([])

    return run


def test_exit_codes(command: Callable[[Callable[[], int]], int], capsys: pytest.CaptureFixture[str]) -> None:
    def fail() -> int:
        raise StreamsepError("there is no such thing; choose another")

    def interrupt() -> int:
        raise KeyboardInterrupt

    assert command(lambda: 0) == 0 and command(lambda: 3) == 3
    assert capsys.readouterr() == ("", "")
    assert command(fail) == 1
    assert capsys.readouterr() == ("", "streamsep: error: there is no such thing; choose another\n")
    assert command(interrupt) == 130
    assert capsys.readouterr() == ("", "streamsep: interrupted\n")


def test_a_closed_pipe_is_no_traceback() -> None:
    code = (
        "import argparse, os, sys\n"
        "from streamsep import cli\n"
        "parser = argparse.ArgumentParser()\n"
        "parser.set_defaults(run=lambda args: print('x' * 100000) or 0)\n"
        "cli.build_parser = lambda: parser\n"
        "read, write = os.pipe(); os.close(read); os.dup2(write, 1)\n"
        "sys.exit(cli.main([]))\n"
    )
    result = python(code)
    assert (result.returncode, result.stderr) == (1, "")


def redirected(code: str, redirection: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `cli.main` behind a shell's redirection, with code that ends in `run = ...` for its one subcommand."""
    if not Path("/dev/full").exists():
        pytest.skip("there is no device that is always full")
    code = (
        f"import argparse, os, signal, sys\nfrom streamsep import cli\n{code}\n"
        "parser = argparse.ArgumentParser()\n"
        "parser.set_defaults(run=run)\n"
        "cli.build_parser = lambda: parser\n"
        "sys.exit(cli.main(sys.argv[1:]))\n"
    )
    command = ["sh", "-c", f'exec "$@" {redirection}', "sh", sys.executable, "-c", code, *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": ""}
    return subprocess.run(command, capture_output=True, text=True, env=environment, cwd="/", timeout=120, check=False)


FULL = "streamsep: error: cannot write the output (No space left on device); make room, or send it to another place\n"


@pytest.mark.parametrize("letters", [1, 100_000])
def test_a_full_stdout_is_one_sentence(letters: int) -> None:
    run = f"run = lambda args: print('x' * {letters}) or 0"
    result = redirected(run, ">/dev/full")
    assert (result.returncode, result.stderr) == (1, FULL)
    assert redirected(run, ">/dev/full 2>/dev/full").returncode == 1
    result = redirected(run, ">/dev/full", "--help")
    assert (result.returncode, result.stderr) == (1, FULL)


@pytest.mark.parametrize("redirection", [">&-", "2>&-", ">&- 2>&-"])
def test_a_closed_stdout_or_stderr_is_nobody_s_trouble(redirection: str) -> None:
    run = "run = lambda args: print('x') or print('y', file=sys.stderr) or sys.stderr.isatty() or 0"
    result = redirected(run, redirection)
    assert result.returncode == 0
    assert result.stdout == ("" if redirection.startswith(">") else "x\n")
    assert result.stderr == ("" if "2" in redirection else "y\n")


def test_what_has_nothing_to_do_with_stdout_stays_a_fault(command: Callable[[Callable[[], int]], int]) -> None:
    def fail() -> int:
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        command(fail)


@pytest.mark.parametrize(
    ("handler", "code", "told"), [("SIG_DFL", 129, "streamsep: the terminal was closed\n"), ("SIG_IGN", 0, "")]
)
def test_a_closed_terminal_ends_it_unless_it_is_to_be_ignored(handler: str, code: int, told: str) -> None:
    set_up = f"signal.signal(signal.SIGHUP, signal.{handler})\n"
    result = redirected(set_up + "run = lambda args: signal.raise_signal(signal.SIGHUP) or 0", "")
    assert (result.returncode, result.stderr) == (code, told)
    assert (
        redirected(set_up + "run = lambda args: signal.raise_signal(signal.SIGHUP) or 0", "2>/dev/full").returncode
        == code
    )


def test_no_subcommand_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        cli.main([])
    assert stop.value.code == 2 and "usage: streamsep" in capsys.readouterr().err


def test_a_missing_extra_names_its_command() -> None:
    assert str(missing("onnxruntime", "onnx")) == "onnxruntime is not installed; run: pip install 'streamsep[onnx]'"


def test_extras_named_in_errors_exist() -> None:
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    asked = {
        node.args[1].value
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "missing" and isinstance(node.args[1], ast.Constant)
    }
    assert asked <= project["optional-dependencies"].keys()


def test_configurations_and_weights_are_found_from_the_package() -> None:
    from streamsep.models.registry import build_preset, default_model, find_weights, preset_names

    assert {f"live-{ms}{size}" for ms in (6, 12, 23, 93) for size in ("", "-small")} <= set(preset_names())
    assert build_preset("live-23-small").hop == 512
    for mode in ("stream", "file", "streamed file", "offline"):
        assert default_model(mode) in preset_names() and find_weights(default_model(mode)) is not None
