"""A device whose microphone is a sound file; what it was made to play comes back at the file's own rate."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from streamsep.engine.backends.base import LiveProcess, Pump
from streamsep.engine.backends.clocked import Clocking
from streamsep.engine.backends.fake import FakeDevice
from streamsep.engine.ring import Audio
from streamsep.errors import StreamsepError
from streamsep.files import read_audio, resample, to_stereo


class FileDevice(FakeDevice):
    """Plays a file of any rate and of one, two or six channels.

    Args:
        path: what to play.
        outputs: channels to record.
        sample_rate: of the device, in Hz; the file is resampled to it.
        seconds: play only this much from the start.
        clocking: size and pace of the blocks.

    Attributes:
        path: of the file.
        rate: of the file, in Hz.
        frames: length of what is played, at `sample_rate`.
        song: what is played, `[C, T]` at `rate`, as the file has it.

    Raises:
        StreamsepError: a file that cannot be read.
    """

    def __init__(
        self,
        path: str | Path,
        outputs: int,
        *,
        sample_rate: int = 44100,
        seconds: float | None = None,
        clocking: Clocking | None = None,
    ) -> None:
        self.path = Path(path)
        song, self.rate = read_audio(path)
        self.song = song if seconds is None else song[:, : round(seconds * self.rate)]
        if self.song.shape[1] == 0:
            raise StreamsepError(f"{seconds} seconds are less than one sample; play a longer part")
        # The callback would silence non-finite samples too, but a resampler spreads them.
        clean = np.where(np.isfinite(self.song), self.song, np.float32(0))
        stereo = resample(to_stereo(clean), self.rate, sample_rate)
        self.frames, self._lag = stereo.shape[1], 0
        super().__init__(stereo, outputs, sample_rate=sample_rate, clocking=clocking)

    @property
    def stereo(self) -> Audio:
        """What is played, `[2, T]` at `rate`, non-finite samples silenced."""
        return to_stereo(np.where(np.isfinite(self.song), self.song, np.float32(0)))

    def start(self, process: LiveProcess, pump: Pump | None, lag: int) -> None:
        """See `AudioBackend`."""
        self._lag = lag
        super().start(process, pump, lag)

    def recording(self) -> Audio:
        """What came back, `[outputs, T]`: the lag taken out, at the file's own rate and length."""
        aligned = self.played[:, self._lag : self._lag + self.frames]
        return resample(aligned, self.sample_rate, self.rate, self.song.shape[1])
