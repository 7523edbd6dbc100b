"""What the report lets one hear and see of a song: excerpts of stems as Ogg Vorbis, and spectrograms as WebP."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from streamsep.errors import missing
from streamsep.evaluation.material import Material, Waves
from streamsep.evaluation.measures.loudness import Loudness
from streamsep.evaluation.pictures import Picture, spectrogram
from streamsep.evaluation.separation import Task

Facts = dict[str, Any]
QUALITY = 0.4  # of Vorbis, 0 to 1: about 110 kbit/s
RANGE = 70.0  # dB that a spectrogram shows
DISTANCE = 30.0  # dB that a difference shows, either way
_COLUMNS = 400
_BLOCK = 4096  # libsndfile's Vorbis encoder runs out of stack on long writes


def write_excerpts(task: Task, material: Material, folder: Path, heads: Sequence[tuple[int, int]]) -> Facts:
    """Write the excerpts of a system's stems, and its attention if it has any; returns loudness and peak by stem."""
    start, length = material.excerpt
    place, truth = slice(start, start + length), material.truth()
    true = None if truth is None else truth[place]
    mix = material.mix()[place]
    facts: Facts = {"stems": write_sounds(task.stems()[place], material.sources, material.rate, folder)}
    for index, name in enumerate(material.sources):
        scale = loudest(mix if true is None or not true[:, index].any() else true[:, index], material.rate)
        picture = decibels(task.stems()[place, index], material.rate, scale)
        write_picture(folder / f"{name}.webp", picture, -RANGE, 0.0, "magma")
        if true is not None:
            apart = picture - decibels(true[:, index], material.rate, scale)
            write_picture(folder / f"{name}.difference.webp", apart, -DISTANCE, DISTANCE, "RdBu_r")
    if heads and task.system.way in ("stream", "pass", "offline"):
        from streamsep.evaluation.report.attention import write_attention

        facts["attention"] = write_attention(task.system, mix, heads, folder)
    return facts


def write_reference(material: Material, folder: Path) -> Facts:
    """Write the excerpts of the mixture and, where it is known, of the truth."""
    start, length = material.excerpt
    place, truth, rate = slice(start, start + length), material.truth(), material.rate
    mix = material.mix()[place]
    facts: Facts = {"mixture": write_sounds(mix[:, None], ("mixture",), rate, folder)}
    write_picture(folder / "mixture.webp", decibels(mix, rate, loudest(mix, rate)), -RANGE, 0.0, "magma")
    if truth is not None:
        facts["truth"] = write_sounds(truth[place], material.sources, rate, folder)
        for index, name in enumerate(material.sources):
            true = truth[place, index]
            picture = decibels(true, rate, loudest(true if true.any() else mix, rate))
            write_picture(folder / f"{name}.webp", picture, -RANGE, 0.0, "magma")
    return facts


def write_sounds(stems: Waves, names: Sequence[str], rate: int, folder: Path, quality: float = QUALITY) -> Facts:
    """Write stems `[n, S, 2]` as Ogg Vorbis; what passes full scale is turned down, and `gain` undoes that."""
    folder.mkdir(parents=True, exist_ok=True)
    facts = {}
    for index, name in enumerate(names):
        stem = np.asarray(stems[:, index])
        loudness = Loudness(rate)
        loudness.update(stem.astype(np.float64))
        peak = float(np.abs(stem).max(initial=0))
        gain = max(1.0, 1.02 * peak)
        with soundfile.SoundFile(
            folder / f"{name}.ogg", "w", rate, 2, format="OGG", compression_level=1 - quality
        ) as file:
            for at in range(0, len(stem), _BLOCK):
                file.write(stem[at : at + _BLOCK] / np.float32(gain))
        facts[name] = {"lufs": loudness.integrated, "peak": peak, "gain": gain}
    return facts


def loudest(samples: Waves, rate: int) -> float:
    """Power of the loudest band, to which a picture's decibels refer."""
    return max(float(spectrogram(samples, rate).max()), 1e-20)


def decibels(samples: Waves, rate: int, scale: float) -> Picture:
    """A spectrogram in dB of `scale`, at least -RANGE, at most 400 columns wide."""
    power = spectrogram(samples, rate)
    starts = np.unique(np.linspace(0, power.shape[1], min(_COLUMNS, power.shape[1]), endpoint=False).astype(int))
    narrow = np.add.reduceat(power, starts, axis=1) / np.diff(np.append(starts, power.shape[1]))
    return np.maximum(10 * np.log10(np.maximum(narrow, 1e-30) / scale), -RANGE)


def write_picture(path: Path, values: Picture, low: float, high: float, colours: str) -> None:
    """Write `[rows, columns]` as WebP, the first row at the bottom.

    Raises:
        StreamsepError: matplotlib or pillow is missing.
    """
    try:
        from matplotlib import colormaps
        from PIL import Image
    except ImportError as error:
        raise missing(error.name or "matplotlib", "evaluation") from None
    path.parent.mkdir(parents=True, exist_ok=True)
    shades = colormaps[colours](np.clip((values - low) / (high - low), 0, 1), bytes=True)[::-1, :, :3]
    Image.fromarray(np.ascontiguousarray(shades)).save(path, "WEBP", quality=70, method=4)
