"""The mean of two checkpoints."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from streamsep.models.causal_htdemucs import CausalHTDemucs
from streamsep.models.checkpoint import load_checkpoint, read_record, save_checkpoint
from streamsep.training.start import start_from
from tests.models import tiny, tiny_config
from tools.average_weights import main


def saved(model: CausalHTDemucs, path: Path, steps: int) -> Path:
    save_checkpoint(model, path, {"training": {"steps": steps}, "licence": "MIT"})
    return path


def run(monkeypatch: pytest.MonkeyPatch, *words: object) -> int:
    monkeypatch.setattr(sys, "argv", ["average_weights", *map(str, words)])
    return main()


def shaken(model: CausalHTDemucs) -> CausalHTDemucs:
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter))
    return model


@pytest.mark.parametrize("shares", [(), (0.25, 0.15, 0.6)])
def test_a_share_of_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shares: tuple[float, ...]) -> None:
    models = [shaken(tiny()) for _ in range(3)]
    paths = [saved(model, tmp_path / f"{i}.safetensors", 3 + i) for i, model in enumerate(models)]
    out = tmp_path / "mean.safetensors"
    assert run(monkeypatch, *paths, "-o", out, *(("--shares", *shares) if shares else ())) == 0
    parts = shares or (1 / 3,) * 3
    for mean, *given in zip(load_checkpoint(out).parameters(), *(m.parameters() for m in models), strict=True):
        torch.testing.assert_close(mean, sum(part * value for part, value in zip(parts, given, strict=True)))
    averaged = [{"steps": 3 + i, "share": part} for i, part in enumerate(parts)]
    assert read_record(out)["training"] == {"steps": 5, "averaged": averaged}


def test_one_from_before_the_model_was_widened_takes_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    narrow = saved(shaken(tiny()), tmp_path / "narrow.safetensors", 1)
    config = tiny_config()
    wider = CausalHTDemucs(replace(config, transformer=replace(config.transformer, dim=32, heads=4)))
    start_from(wider, narrow)
    begun = saved(wider, tmp_path / "begun.safetensors", 2)
    assert run(monkeypatch, narrow, begun, "-o", tmp_path / "mean.safetensors") == 0
    mean = load_checkpoint(tmp_path / "mean.safetensors").state_dict()
    torch.testing.assert_close(dict(mean), dict(wider.state_dict()))


def test_different_models_and_odd_shares_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    a, out = saved(tiny(), tmp_path / "a.safetensors", 1), tmp_path / "c.safetensors"
    b = saved(CausalHTDemucs(tiny_config(complex_mask=False)), tmp_path / "b.safetensors", 1)
    assert run(monkeypatch, a, b, "-o", out) == 1 and not out.exists()
    assert "a.safetensors is another model than the last; choose checkpoints of one" in capsys.readouterr().err
    for shares in (["1"], ["0.5", "0.6"]):
        assert run(monkeypatch, a, a, "-o", out, "--shares", *shares) == 1 and not out.exists()
        assert "--shares must be 2 numbers that sum to 1" in capsys.readouterr().err
    assert run(monkeypatch, tmp_path / "none.safetensors", a, "-o", out) == 1 and not out.exists()
    assert "none.safetensors" in capsys.readouterr().err
