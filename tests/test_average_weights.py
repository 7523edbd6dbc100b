"""The mean of two checkpoints."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from streamsep.models.causal_htdemucs import CausalHTDemucs
from streamsep.models.checkpoint import load_checkpoint, read_record, save_checkpoint
from tests.models import tiny, tiny_config
from tools.average_weights import main


def saved(model: CausalHTDemucs, path: Path, steps: int) -> Path:
    save_checkpoint(model, path, {"training": {"steps": steps}, "licence": "MIT"})
    return path


def test_a_share_of_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = tiny(), tiny()
    with torch.no_grad():
        for parameter in second.parameters():
            parameter.add_(torch.randn_like(parameter))
    paths = [saved(first, tmp_path / "a.safetensors", 3), saved(second, tmp_path / "b.safetensors", 5)]
    out = tmp_path / "c.safetensors"
    monkeypatch.setattr(sys, "argv", ["average_weights", *map(str, paths), "-o", str(out), "--share", "0.25"])
    assert main() == 0
    for mean, a, b in zip(load_checkpoint(out).parameters(), first.parameters(), second.parameters(), strict=True):
        torch.testing.assert_close(mean, 0.75 * a + 0.25 * b)
    assert read_record(out)["training"] == {"steps": 5, "averaged": {"share": 0.25, "with_steps": 3}}


def test_different_models_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    a, out = saved(tiny(), tmp_path / "a.safetensors", 1), tmp_path / "c.safetensors"
    b = saved(CausalHTDemucs(tiny_config(complex_mask=False)), tmp_path / "b.safetensors", 1)
    monkeypatch.setattr(sys, "argv", ["average_weights", str(a), str(b), "-o", str(out)])
    assert main() == 1 and not out.exists()
    assert "are different models; choose two of one training" in capsys.readouterr().err
