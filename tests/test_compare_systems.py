"""The systems of a comparison: what each separates, at what cost, and in which process."""

from __future__ import annotations

import errno
import os
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from streamsep.errors import StreamsepError
from streamsep.evaluation import apart, comparison, separation
from streamsep.evaluation.apart import run_apart
from streamsep.evaluation.comparison import Plan
from streamsep.evaluation.material import Material, Wanted, prepare
from streamsep.evaluation.measures.difference import difference
from streamsep.evaluation.separation import Task, Waves, arrange, peak_memory, separate
from streamsep.evaluation.songs import SongFiles, reserved
from streamsep.evaluation.systems import look_at, parse_systems
from streamsep.models.apply import apply_model
from streamsep.models.tuning import StepTimes, Tuning, save_tuning, this_place
from tests.compare_material import STEMS, models_fixture, song_fixture  # noqa: F401  (fixtures)


def task(folder: Path, mix: Waves, system: str, **changes: Any) -> Task:
    mix.tofile(folder / "mix")
    material = Material(folder, len(mix), 44100, STEMS, has_truth=False)
    (parsed,) = parse_systems([system], **changes)
    return Task(parsed, material, folder / f"{parsed.way}.stems")


@pytest.mark.parametrize("chunk", [3, 100])
def test_streaming_is_the_full_pass(tmp_path: Path, models: Path, rng: np.random.Generator, chunk: int) -> None:
    mix = rng.standard_normal((1003, 2)).astype(np.float32)
    stream = task(tmp_path, mix, f"stream:{models / 'causal.safetensors'}", chunk=chunk)
    whole = task(tmp_path, mix, f"pass:{models / 'causal.safetensors'}")
    runs = separate(stream), separate(whole)
    assert stream.stems().shape == (1003, 4, 2)
    assert max(row["max"] for row in difference(stream.stems(), whole.stems(), STEMS).values()) < 1e-5
    # The stems sum to the mix, without the lag: what came out is in its place.
    np.testing.assert_allclose(stream.stems().sum(1), mix, atol=1e-4)
    assert (runs[0].latency, runs[1].latency) == (32, None)
    costs = [ran.cost for ran in runs]
    assert all(min(cost.cpu_seconds, cost.seconds) > 0 for cost in costs)
    assert all((cost.peak_memory or 0) >= (cost.start_memory or 0) > 0 for cost in costs)
    assert costs[0].weights == costs[1].weights != 0


