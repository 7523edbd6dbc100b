"""What the benchmark beside demucs makes of its times and stems, without a model."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from benchmarks import offline
from benchmarks.offline_sides import SOURCES
from benchmarks.write_tables import offline as offline_table
from benchmarks.write_tables import offline_line

CASES = [("demucs", 1), ("fp32", 1), ("demucs", 2), ("fp32", 2)]
TIMES = [[12.0, 6.0, 8.0, 4.0], [10.0, 8.0, 9.0, 3.0], [30.0, 10.0, 6.0, 5.0]]


def test_ratios_are_medians_of_rounds_at_the_same_threads() -> None:
    found = [[{"seconds": seconds} for seconds in one] for one in TIMES]
    assert [row["ratio"] for row in offline.rows(CASES, found)] == [1, 2, 1, 2]
    assert [row["seconds"] for row in offline.rows(CASES, found)] == [12, 8, 8, 4]


def test_rounds_end_before_the_time_does(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr(offline.time, "perf_counter", lambda: clock[0])

    def measure(case: offline.Case) -> dict[str, float]:
        clock[0] += 5
        return {"seconds": 5.0}

    assert len(offline.rounds(CASES, measure, 65)) == 3
    assert len(offline.rounds(CASES, measure, 1)) == 1


def test_errors_are_against_demucs(tmp_path: Path) -> None:
    for side, offset in (("demucs-1", 0.0), ("fp32-2", 0.01), ("demucs-2", 0.001)):
        (tmp_path / side / "random").mkdir(parents=True)
        for index, name in enumerate(SOURCES):
            stem = np.random.default_rng(index).uniform(-1, 1, (1000, 2)) * 0.5
            stem[0, 0] = 0.5
            soundfile.write(tmp_path / side / "random" / f"{name}.wav", stem + offset, 44100, subtype="FLOAT")
    found = offline.errors(tmp_path, [("fp32", 2), ("demucs", 2)])
    for case, offset in ((("fp32", 2), 0.01), (("demucs", 2), 0.001)):
        assert found[case]["error"] == pytest.approx(offset / (0.5 / 3**0.5), rel=0.05)
        assert found[case]["largest"] == pytest.approx(2 * offset, rel=1e-3)


def test_the_table_says_what_was_not_measured() -> None:
    rows = offline.rows(CASES, [[{"seconds": seconds} for seconds in one] for one in TIMES])
    whole = [row | {"error": 4e-7, "largest": 1e-6, "cpu_seconds": 9.0, "peak_mb": 900.0} for row in rows]
    parts = {"whole": {"rounds": 3, "rows": whole}, "segment": {"rounds": 3, "rows": rows}}
    result = {"seconds": 22.0, "machine": "m", "torch": "t", "gpu": None, **parts}
    text = offline_table(result)
    assert "| whole process | ours, fp32 | 2 | 4.00 | 9.0 | 900 | 2.00 | 4.0e-07 | 1.0e-06 |" in text
    assert "| a segment | demucs | 1 | 12.00 |  |  | 1.00 |  |  |" in text and text.endswith("On a GPU: not measured.")
    line = offline_line(result)
    assert "2.00 times as fast with 1 thread(s) and 2.00 times as fast with 2 thread(s)" in line
    assert "4.0e-07 from demucs' by RMS (demucs' own on 1 threads: 4.0e-07); on a GPU" in line
    gpu = {"device": "H", "song": {"rounds": 1, "rows": [row | {"ratio": 5.0} for row in rows]}}
    assert "| a song on a GPU | ours, fp32 | 1 | 8.00 |" in offline_table(result | {"gpu": gpu})
    assert offline_line(result | {"gpu": gpu}).endswith("on a GPU: 5.0 times as fast.")


def test_a_gpu_does_not_move_the_cpu_s_figures_to_its_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    rows = offline.rows(CASES, [[{"seconds": seconds} for seconds in one] for one in TIMES])
    on_cpu = {"seconds": 22.0, "whole": {"rounds": 3, "rows": rows}, "segment": {"rounds": 3, "rows": rows}}
    monkeypatch.setattr(offline, "on_cpu", lambda minutes: on_cpu)
    monkeypatch.setattr(offline, "on_cuda", lambda device, minutes: {"song": {"rounds": 1, "rows": rows}})
    monkeypatch.setattr(offline.torch.cuda, "get_device_name", lambda device: "H")
    for device, place in (("cpu", "small"), ("cuda", "large"), ("cpu", "third")):
        monkeypatch.setattr(
            "streamsep.bench.case.machine", lambda place=place: {"machine": place, "torch": f"of {place}"}
        )
        monkeypatch.setattr(sys, "argv", ["offline", "--device", device, "--json", str(tmp_path / "offline.json")])
        assert offline.main() == 0
        words = offline_table(json.loads((tmp_path / "offline.json").read_text())).splitlines()[-1]
        if device == "cuda":
            assert words.endswith("small, torch of small. GPU: H in large, torch of large.")
    assert words.endswith("third, torch of third. GPU: H in large, torch of large.")
