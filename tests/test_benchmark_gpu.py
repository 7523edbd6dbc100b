"""The benchmarks for a GPU, on a CPU: every row they can have, the search over batches, and what the tables say."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks import gpu, streams, write_tables
from streamsep.engine.executor import EagerExecutor
from streamsep.engine.static_executor import NO_CUDA_GRAPH
from streamsep.engine.static_options import StaticOptions
from tests.engine_toys import DelaySplit
from tests.models import tiny


def test_every_way_of_a_cpu_is_measured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: Any) -> None:
    monkeypatch.setattr(gpu, "preset", lambda name: tiny())
    monkeypatch.setattr(
        "sys.argv", ["gpu.py", "small", "--device", "cpu", "--steps", "3", "--json", str(tmp_path / "g.json")]
    )
    gpu.main()
    found = json.loads((tmp_path / "g.json").read_text())
    eager, plain, half = found["rows"]
    assert [row["way"] for row in found["rows"]] == ["eager", "static, float32", "static, bfloat16"]
    assert eager["difference"] == 0 and plain["difference"] < 1e-6 < 1e-5 < half["difference"] < 1e-2
    assert 100 < plain["operations"] < eager["operations"]
    assert all(row["steps"] == 3 and row["p50_ms"] > 0 for row in found["rows"])
    assert found["device"] is None and found["machine"]
    assert "static, bfloat16" in capsys.readouterr().out


def test_a_gpu_has_every_precision_forks_and_the_compiler() -> None:
    names = [way.name for way in gpu.ways(cuda=True, compiled=True)]
    assert len(names) == len(set(names))
    assert {"eager", "graph, float32", "graph, tf32", "graph, bfloat16", "graph, float16"} <= set(names)
    assert [way.options for way in gpu.ways(True, True)[-2:]] == [
        StaticOptions("float32", compiled=True),
        StaticOptions("bfloat16", compiled=True),
    ]
    assert {"graph, bfloat16, side by side", "compiled, bfloat16"} <= set(names)
    assert not any("graph" in way.name for way in gpu.ways(cuda=False, compiled=False))


@pytest.mark.parametrize("before", [None, "0"])
def test_the_kill_switch_is_put_back(monkeypatch: pytest.MonkeyPatch, before: str | None) -> None:
    monkeypatch.delenv(NO_CUDA_GRAPH, raising=False)
    if before is not None:
        monkeypatch.setenv(NO_CUDA_GRAPH, before)
    for wanted, inside in ((True, "1"), (False, None)):
        with gpu.without_graph(wanted):
            assert os.environ.get(NO_CUDA_GRAPH) == inside
        assert os.environ.get(NO_CUDA_GRAPH) == before


@pytest.mark.parametrize("most", [0, 1, 2, 3, 5, 8, 100, 127, 128, 700, 10000])
def test_the_search_finds_the_largest_batch_to_an_eighth(most: int) -> None:
    tried = list[int]()
    found = streams.search(lambda batch: tried.append(batch) or batch <= most)  # type: ignore[func-returns-value]
    assert found <= most
    assert found >= min(most, streams.LIMIT) * 7 / 8 - 1
    assert len(tried) == len(set(tried)) <= 18


def test_ticks_are_of_full_pools() -> None:
    rows = list[tuple[int, float]]()

    class Noted(DelaySplit):
        def step(self, mix: torch.Tensor, state: Any) -> Any:
            rows.append((len(mix), float(mix.abs().amin((1, 2)).min())))
            return super().step(mix, state)

    times = streams.time_ticks(EagerExecutor(Noted(), batch=3), 4, warm_up=2)
    assert times.shape == (4,)
    assert (times > 0).all()
    assert len(rows) == 6 and all(count == 3 for count, _ in rows)


def test_streams_are_searched_written_and_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "streams.json"
    path.write_text('{"cuda": {"kept": true}}')
    slow = {1: 0.1, 2: 0.2, 4: 0.5, 3: 0.3}  # of a hop of 16 samples, in ms: 0.363

    def timed(executor: Any, ticks: int) -> Any:
        if executor.batch > 4:
            raise RuntimeError("CUDA error: out of memory\nand more")
        return np.full(ticks, slow[executor.batch] / 1000)

    monkeypatch.setattr(streams, "preset", lambda name: tiny())
    monkeypatch.setattr(streams, "time_ticks", timed)
    monkeypatch.setattr("sys.argv", ["streams.py", "small", "--device", "cpu", "--ticks", "5", "--json", str(path)])
    streams.main()
    found = json.loads(path.read_text())
    assert found["cuda"] == {"kept": True}
    assert found["cpu"]["most"] == {"small": 3}
    assert [(row["streams"], round(row["p99_ms"], 2)) for row in found["cpu"]["rows"]] == [
        (1, 0.1),
        (2, 0.2),
        (3, 0.3),
        (4, 0.5),
    ]
    slow[4] = 0.2
    most, rows = streams.measure("small", tiny(), "cpu", "float32", 5)
    assert most == 4 + 3 * (most == 7) and rows[-1]["error"] == "CUDA error: out of memory"


def test_tables_say_what_was_not_measured() -> None:
    assert write_tables.gpu({}) == write_tables.gpu({"device": None, "rows": []}) == "not measured: no CUDA device"
    assert write_tables.streams({}) == "On a GPU: not measured: no CUDA device"


def test_tables_of_results() -> None:
    row = {"model": "m", "way": "graph", "hop_ms": 5.8, "p50_ms": 0.5, "p99_ms": 0.75, "p999_ms": 1, "late": 2}
    row |= {"steps": 10, "operations": 300, "difference": 2e-3, "precision": "tf32", "streams": 4}
    place = {"device": "H200", "python": "3.12", "torch": "2.11"}
    text = write_tables.gpu(place | {"rows": [row]})
    assert "| m | graph | 5.80 | 0.50 | 0.75 | 1.00 | 300 | 2e-03 | 2 of 10 |" in text
    assert text.endswith("On: H200; Python 3.12, torch 2.11.")
    cpu = place | {"device": None, "machine": "CPU", "most": {"m": 4}, "rows": [row, {"error": "no memory"}]}
    text = write_tables.streams({"cuda": place | {"most": {"m": 9}, "rows": []}, "cpu": cpu})
    assert "On H200: 9 of `m` with p99 below the hop" in text
    assert "On one core of: CPU: 4 of `m`" in text
    assert text.endswith("| m | tf32 | 4 | 5.80 | 0.50 | 0.75 | 0.125 | 2 of 10 |")