def test_offline_is_apply_model_at_unit_level(
    tmp_path: Path, models: Path, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(separation, "_PIECE", 1000)
    mix = (0.1 + 0.2 * rng.standard_normal((6001, 2))).astype(np.float32)
    offline = task(tmp_path, mix, f"offline:{models / 'six.safetensors'}")
    separate(offline)
    wave = torch.from_numpy(mix.T.copy())[None]
    mean, level = wave.mean(), wave.mean(1).std(correction=0)
    model: Any = separation.systems.load(offline.system)
    expected = apply_model(model, (wave - mean) / level)[0] * level + mean
    expected[2] += expected[4] + expected[5]
    np.testing.assert_allclose(offline.stems(), expected[:4].permute(2, 0, 1).numpy(), atol=1e-5)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mix", "offline.stems"]


def test_sliding_is_an_offline_model_with_a_latency(tmp_path: Path, models: Path, rng: np.random.Generator) -> None:
    mix = (0.2 * rng.standard_normal((9001, 2))).astype(np.float32)
    sliding = task(tmp_path, mix, f"sliding:{models / 'long.safetensors'}@100ms")
    separate(sliding)
    assert sliding.stems().shape == (9001, 4, 2) and np.abs(sliding.stems()).max() > 1e-4


def test_stems_are_brought_into_order() -> None:
    stems = torch.arange(1.0, 7.0)[:, None, None].expand(6, 2, 3)
    names = ("other", "drums", "bass", "vocals", "guitar", "piano")
    assert arrange(stems, names, STEMS)[:, 0, 0].tolist() == [2, 3, 1 + 5 + 6, 4]
    assert arrange(stems, names, ("vocals",))[:, 0, 0].tolist() == [4]
    with pytest.raises(StreamsepError, match="has no choir"):
        arrange(stems, names, ("drums", "choir"))


@pytest.mark.slow
def test_a_process_of_its_own_has_its_own_peak(tmp_path: Path, models: Path) -> None:
    ballast = np.ones(150 << 20, np.float32)  # 600 MiB here must not count there
    wanted = task(tmp_path, np.ones((100, 2), np.float32), f"stream:{models / 'causal.safetensors'}")
    peak = run_apart(separate, wanted).cost.peak_memory
    assert peak is not None and 50 << 20 < peak < ballast.nbytes < (peak_memory() or 0)
    assert wanted.stems().any()


def test_a_killed_process_is_one_sentence() -> None:
    with pytest.raises(StreamsepError, match="the full pass of x was ended by the system"):
        run_apart(os._exit, 1, name="the full pass of x")


def test_what_another_process_raises_arrives() -> None:
    with pytest.raises(StreamsepError, match="is no system"):
        run_apart(parse_systems, ["stream:"])


def test_parallel_steps_end_with_the_first_error() -> None:
    done: list[int] = []

    def step(index: int) -> None:
        if index == 3:
            raise StreamsepError("three is enough")
        done.append(index)

    with pytest.raises(StreamsepError, match="three"):
        apart.in_parallel(1, (partial(step, index) for index in range(100)))
    assert done == [0, 1, 2]
    done.clear()
    apart.in_parallel(2, (partial(step, index) for index in (0, 1, 2, 4)))
    assert sorted(done) == [0, 1, 2, 4]


def test_without_proc_the_peak_is_that_of_getrusage(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any, **kwargs: Any) -> str:
        raise FileNotFoundError

    peak = peak_memory()
    monkeypatch.setattr(Path, "read_text", refuse)
    assert peak is not None and (peak_memory() or 0) > 0.9 * peak  # the kernel counts in batches


def test_another_window_is_another_look(
    models: Path, song: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What `streamsep tune` finds changes what a sliding model gives, also at the same hop and latency."""
    monkeypatch.setenv("STREAMSEP_CACHE", str(tmp_path / "cache"))
    path = models / "long.safetensors"

    def key() -> str:
        looks = [look_at(system) for system in parse_systems([f"sliding:{path}@100ms"])]
        assert looks[0].moves is not None and looks[0].hop == looks[0].moves["hop"] == 43 * 256
        plan = Plan(tmp_path / "out", looks, [SongFiles("song", song)], Wanted(STEMS, 44100))
        return comparison._song_job(plan, plan.songs[0], heard=False).systems[0].key

    keys = set()
    for window in (20000, 22000):
        steps = StepTimes(window, 9, 0.1, 0.1, 43 * 256 / 44100 - 1e-4)
        save_tuning(Tuning(str(path.resolve()), this_place(), 44100, 0.0, (steps,)))
        keys.add(key())
    assert len(keys) == 2


def test_a_full_disk_is_told(models: Path, song: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of holes would take the samples, and end the process when they reach the disk."""
    if not hasattr(os, "posix_fallocate"):
        pytest.skip("this system cannot reserve")

    def full(*_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    offline = task(tmp_path, np.zeros((6001, 2), np.float32), f"offline:{models / 'six.safetensors'}")
    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(StreamsepError, match=r"cannot write .*No space left on device.*; choose another folder"):
        separate(offline)
    with pytest.raises(StreamsepError, match=r"cannot write .*No space left on device.*; choose another folder"):
        prepare(SongFiles("song", song, {"drums": song}), Wanted(STEMS, 44100), tmp_path / "work")


def test_a_file_system_that_cannot_reserve_will_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: int) -> None:
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    monkeypatch.setattr(os, "posix_fallocate", refuse, raising=False)
    reserved(tmp_path / "raw", (3, 2))[:] = 1
    assert (tmp_path / "raw").stat().st_size == 24
