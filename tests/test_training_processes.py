"""Whole runs in processes of their own: killed and resumed, and two that train as one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

ROOT = Path(__file__).parents[1]


def child(out: Path, *options: str, processes: int = 1) -> int:
    """Exit status of one run of `tests.training_child`, on one process or through torchrun on several."""
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"] if processes > 1 else []
    command = [sys.executable, *launcher, "-m", "tests.training_child", str(out), *options]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    # Its output is pytest's: shown where the test fails.
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    print(done.stdout, done.stderr)
    return done.returncode


def losses(out: Path) -> dict[int, float]:
    rows: Any = np.genfromtxt(out / "log.csv", delimiter=",", names=True)
    steps = rows["step"].astype(int).tolist()
    assert steps == sorted(set(steps)), "a step is logged twice"
    return dict(zip(steps, rows["loss"].tolist(), strict=True))


def weights(out: Path) -> dict[str, torch.Tensor]:
    model: dict[str, torch.Tensor] = torch.load(out / "state.pt", weights_only=True)["model"]
    return model


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("whole")
    assert child(out, "--size", "4") == 0
    return out


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["step", "save"])
def test_a_run_killed_in_mid_step_goes_on_as_if_nothing_had_been(tmp_path: Path, whole: Path, moment: str) -> None:
    assert child(tmp_path, "--size", "4", "--die", moment) == -signal.SIGKILL
    assert max(losses(tmp_path)) < 12
    assert child(tmp_path, "--size", "4", "--resume") == 0
    assert losses(tmp_path) == losses(whole) and len(losses(whole)) == 12
    assert all(torch.equal(value, weights(whole)[name]) for name, value in weights(tmp_path).items())


@pytest.mark.slow
def test_two_processes_train_as_one_with_twice_the_batch(tmp_path: Path, whole: Path) -> None:
    assert child(tmp_path, "--size", "2", processes=2) == 0
    one, two = losses(whole), losses(tmp_path)
    assert one.keys() == two.keys() == set(range(1, 13))
    np.testing.assert_allclose(list(two.values()), list(one.values()), atol=1e-4)
    assert max(one.values()) - min(one.values()) > 0.05, "the losses say nothing if they do not move"
    assert (tmp_path / "validation.csv").read_text().count("\n") == 2
