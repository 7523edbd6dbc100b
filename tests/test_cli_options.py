"""Flags that several subcommands share."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from streamsep.cli import build_parser
from streamsep.cli.options import add_bits_flags, bits_of, output_name


@pytest.mark.parametrize(
    ("model", "folder"),
    [
        ("htdemucs", "htdemucs"),
        ("live-23-small", "live-23-small"),
        ("other/path/mine.safetensors", "mine"),
        ("hub/f7e0c4bc-ba3fe64a.th", "f7e0c4bc-ba3fe64a"),
        ("configs/mine.yaml", "mine"),
        ("lr0.1.safetensors", "lr0.1"),
        ("runs/lr0.2", "lr0.2"),
        ("runs/mine/last.safetensors", "mine-last"),
        ("exp1/best.safetensors", "exp1-best"),
        ("exp2/best.safetensors", "exp2-best"),
        ("/best.safetensors", "best"),
    ],
)
def test_models_have_folders_of_their_own(model: str, folder: str) -> None:
    assert output_name(model) == folder


def test_a_folder_keeps_its_whole_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.json" / "b").mkdir(parents=True)
    assert output_name(str(tmp_path / "a.json")) == "a.json"
    monkeypatch.chdir(tmp_path / "a.json" / "b")
    assert (output_name("."), output_name(".."), output_name("last.safetensors")) == ("b", "a.json", "b-last")


@pytest.mark.parametrize(("flags", "bits"), [([], 16), (["--int24"], 24), (["--float32"], 32)])
def test_bits_of_a_sample(flags: list[str], bits: int) -> None:
    parser = argparse.ArgumentParser()
    add_bits_flags(parser)
    assert bits_of(parser.parse_args(flags)) == bits


@pytest.mark.parametrize("flag", ["--int24", "--float32", "--executor"])
def test_a_flag_of_several_subcommands_is_told_alike(flag: str, capsys: pytest.CaptureFixture[str]) -> None:
    told = set()
    for name in ("separate", "stream", "live") if flag != "--executor" else ("stream", "live", "latency"):
        with pytest.raises(SystemExit):
            build_parser().parse_args([name, "--help"])
        words = capsys.readouterr().out.partition(f"  {flag}")[2].partition("\n  -")[0].partition("\n\n")[0]
        told.add(" ".join(words.split()))
    assert len(told) == 1 and told != {""}


@pytest.mark.parametrize("command", [["stream", "a.wav"], ["tune"], ["evaluate", "--data", "a"]])
def test_figures_go_to_a_file(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """`-` would be one of that name, in the working directory."""
    assert build_parser().parse_args([*command, "--json", "a.json"]).json == Path("a.json")
    with pytest.raises(SystemExit):
        build_parser().parse_args([*command, "--json", "-"])
    assert "- is no file; choose a name" in capsys.readouterr().err
