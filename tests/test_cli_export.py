"""`streamsep export`: the file is complete, documented, checked, and written whole or not at all."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import wave
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from streamsep.cli import main
from streamsep.engine import onnx_export
from streamsep.models.causal_htdemucs import CausalHTDemucs
from streamsep.models.checkpoint import save_checkpoint
from tests.models import tiny, tiny_config

onnxruntime = pytest.importorskip("onnxruntime", reason="needs the extra onnx")
PAGE = Path(__file__).parents[1] / "docs" / "onnx.md"
FRAMES = 1003


@pytest.fixture
def model() -> CausalHTDemucs:
    return tiny(1)


@pytest.fixture
def checkpoint(model: CausalHTDemucs, tmp_path: Path) -> Path:
    path = tmp_path / "small.safetensors"
    save_checkpoint(model, path, {})
    return path


def export(checkpoint: Path, out: Path) -> int:
    return main(["export", "--onnx", "-n", str(checkpoint), "-o", str(out)])


def test_the_file_says_what_it_is(
    model: CausalHTDemucs, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "small.onnx"
    assert export(checkpoint, out) == 0
    session = onnxruntime.InferenceSession(out, providers=["CPUExecutionProvider"])
    facts = session.get_modelmeta().custom_metadata_map
    assert json.loads(facts["sources"]) == list(model.sources)
    assert [int(facts[key]) for key in ("sample_rate", "hop", "latency")] == [44100, 16, 32]
    assert facts["model"] == "small" and facts["tolerance"] == "1e-05"
    inputs = {x.name: (x.type, x.shape) for x in session.get_inputs()}
    outputs = {x.name: (x.type, x.shape) for x in session.get_outputs()}
    assert inputs.pop("mix") == ("tensor(float)", [2, 16])
    assert outputs.pop("stems") == ("tensor(float)", [4, 2, 16])
    assert {name.replace("next.", "state."): about for name, about in outputs.items()} == inputs
    assert inputs["state.clock"] == ("tensor(int64)", [2])
    assert re.search(r"hop 16 at 44100 Hz, algorithmic latency 1.1 ms", capsys.readouterr().out)
    assert set(tmp_path.iterdir()) == {out, checkpoint, checkpoint.with_suffix(".json")}


def test_the_example_of_the_page_streams_a_song(model: CausalHTDemucs, checkpoint: Path, tmp_path: Path) -> None:
    """With numpy and onnxruntime alone, to the very samples that the model gives."""
    assert export(checkpoint, tmp_path / "small.onnx") == 0
    song = np.random.default_rng(0).integers(-8000, 8000, (FRAMES, 2), np.int16)
    with wave.open(str(tmp_path / "song.wav"), "wb") as file:
        file.setparams((2, 2, 44100, 0, "NONE", ""))
        file.writeframes(song.tobytes())
    (example,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert len(example.splitlines()) <= 36
    alone = "import sys\nsys.modules.update(dict.fromkeys(['torch', 'streamsep']))\n"
    command = [sys.executable, "-W", "error", "-c", alone + example, "small.onnx", "song.wav"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    mix = torch.nn.functional.pad(torch.from_numpy(song.T / np.float32(32768)), (0, 64 - FRAMES % 16))
    with torch.inference_mode():
        wanted = model(mix[None])[0, ..., model.latency : model.latency + FRAMES].numpy()
    for source, stem in zip(model.sources, wanted, strict=True):
        with wave.open(str(tmp_path / f"{source}.wav")) as file:
            assert file.getparams()[:4] == (2, 2, 44100, FRAMES)
            got = np.frombuffer(file.readframes(FRAMES), np.int16).reshape(-1, 2).T
        assert np.abs(got - 32768 * stem).max() <= 0.6  # half a step of 16 bits, and the tolerance


def test_a_graph_that_differs_is_not_written(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "small.onnx"
    out.write_bytes(b"before")
    right = onnx_export.zeros_for

    def wrong(session: Any) -> Any:
        """A stream that stands elsewhere than it should: the first queries look at empty slots."""
        state = right(session)
        state["clock"][1] = 2
        return state

    monkeypatch.setattr(onnx_export, "zeros_for", wrong)
    assert export(checkpoint, out) == 1
    assert "differs from the model by" in capsys.readouterr().err
    assert out.read_bytes() == b"before"
    assert len(list(tmp_path.iterdir())) == 3


def test_errors_name_the_cure(checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert export(checkpoint, checkpoint / "small.onnx") == 1
    assert main(["export", "--onnx", "-n", "live-93-small", "-o", str(tmp_path / "x.onnx")]) == 1
    errors = capsys.readouterr().err
    assert "cannot write" in errors and "no weights of the preset live-93-small" in errors


def test_an_offline_model_is_refused(tmp_path: Path) -> None:
    class Offline(torch.nn.Module):
        pass

    with pytest.raises(onnx_export.StreamsepError, match="offline is no causal model"):
        onnx_export.export_onnx(Offline(), tmp_path / "x.onnx", "offline")


def test_recurrent_layers_are_refused(tmp_path: Path) -> None:
    config = tiny_config()
    model = CausalHTDemucs(replace(config, transformer=replace(config.transformer, kind="lstm"))).eval()
    with pytest.raises(onnx_export.StreamsepError, match=r"mine has recurrent layers .* choose a model with attention"):
        onnx_export.export_onnx(model, tmp_path / "x.onnx", "mine")


def test_an_offline_model_is_refused_with_a_lookahead_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("streamsep.models.registry.load_model", lambda name: torch.nn.Linear(2, 2))
    command = ["export", "--onnx", "-n", "offline", "--lookahead", "100ms", "-o", str(tmp_path / "x.onnx")]
    assert main(command) == 1
    assert "error: offline is no causal model and has no ONNX graph; choose one of" in capsys.readouterr().err


def test_the_shipped_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", "--onnx", "-o", str(tmp_path / "live.onnx")]) == 0
    assert "hop 512 at 44100 Hz, algorithmic latency 23.2 ms" in capsys.readouterr().out


def test_a_stroke_is_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit):
        main(["export", "--onnx", "-n", "live-6-small", "-o", "-"])
    assert not list(tmp_path.iterdir())
