"""What leaks into the vocals: songs made from a song, without its voice and with a voice far below the band.

Both are songs like any other, so that every system and every measure of a comparison goes for them: `loud_second` of
the vocals in the first, their SDR against the best constant gain in the second.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np

from streamsep.errors import StreamsepError
from streamsep.evaluation.measures.loudness import Loudness
from streamsep.evaluation.songs import SongFiles, read_pieces
from streamsep.files import Codec, Samples, write_audio

VOICE = "vocals"
LOUDNESS = -14.0  # LUFS, as streaming services play music
UNDER = 20.0  # LU: a voice so far below the band, both measured while they sound
PERCENTILE = 95
_RATE = 44100


def instrumental(song: SongFiles, folder: Path) -> SongFiles:
    """The song without its voice, at -14 LUFS, as files in `folder`.

    Raises:
        StreamsepError: there is no sound besides the voice.
    """
    band = _band(song)
    return _write(f"{song.name} without voice", band, _gain(_loudness(band.values()), LOUDNESS), folder)


def faint_voice(song: SongFiles, folder: Path) -> SongFiles:
    """The song with its voice 20 LU below the band, which is at -14 LUFS, as files in `folder`.

    Raises:
        StreamsepError: the song has no voice, or no sound besides it.
    """
    if VOICE not in song.stems:
        raise StreamsepError(f"{song.name} has no vocals that could be made faint; choose another song")
    band, voice = _band(song), _read(song.stems[VOICE])
    loudness = _loudness(band.values())
    voice *= _gain(_loudness([voice]), loudness - UNDER)
    return _write(f"{song.name} with a faint voice", band | {VOICE: voice}, _gain(loudness, LOUDNESS), folder)


def loud_second(levels: Sequence[float]) -> float:
    """The level that 5 percent of the seconds pass, of the RMS of each second in dB of full scale; nan of none."""
    return float(np.percentile(levels, PERCENTILE)) if len(levels) else math.nan


def _band(song: SongFiles) -> dict[str, Samples]:
    return {name: _read(path) for name, path in song.stems.items() if name != VOICE}


def _read(path: Path) -> Samples:
    return np.concatenate(list(read_pieces(path, _RATE)))


def _loudness(stems: Collection[Samples]) -> float:
    """Of the sum of stems `[n, 2]`, in LUFS."""
    total = np.zeros((max(map(len, stems), default=0), 2))
    for stem in stems:
        total[: len(stem)] += stem
    meter = Loudness(_RATE)
    meter.update(total)
    return meter.integrated


def _gain(loudness: float, wanted: float) -> np.float32:
    if not math.isfinite(loudness):
        raise StreamsepError("its band or its voice does not sound for half a second")
    return np.float32(10 ** ((wanted - loudness) / 20))


def _write(name: str, stems: dict[str, Samples], gain: np.float32, folder: Path) -> SongFiles:
    """The folder is there whole or not at all."""
    part = folder.with_name(f"{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    for stem, samples in stems.items():
        write_audio(part / f"{stem}.wav", (gain * samples).T, _RATE, Codec(bits=32))
    part.replace(folder)
    return SongFiles(name, None, {stem: folder / f"{stem}.wav" for stem in stems})
