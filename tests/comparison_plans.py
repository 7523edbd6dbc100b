"""Plans of a comparison over three short songs, whose jobs run in this process and are counted."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from streamsep.evaluation import apart
from streamsep.evaluation.comparison import Plan
from streamsep.evaluation.material import Wanted
from streamsep.evaluation.measures import song as song_measures
from streamsep.evaluation.songs import songs_in
from streamsep.evaluation.systems import look_at, parse_systems
from streamsep.files import write_audio
from streamsep.models.checkpoint import save_checkpoint
from tests.models import tiny

STEMS = ("drums", "bass", "other", "vocals")


def write_song(folder: Path, rng: np.random.Generator, frames: int = 9000, stems: int = 2) -> Path:
    for name in STEMS[:stems]:
        write_audio(folder / f"{name}.wav", (0.1 * rng.standard_normal((2, frames))).astype(np.float32), 44100)
    return folder


@pytest.fixture(name="data")
def data_fixture(tmp_path: Path, rng: np.random.Generator) -> Path:
    for index in range(3):
        write_song(tmp_path / "data" / f"song {index}", rng)
    return tmp_path / "data"


@pytest.fixture(name="models")
def models_fixture(tmp_path: Path) -> Path:
    for name in ("small", "other"):
        save_checkpoint(tiny(), tmp_path / "models" / f"{name}.safetensors", {})
    return tmp_path / "models"


@pytest.fixture(name="calls")
def calls_fixture(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is done, and where: jobs run in this process, with short filters."""
    done: list[str] = []

    def run(work: Callable[..., Any], *arguments: Any, name: str = "") -> Any:
        done.append(f"{work.__name__}: {name}")
        return work(*arguments)

    monkeypatch.setattr(apart, "run_apart", run)
    monkeypatch.setattr(song_measures, "bss_frames", partial(song_measures.bss_frames, taps=8))
    return done


def plan(data: Path, *systems: str, **changes: Any) -> Plan:
    looks = [look_at(system) for system in parse_systems(systems)]
    given = {"wanted": Wanted(STEMS, 44100), "listen": 0, **changes}
    return Plan(data.parent / "out", looks, songs_in(data, STEMS), **given)
