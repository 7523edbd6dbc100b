"""Draw songs as spectrograms of their stems: `python tools/draw_songs.py FOLDER [FOLDER ...] -o docs/songs.jpg`."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from streamsep.cli.options import positive_float
from streamsep.errors import StreamsepError, missing, telling
from streamsep.files import Samples, read_audio, resample, staged, to_stereo
from streamsep.training.data import STEMS

_RATE = 22050
_WINDOW, _HOP = 1024, 512


def spectrogram(samples: Samples) -> Samples:
    """Level in dB `[F, T]` of stereo samples at `_RATE`, up to 11 kHz."""
    mono = np.pad(samples.mean(0), (0, _WINDOW))
    frames = np.lib.stride_tricks.sliding_window_view(mono, _WINDOW)[::_HOP] * np.hanning(_WINDOW)
    return (20 * np.log10(np.abs(np.fft.rfft(frames)).T / 256 + 1e-5)).astype(np.float32)


def read_stem(folder: Path, stem: str, at: float, seconds: float) -> Samples:
    """`seconds` of a stem at `_RATE`, that begin where the share `at` of it is over; silence where there is none.

    Raises:
        StreamsepError: the folder holds no stem at all, or the stem cannot be read.
    """
    if not any(path.stem in STEMS for path in folder.glob("*")):
        raise StreamsepError(f"{folder} holds none of {', '.join(STEMS)}; name a folder of stems")
    found = next((path for path in sorted(folder.glob(f"{stem}.*"))), None)
    if found is None:
        return np.zeros((2, round(seconds * _RATE)), np.float32)
    samples, rate = read_audio(found)
    part = to_stereo(samples)[:, round(at * samples.shape[1]) :][:, : round(seconds * rate)]
    return resample(part, rate, _RATE, round(seconds * _RATE))


def draw(folders: list[Path], seconds: float, at: float, target: Path) -> None:
    """One row a stem, one column a song."""
    try:
        import matplotlib

        matplotlib.use("agg")
        import matplotlib.pyplot as plt
    except ImportError:
        raise missing("matplotlib", "evaluation") from None
    form = target.suffix[1:] or "png"
    size = (3.2 * len(folders), 6.4)
    figure, axes = plt.subplots(4, len(folders), figsize=size, squeeze=False, sharex=True, sharey=True)
    if form not in (known := figure.canvas.get_supported_filetypes()):
        raise StreamsepError(f"no picture ends in .{form}; choose one of {', '.join(sorted(known))}")
    for column, folder in enumerate(folders):
        axes[0, column].set_title(_title(folder), fontsize=8)
        for row, stem in enumerate(STEMS):
            _panel(axes[row, column], spectrogram(read_stem(folder, stem, at, seconds)), seconds)
            if column == 0:
                axes[row, 0].set_ylabel(f"{stem}\nkHz", fontsize=8)
    figure.tight_layout(pad=0.4)
    with staged([target]) as (temporary,):
        figure.savefig(temporary, format=form, dpi=90)
    plt.close(figure)


def _panel(axis: Any, levels: Samples, seconds: float) -> None:
    axis.imshow(
        levels, origin="lower", aspect="auto", vmin=-75, vmax=5, extent=(0, seconds, 0, _RATE / 2000), cmap="magma"
    )
    axis.tick_params(labelsize=6)


def _title(folder: Path) -> str:
    record = folder / "song.json"
    try:
        song = json.loads(record.read_text(encoding="utf-8")) if record.is_file() else {}
        if "style" not in song:  # `find_tempos` writes a record of real songs
            return folder.name
        return f"rendered: {song['style']}, {song['tempo']:.0f} bpm"
    except (OSError, ValueError, KeyError, TypeError):
        raise StreamsepError(f"{record} is no record of a rendered song; mend it or take it away") from None


def _share(text: str) -> float:
    share = float(text)
    if not 0 <= share < 1:
        raise argparse.ArgumentTypeError(f"{text} is no share from 0 to below 1")
    return share


@telling("draw_songs")
def main() -> int:
    """Draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="+", help="songs: folders of stems")
    parser.add_argument("-o", "--out", type=Path, required=True, help="the picture")
    parser.add_argument(
        "--at", type=_share, default=0.4, help="share of the song that is skipped (default %(default)s)"
    )
    parser.add_argument("--seconds", type=positive_float, default=12.0, help="seconds drawn (default %(default)s)")
    args = parser.parse_args()
    draw(args.folders, args.seconds, args.at, args.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
