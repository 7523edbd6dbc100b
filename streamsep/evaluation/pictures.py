"""Stems of several systems side by side: a waveform and a spectrogram for each stem and system, on common scales."""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from streamsep.errors import missing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Waves = NDArray[np.float32]
Picture = NDArray[np.float64]

_WINDOW = 4096
_COLUMNS = 900  # of a spectrogram, and of a waveform's outline
_BANDS = 160
_LOWEST = 40.0  # Hz
_RANGE = 70.0  # dB below the loudest
_TICKS = {100: "100", 1000: "1k", 10000: "10k"}
_COLOURS = ("#1f77b4", "#d95f02", "#2a9d55", "#7b5ea7")


@dataclass(frozen=True)
class Column:
    """One system.

    Attributes:
        title: above its panels.
        stems: `[T, S, C]`.
        notes: a few words on a stem, by its name, written into its panel.
    """

    title: str
    stems: Waves
    notes: Mapping[str, str] = field(default_factory=dict)


def require_matplotlib() -> None:
    """Raise StreamsepError where matplotlib is not installed."""
    if importlib.util.find_spec("matplotlib") is None:
        raise missing("matplotlib", "plot")


def draw(columns: Sequence[Column], sources: Sequence[str], rate: int, title: str, path: Path) -> None:
    """Write a PNG, for each stem a row of waveforms over a row of spectrograms; needs no display.

    All systems share a stem's scales: loudness in the waveforms, and 0 dB at its loudest band in the spectrograms.

    Args:
        columns: at least one system, all of `sources` at `rate` Hz.

    Raises:
        StreamsepError: matplotlib is not installed.
    """
    require_matplotlib()
    from matplotlib.figure import Figure

    with warnings.catch_warnings():
        # A song's name may have letters that the font lacks: boxes in their place are no reason to warn.
        warnings.filterwarnings("ignore", message="Glyph", category=UserWarning)
        figure = Figure(figsize=(1.6 + 4.8 * len(columns), 0.9 + 2.9 * len(sources)), dpi=110, layout="constrained")
        figure.suptitle(title, fontsize=13, parse_math=False)
        axes = figure.subplots(
            2 * len(sources), len(columns), squeeze=False, sharex=True,
            height_ratios=[1, 1.9] * len(sources),
        )  # fmt: skip
        for stem, source in enumerate(sources):
            _draw_waveforms(axes[2 * stem], columns, stem, source, rate)
            image = _draw_spectrograms(axes[2 * stem + 1], columns, stem, rate)
        _finish(figure, axes, columns, image)
        figure.savefig(path, format="png")


def _draw_waveforms(row: Sequence[Axes], columns: Sequence[Column], stem: int, source: str, rate: int) -> None:
    outlines = [outline(column.stems[:, stem]) for column in columns]
    top = max(float(np.abs(each).max()) for each in outlines) or 1.0
    for axes, column, (low, high) in zip(row, columns, outlines, strict=True):
        seconds = np.linspace(0, len(column.stems) / rate, len(low))
        axes.fill_between(seconds, low, high, color=_COLOURS[stem % len(_COLOURS)], linewidth=0.4)
        axes.set_ylim(-1.1 * top, 1.1 * top)
        if note := column.notes.get(source):
            box = {"facecolor": "white", "alpha": 0.85, "edgecolor": "none", "pad": 1.5}
            axes.text(0.99, 0.93, note, transform=axes.transAxes, ha="right", va="top", fontsize=9, bbox=box)
    row[0].set_ylabel(source, fontsize=12, fontweight="bold")


def _draw_spectrograms(row: Sequence[Axes], columns: Sequence[Column], stem: int, rate: int) -> Any:
    pictures = [spectrogram(column.stems[:, stem], rate) for column in columns]
    loudest = max(float(picture.max()) for picture in pictures)
    edges = np.log10([_LOWEST, rate / 2])
    for axes, column, picture in zip(row, columns, pictures, strict=True):
        extent = (0, len(column.stems) / rate, *edges)
        decibels = 10 * np.log10(np.maximum(picture, 1e-30) / max(loudest, 1e-20))
        image = axes.imshow(
            decibels, origin="lower", aspect="auto", extent=extent, cmap="magma", vmin=-_RANGE, vmax=0,
            interpolation="nearest",
        )  # fmt: skip
        axes.set_yticks(np.log10(list(_TICKS)), list(_TICKS.values()))
    row[0].set_ylabel("Hz")
    return image


def _finish(figure: Figure, axes: Any, columns: Sequence[Column], image: Any) -> None:
    for top, bottom, column in zip(axes[0], axes[-1], columns, strict=True):
        top.set_title(column.title, fontsize=11, parse_math=False)
        bottom.set_xlabel("seconds")
    for one in axes[:, 1:].flat:
        one.tick_params(labelleft=False)
    for one in axes.flat:
        one.tick_params(labelsize=8)
        one.margins(x=0)
    bar = figure.colorbar(image, ax=axes[1::2, :], aspect=60, pad=0.01, fraction=0.03)
    bar.set_label("dB below the loudest band of the stem, over all systems")


def outline(samples: Waves) -> tuple[Picture, Picture]:
    """The lowest and the highest value of `[T, C]`'s mean channel over spans of equal length, each `[n]`, n <= 900."""
    mono = np.asarray(samples).mean(axis=1, dtype=np.float64)
    starts = np.unique(np.linspace(0, len(mono), min(_COLUMNS, len(mono)), endpoint=False).astype(int))
    return np.minimum.reduceat(mono, starts), np.maximum.reduceat(mono, starts)


def spectrogram(samples: Waves, rate: int) -> Picture:
    """Mean power of `[T, C]`'s channels in bands of equal width in octaves, `[160, n]`, from 40 Hz to half the rate.

    Hann windows of 4096 samples, at most 900 of them, evenly over the sound.
    """
    frames = max(1, min(_COLUMNS, len(samples) // (_WINDOW // 8)))
    starts = np.linspace(0, len(samples), frames, endpoint=False).astype(int)
    padded = np.pad(samples, ((_WINDOW // 2, _WINDOW // 2), (0, 0)))
    window = np.hanning(_WINDOW)[:, None]
    columns = [_bands(padded[start : start + _WINDOW] * window, rate) for start in starts]
    return np.stack(columns, axis=1)


def _bands(windowed: Picture, rate: int) -> Picture:
    """Power density in each band: differences of the cumulated spectrum, so that no narrow line falls between bands."""
    power = np.square(np.abs(np.fft.rfft(windowed, axis=0))).mean(axis=1)
    edges = np.geomspace(_LOWEST, rate / 2, _BANDS + 1) * _WINDOW / rate
    cumulated = np.interp(edges, np.arange(len(power) + 1) - 0.5, np.concatenate([[0.0], np.cumsum(power)]))
    return np.diff(cumulated) / np.diff(edges)
