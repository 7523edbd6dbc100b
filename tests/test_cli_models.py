"""`streamsep models list|pull|info` as a user types them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from streamsep.cli import main
from streamsep.models import registry
from streamsep.models.checkpoint import save_checkpoint
from streamsep.models.htdemucs import HTDemucs
from streamsep.models.official import config_from_official
from tests.test_checkpoint import causal
from tests.test_official_checkpoint import KWARGS
from tests.test_pull import FakeHub, hub, publish  # noqa: F401  (a fixture)


@pytest.fixture(autouse=True)
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty cache, and an empty folder that stands for the shipped weights."""
    monkeypatch.setenv("STREAMSEP_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(registry, "weights_folder", lambda: tmp_path / "weights")
    yield tmp_path / "weights"


def table(text: str) -> dict[str, list[str]]:
    return {line.split()[0]: line.split()[1:] for line in text.splitlines()[1:]}


def test_list_shows_each_preset(weights: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_checkpoint(causal(), weights / "live-23-small.safetensors", {})
    assert main(["models", "list"]) == 0
    rows = table(capsys.readouterr().out)
    assert set(registry.preset_names()) <= rows.keys()
    assert rows["live-93"][:3] == ["CausalHTDemucs", "1024", "92.9"] and rows["live-93"][-1] == "none"
    assert rows["live-23-small"][1:3] == ["512", "23.2"] and rows["live-23-small"][-1] == "shipped"
    assert rows["htdemucs"][:3] == ["HTDemucs", "-", "-"] and " ".join(rows["htdemucs"][-3:]) == "can be pulled"
    assert " ".join(rows["htdemucs_ft"][-3:]) == "can be pulled"


def test_pull_then_list_and_info(
    hub: FakeHub,  # noqa: F811
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    publish(hub, HTDemucs(config_from_official(**KWARGS)), tmp_path)
    assert main(["models", "pull", "htdemucs", "--endpoint", hub.endpoint]) == 0
    assert f"htdemucs: verified and placed in {tmp_path / 'cache' / 'models' / 'htdemucs'}" in capsys.readouterr().out
    assert main(["models", "list"]) == 0
    assert table(capsys.readouterr().out)["htdemucs"][-1] == "pulled"
    assert main(["models", "info", "htdemucs"]) == 0
    shown = capsys.readouterr().out
    assert "class: HTDemucs" in shown and "sources: drums, bass, other, vocals" in shown and "hop" not in shown


def test_info_of_a_checkpoint_shows_record_and_card(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "mine.safetensors"
    save_checkpoint(causal(), path, {"training": {"songs": 3}, "licence": "CC BY 4.0"})
    path.with_suffix(".md").write_text("# Mine\nMade of rain.\n")
    for given in (path, path.with_suffix(".json")):
        assert main(["models", "info", str(given)]) == 0
        shown = capsys.readouterr().out
        for line in ("class: CausalHTDemucs", "hop: 16 samples", "licence: CC BY 4.0", 'training: {"songs": 3}'):
            assert line in shown.splitlines()
        assert "algorithmic latency: 32 samples, 0.7 ms" in shown and shown.endswith("# Mine\nMade of rain.\n")


def test_info_of_a_preset_without_weights(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "info", "live-93-small"]) == 0
    shown = capsys.readouterr().out
    assert "without weights" in shown and "algorithmic latency: 4096 samples, 92.9 ms" in shown


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["info", "live-12-smal"], "did you mean live-12-small"),
        (["info", "absent.safetensors"], "no such file: absent.safetensors"),
        (["info", "htdemucs_ft"], "streamsep models pull htdemucs_ft"),
        (["pull", "mdx_q"], "older class"),
    ],
)
def test_errors_are_one_line_and_exit_1(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", *arguments]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("streamsep: error: ") and captured.err.count("\n") == 1
    assert message in captured.err


def test_an_action_is_required() -> None:
    with pytest.raises(SystemExit) as caught:
        main(["models"])
    assert caught.value.code == 2


def test_a_card_in_another_encoding_is_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_checkpoint(causal(), tmp_path / "a.safetensors", {})
    (tmp_path / "a.md").write_bytes(b"caf\xe9")
    assert main(["models", "info", str(tmp_path / "a.safetensors")]) == 0
    assert "caf\ufffd" in capsys.readouterr().out
