"""Sets of songs beside each other: how loud, bright, wide and often silent their stems are.

    python -m benchmarks.songs rendered=SONGS real=MORE --json benchmarks/results/songs.json

Each set is NAME=FOLDER, a folder of songs, or a MUSDB18-HQ tree; a song is a folder of stems.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np
from tqdm import tqdm

from streamsep.errors import StreamsepError, telling
from streamsep.files import Samples, read_audio, staged, to_stereo
from streamsep.training.data import STEMS, song_folders

_BLOCK = 4410  # samples
_LOWS = 80.0  # Hz
_TINY = 1e-9


def measure(stem: Samples, mix: Samples, rate: int) -> dict[str, float]:
    """Of one stem `[2, T]`: RMS beside the mix's in dB, where its power lies, share of blocks that sound."""
    size = 1 << stem.shape[1].bit_length()  # a length with large prime factors takes ten times as long
    power = np.square(np.abs(np.fft.rfft(stem.mean(0), size)))
    frequencies = np.fft.rfftfreq(size, 1 / rate)
    block = min(_BLOCK, stem.shape[1])
    whole = stem[:, : stem.shape[1] // block * block].reshape(2, -1, block)
    blocks = np.sqrt(np.mean(np.square(whole), axis=(0, 2)))
    middle, side = stem[0] + stem[1], stem[0] - stem[1]
    return {
        "level_db": _db(float(np.mean(np.square(stem))) / float(np.mean(np.square(mix)) + _TINY)),
        "centroid_hz": float((power * frequencies).sum() / (power.sum() + _TINY)),
        "lows_db": _db(float(power[frequencies < _LOWS].sum() / (power.sum() + _TINY))),
        "sounding": float(np.mean(blocks > 0.05 * blocks.max())),
        "width_db": _db(float(np.mean(np.square(side))) / float(np.mean(np.square(middle)) + _TINY)),
    }


def measure_set(folder: Path, name: str) -> dict[str, dict[str, object]]:
    """stem -> quantity -> quantiles over the songs that have this stem."""
    found: dict[str, list[dict[str, float]]] = {stem: [] for stem in STEMS}
    for song in tqdm(song_folders(folder).values(), desc=name, unit="song", leave=False):
        stems = {stem: _read(song, stem) for stem in STEMS}
        sounding = {stem: sound for stem, (sound, _) in stems.items() if sound.shape[1] and np.abs(sound).max() > 1e-3}
        length = min((sound.shape[1] for sound in sounding.values()), default=0)
        mix = np.sum([sound[:, :length] for sound in sounding.values()], axis=0)
        for stem, sound in sounding.items():
            found[stem].append(measure(sound[:, :length], mix, stems[stem][1]))
    if not any(found.values()):
        raise StreamsepError(f"no stem in {folder} that sounds and is a file of its own; choose another set {name}")
    return {stem: _summary(rows) for stem, rows in found.items() if rows}


def _read(song: Path, stem: str) -> tuple[Samples, int]:
    path = next(iter(sorted(song.glob(f"{stem}.*"))), None)
    if path is None:
        return np.zeros((2, 0), np.float32), 0
    samples, rate = read_audio(path)
    return to_stereo(samples), rate


def _summary(rows: list[dict[str, float]]) -> dict[str, object]:
    out: dict[str, object] = {"songs": len(rows)}
    for key in rows[0]:
        low, middle, high = np.percentile([row[key] for row in rows], (10, 50, 90))
        out[key] = {"p10": round(float(low), 3), "p50": round(float(middle), 3), "p90": round(float(high), 3)}
    return out


def _db(power: float) -> float:
    return max(10 * float(np.log10(power + _TINY)), -60.0)


@telling("songs")
def main() -> int:
    """Measure the sets."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="+", metavar="NAME=FOLDER", help="sets of songs")
    parser.add_argument("--json", type=Path, required=True, help="where the result goes")
    args = parser.parse_args()
    if unnamed := [item for item in args.sets if "=" not in item]:
        parser.error(f"{unnamed[0]!r} is not of the form NAME=FOLDER, such as real=songs")
    sets = dict(item.split("=", 1) for item in args.sets)
    result = {"sets": {name: measure_set(Path(folder), name) for name, folder in sets.items()}}
    with staged([args.json], "choose another --json") as paths:
        paths[0].write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
