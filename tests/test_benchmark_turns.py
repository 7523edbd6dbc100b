"""Steps that take turns, and what the benchmarks make of their times."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks import aging, draw_steps, offline, peers, sliding, steps
from benchmarks.turns import take_turns
from benchmarks.write_tables import growth
from streamsep.bench.steps import stepper
from streamsep.engine.executor import inference_thread
from streamsep.engine.onnx_executor import OnnxExecutor
from streamsep.errors import StreamsepError
from streamsep.models.registry import build_preset
from tests.models import tiny


def test_turns_in_bouts() -> None:
    played: list[str] = []
    steps = {name: lambda name=name: played.append(name) for name in "ab"}
    times = take_turns(steps, 3, "test", bout=2, warm_up=1)
    assert "".join(played) == "ab" + 3 * "aabb"
    assert {name: len(values) for name, values in times.items()} == {"a": 6, "b": 6}
    assert all((values >= 0).all() for values in times.values())


def test_an_aged_stream_is_old_and_full(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("onnxruntime")
    held = []
    monkeypatch.setattr(aging, "stepper", lambda executor, state: held.append(state))
    model = tiny(1)
    capacity = model.config.context_frames + 1
    with inference_thread():
        for kind in ("onnx", "eager"):
            aging.aged_step(model, kind, 3600)
    hops = round(3600 * 44100 / 16) // capacity * capacity + capacity + 1
    assert held[0]["clock"].tolist() == [[hops, capacity]]
    clock = held[1].transformer.clock
    assert clock.position.item() == hops and clock.held.max() == hops - 1 and clock.held.min() == hops - capacity


def test_rows_are_measured_against_the_first() -> None:
    pytest.importorskip("onnxruntime")
    model = tiny()
    steps = {"once": stepper(OnnxExecutor(model)), "four times": aging.all_of([stepper(OnnxExecutor(model))] * 4)}
    with inference_thread():
        first, second = aging.compare(steps, dict.fromkeys(steps, model), 6)
    assert first["ratio"] == 1 and second["ratio"] > 2
    rows = {part: [first, second] for part in aging.PARTS}
    text = growth(rows | {"memory": [{"steps": 1, "rss_mb": 2.0}], "machine": "m"})
    assert text.count("\n| ") == 1 + 2 * len(aging.PARTS) and "after 1 2.0 MB" in text


def test_parts_that_are_not_measured_stay_as_they_were(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    figures = tmp_path / "aging.json"
    figures.write_text(json.dumps({"machine": "another", "age": ["old"], "width": ["old"]}))
    monkeypatch.setattr(aging, "PARTS", {"age": lambda rounds: [rounds], "width": lambda rounds: [2 * rounds]})
    monkeypatch.setattr(aging, "memory", lambda steps: [steps])
    monkeypatch.setattr(sys, "argv", ["aging", "age", "--rounds", "3", "--json", str(figures)])
    aging.main()
    found = json.loads(figures.read_text())
    assert (found["age"], found["width"]) == ([3], ["old"]) and found["machine"] != "another"
    monkeypatch.setattr(sys, "argv", ["aging", "--rounds", "3", "--steps", "7", "--json", str(figures)])
    aging.main()
    found = json.loads(figures.read_text())
    assert (found["age"], found["width"], found["memory"]) == ([3], [6], [7])


def test_sizes_for_one_core() -> None:
    found = aging.sizes("live-23-small")
    assert found["live-23-small"] == build_preset("live-23-small").config
    twice = found["width x 2, dim 192, window 4096"]
    assert (twice.hop, twice.window, twice.transformer.dim) == (512, 4096, 192)
    assert twice.waveform.channels == tuple(2 * c for c in found["live-23-small"].waveform.channels)


def test_the_peer_is_named_where_it_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    monkeypatch.delitem(sys.modules, "hs_tasnet", raising=False)
    with pytest.raises(StreamsepError, match="HS-TasNet is not installed; run the pip command"):
        peers.hs_tasnet()


@pytest.mark.parametrize("script", [aging, draw_steps, offline, peers, sliding, steps])
def test_what_can_be_mended_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], script: Any
) -> None:
    def refuse(*_: object) -> None:
        raise StreamsepError("no room; make some")

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", refuse)
    assert script.main() == 1
    assert capsys.readouterr().err == f"{script.__name__.split('.')[1]}: error: no room; make some\n"
