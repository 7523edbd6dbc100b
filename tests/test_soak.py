"""A minute of the live engine on a device with a real clock: what it met is reported, that it survived is asserted."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.audio_servers import require_jack

ROOT = Path(__file__).parent.parent


@pytest.mark.audio
@pytest.mark.slow
def test_a_minute_in_real_time(tmp_path: Path, record_property: Callable[[str, object], None]) -> None:
    require_jack()
    figures = tmp_path / "soak.json"
    command = [sys.executable, "benchmarks/soak.py", "--seconds", "60", "--json", str(figures)]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert result.returncode == 0, result.stderr
    (row,) = json.loads(figures.read_text())["rows"]
    for key in ("hops", "late", "excused", "fades", "xruns", "p50_ms", "p99_ms", "p999_ms"):
        record_property(key, row[key])
    print(json.dumps(row))
    # How often this machine was late says nothing of the program; that sound went on, and nothing grew, does.
    assert (row["error"], row["restarts"]) == (None, 0)
    assert row["seconds"] > 50
    assert row["hops"] > row["late"]
    assert row["memory_last_mb"] < row["memory_first_mb"] + 20
