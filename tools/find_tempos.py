"""Find the tempo of songs that keep one, for remixes in time: `python tools/find_tempos.py FOLDER ...`

A folder holds songs as for `streamsep train --data`. librosa finds the beats of each song; where they lie on one
straight line, `song.json` in the song's folder is told the tempo and the first beat (of the four of a bar it may be
any). A song that wavers, or whose tempo is known, is left as it is.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import soxr
from numpy.typing import NDArray
from tqdm import tqdm

from streamsep.errors import StreamsepError, missing, telling
from streamsep.files import read_audio, staged
from streamsep.training.in_time import RECORD, Tempo, tempo_of
from streamsep.training.layouts import song_files, song_folders

RATE = 22050  # that librosa's beat tracker is made for
FEWEST = 24  # beats
WAVER = 0.025  # seconds from the line, for nine beats of ten; the tracker's frames are 23 ms


def find_tempo(sound: NDArray[np.float32], rate: int) -> Tempo | None:
    """The tempo of mono `sound [T]`; None if it keeps none (D. Ellis 2007, "Beat Tracking by Dynamic Programming").

    Raises:
        StreamsepError: librosa is missing.
    """
    try:
        import librosa
    except ImportError:
        raise missing("librosa", "tempo") from None
    slow = soxr.resample(sound, rate, RATE)
    _, beats = librosa.beat.beat_track(y=slow, sr=RATE, units="time", trim=False)
    return steady(np.asarray(beats))


def steady(beats: NDArray[np.floating]) -> Tempo | None:
    """The tempo of `beats` in seconds, if they lie on one line but for those that are missing."""
    if len(beats) < FEWEST:
        return None
    steps = np.diff(beats)
    numbers = np.insert(np.cumsum(np.maximum(np.round(steps / np.median(steps)), 1)), 0, 0)
    period, first = np.polyfit(numbers, beats, 1)
    if np.quantile(np.abs(first + period * numbers - beats), 0.9) > WAVER:
        return None
    return Tempo(round(60 / period, 4), round(first % period, 4))


def listen(folder: Path) -> Tempo | None:
    """The tempo of a song's first known stem that keeps one: the drums before all."""
    for files in song_files(folder).stems.values():
        sound, rate = read_audio(files[0])
        if tempo := find_tempo(sound.mean(0), rate):
            return tempo
    return None


def write(folder: Path, tempo: Tempo) -> None:
    """Tell `song.json` the tempo, and keep what else it holds."""
    record = folder / RECORD
    facts: dict[str, Any] = json.loads(record.read_text(encoding="utf-8")) if record.is_file() else {}
    text = json.dumps(facts | {"tempo": tempo.bpm, "first_bar": tempo.first}, indent=1)
    with staged([record], "make the folder writable") as (path,):
        path.write_text(text + "\n", encoding="utf-8")


@telling("find_tempos")
def main() -> int:
    """Every song of every folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLDER", help="folders of songs")
    parser.add_argument("--dry-run", action="store_true", help="tell, and write nothing")
    args = parser.parse_args()
    songs = {path: name for folder in args.folders for name, path in song_folders(folder).items()}
    unknown = [path for path in songs if tempo_of(path) is None]
    for folder in tqdm(unknown, unit="song"):
        try:
            tempo = listen(folder)
        except StreamsepError as error:
            tqdm.write(f"{songs[folder]}: {error}")
            continue
        tqdm.write(f"{songs[folder]}: " + (f"{tempo.bpm:.2f} beats a minute" if tempo else "keeps no tempo"))
        if tempo and not args.dry_run:
            write(folder, tempo)
    return 0


if __name__ == "__main__":
    sys.exit(main())
