"""A small comparison with a report, made in this process, for the tests of the report."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from streamsep.evaluation import apart
from streamsep.evaluation.measures import alignment, bss
from streamsep.evaluation.measures import song as song_measures
from streamsep.files import write_audio
from streamsep.models.checkpoint import save_checkpoint
from tests.models import tiny
from tools import compare_streaming_offline as tool

STEMS = ("drums", "bass", "other", "vocals")
# A name that JavaScript would put first.
NUMBER = "7"
# Names that a page must take for text and nothing else.
HOSTILE = '<b>a & "b" <!-- <script>alert(1)'


def make_report(folder: Path, *flags: str, seconds: float = 2.0, songs: tuple[str, ...] = ("one", "two")) -> Path:
    """Compare a tiny causal model, the truth called HOSTILE, late stems, and baselines; returns the report's path."""
    rng = np.random.default_rng(0)
    time = np.arange(round(seconds * 44100)) / 44100
    for song in songs:
        for index, name in enumerate(STEMS):
            noise = rng.standard_normal((2, len(time))) * (0.5 + 0.5 * np.sin(2 * np.pi * (index + 1) * time))
            stem = (0.05 * np.cumsum(noise, axis=1) / 30 + 0.1 * np.sin(2 * np.pi * 110 * 2**index * time)).astype(
                np.float32
            )
            write_audio(folder / "data" / song / f"{name}.wav", stem, 44100)
            write_audio(folder / "late" / song / f"{name}.wav", np.pad(stem, ((0, 0), (132, 0))), 44100)
    save_checkpoint(tiny(), folder / "tiny.safetensors", {})
    systems = [f"tiny=stream:{folder / 'tiny.safetensors'}", f"{HOSTILE}=stems:{folder / 'data'}",
               f"late=stems:{folder / 'late'}", "irm", f"{NUMBER}=gain"]  # fmt: skip
    given = ["--data", str(folder / "data"), "-o", str(folder / "out"), "--excerpt", "1.2", "--chunk", "128", *flags]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(apart, "run_apart", _here)
        # What takes long on long songs is cut short: the figures are tested elsewhere.
        patch.setattr(song_measures, "bss_frames", partial(song_measures.bss_frames, taps=8))
        patch.setattr(bss, "_FFT", 1 << 13)
        patch.setattr(alignment, "_WINDOWS", 4)
        assert tool.main([*given, *(f"-s={system}" for system in systems)]) == 0
    return folder / "out" / "report.html"


def _here(work: Callable[..., Any], *arguments: Any, name: str = "") -> Any:
    return work(*arguments)
