"""What `streamsep stream` measures against true stems, and the file of all its figures."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from streamsep.errors import StreamsepError

if TYPE_CHECKING:
    from streamsep.engine.backends.file import FileDevice
    from streamsep.files import Samples


@dataclass(frozen=True)
class Score:
    """How near a stem came to its truth, in dB; the baseline is the best constant gain on the mixture."""

    stem: str
    sdr: float
    si_sdr: float
    baseline: float


def find_stems(folder: Path, sources: tuple[str, ...]) -> dict[str, Path]:
    """The file of each true stem.

    Raises:
        StreamsepError: a stem has no file in `folder`.
    """
    found = {}
    for name in sources:
        candidates = [folder / f"{name}{suffix}" for suffix in (".wav", ".flac", ".ogg", ".mp3")]
        existing = [path for path in candidates if path.is_file()]
        if not existing:
            raise StreamsepError(f"there is no {name}.wav, .flac, .ogg or .mp3 in {folder}; check --stems")
        found[name] = existing[0]
    return found


def refuse_overwriting(outputs: dict[str, Path], figures: Path | None, song: Path, truth: dict[str, Path]) -> None:
    """Raise StreamsepError where a file to be written is one that is read, or the figures would go over a stem."""
    from streamsep.files import real_path

    true_stems = {real_path(path) for path in truth.values()}
    written = {path: "-o" for path in outputs.values()} | ({figures: "--json"} if figures else {})
    for path, flag in written.items():
        place = real_path(path)
        if place == real_path(song):
            raise StreamsepError(f"{path} is the song itself and would be overwritten; choose another {flag}")
        if place in true_stems:
            raise StreamsepError(f"{path} is one of the true stems and would be overwritten; choose another {flag}")
    if figures and real_path(figures) in {real_path(path) for path in outputs.values()}:
        raise StreamsepError(f"{figures} is one of the stems that are written; choose another --json")


def read_stems(truth: dict[str, Path]) -> dict[str, tuple[Samples, int]]:
    """Stereo samples `[2, T]` and rate of each true stem.

    Raises:
        StreamsepError: a file that cannot be read.
    """
    from streamsep.files import read_audio, to_stereo

    read = {name: read_audio(path) for name, path in truth.items()}
    return {name: (to_stereo(samples), rate) for name, (samples, rate) in read.items()}


def score_stems(truth: dict[str, tuple[Samples, int]], player: FileDevice, stems: dict[str, Samples]) -> list[Score]:
    """Compare each stem with its truth, at the rate and length of the song."""
    import torch

    from streamsep.evaluation.metrics import baseline_sdr, sdr, si_sdr
    from streamsep.files import resample

    mix, scores = torch.from_numpy(player.stereo), []
    for name, (samples, rate) in truth.items():
        reference = torch.from_numpy(resample(samples, rate, player.rate, mix.shape[1]))
        estimate = torch.from_numpy(stems[name])
        scores.append(Score(name, sdr(reference, estimate), si_sdr(reference, estimate), baseline_sdr(reference, mix)))
    return scores


def figures_text(figures: dict[str, Any], scores: list[Score], outputs: dict[str, Path]) -> str:
    """All figures as JSON, with null for what it has no number for."""
    from streamsep.files import plain

    files = {name: str(file) for name, file in outputs.items()}
    data = figures | {"scores": [asdict(score) for score in scores], "files": files}
    return json.dumps(plain(data), indent=2) + "\n"
