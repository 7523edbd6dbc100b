"""Singers from speech synthesisers: lines of common words spoken by espeak-ng, flite or festival, as recordings."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr

from streamsep.errors import StreamsepError
from streamsep.training.clips import RATE, Samples

_LATIN = {"it": "latin-1", "fi": "latin-1", "es": "latin-1", "cs": "iso-8859-2"}  # what festival's voices read


@dataclass(frozen=True)
class Speaker:
    """A synthesised voice: its program, the program's voice, and the words of its language."""

    program: str
    voice: str
    language: str
    words: tuple[str, ...]

    def lines(self, rng: np.random.Generator, count: int = 24) -> list[Samples]:
        """`count` spoken lines `[T]` at 44.1 kHz, of five to nine random words each.

        Raises:
            StreamsepError: the program or its voice is not installed.
        """
        if shutil.which(_program(self.program)) is None:
            raise StreamsepError(f"{self.program} is not installed; install it or take its voices out of the list")
        texts = [" ".join(rng.choice(self.words, int(rng.integers(5, 10)))) for _ in range(count)]
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "line.wav"
            return [widen(*self._spoken(text, file), rng) for text in texts]

    def _spoken(self, text: str, file: Path) -> tuple[Samples, int]:
        subprocess.run(self._command(file, text), input=self._input(text), capture_output=True, check=False, timeout=60)
        try:
            sound, rate = soundfile.read(file, dtype="float32")
        except (OSError, RuntimeError):
            raise StreamsepError(f"{self.program} does not speak with the voice {self.voice}; install it") from None
        file.unlink()
        return sound, rate

    def _command(self, file: Path, text: str) -> Sequence[str]:
        match self.program:
            case "espeak-ng":
                return ["espeak-ng", "-v", self.voice, "-s", "130", "-w", str(file), text]
            case "flite":
                return ["flite", "-voice", self.voice, "-t", text, "-o", str(file)]
            case _:
                return ["text2wave", "-eval", f"(voice_{self.voice})", "-o", str(file)]

    def _input(self, text: str) -> bytes:
        return text.encode(_LATIN.get(self.language, "utf-8"), "ignore") if self.program == "festival" else b""


def _program(name: str) -> str:
    return "text2wave" if name == "festival" else name


def widen(sound: Samples, rate: int, rng: np.random.Generator) -> Samples:
    """Speech of 16 or 22 kHz at 44.1 kHz, with noise above its band that follows the level of the octave below.

    A model that met such voices as they are would learn that singers end at 8 kHz.
    """
    from scipy.signal import butter, sosfilt

    full = soxr.resample(sound, rate, RATE).astype(np.float32)
    edge = 0.46 * rate
    if edge > 0.4 * RATE or not len(full):
        return full
    octave = sosfilt(butter(4, (edge / 2, edge), "bandpass", fs=RATE, output="sos"), full)
    level = np.sqrt(np.maximum(np.convolve(np.square(octave), np.full(221, 1 / 221), mode="same"), 0))
    noise = sosfilt(butter(4, edge, "highpass", fs=RATE, output="sos"), rng.normal(size=len(full)))
    noise = sosfilt(butter(1, 1.3 * edge, "lowpass", fs=RATE, output="sos"), noise)
    return (full + 0.8 * level * noise).astype(np.float32)
