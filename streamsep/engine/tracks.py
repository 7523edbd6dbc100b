"""One sound file that grows while it is recorded, and is readable at every moment.

After every block the header says how much is there, so a process that is killed leaves a whole file. A track keeps its
first error to itself and takes nothing after it: all tracks of a recording can then be cut to the same length.
"""

from __future__ import annotations

import contextlib
import os
from abc import ABC, abstractmethod
from collections import deque
from pathlib import Path

import numpy as np
import soundfile

from streamsep.engine.pcm import Encoding, Pcm, wav_header
from streamsep.engine.ring import Audio
from streamsep.files import Codec

_ENCODINGS: dict[int, Encoding] = {16: "s16le", 24: "s24le", 32: "f32le"}
# Where a flac file keeps its numbers (RFC 9639, section 8.2, after marker and block head), and how its frames begin.
_BLOCK_SIZE, _TOTAL, _TOTAL_BITS = slice(8, 10), slice(18, 26), 36
_FLAC_SYNC = b"\xff\xf8"


class TrackFile:
    """A new file, written without buffers, that never raises out of `write`: libsndfile could not bear it.

    Attributes:
        error: the first error; nothing is appended after it.
        blocks: flac frames written whole.
        ends: where the last of them end in the file.
    """

    def __init__(self, path: Path) -> None:
        self.error: OSError | None = None
        self.blocks = 0
        self.ends: deque[int] = deque(maxlen=16)
        self._raw = path.open("x+b", buffering=0)

    def write(self, data: bytes) -> int:
        """Write all of `data` or nothing; claims to have written it in any case."""
        if self.error is None:
            before, left = os.fstat(self._raw.fileno()).st_size, memoryview(data)
            try:
                while left:
                    left = left[self._raw.write(left) :]
            except OSError as error:
                self.error = error
                with contextlib.suppress(OSError):
                    self._raw.truncate(before)
                return len(data)
            if data[:2] == _FLAC_SYNC:
                self.blocks += 1
                self.ends.append(self._raw.tell())
        return len(data)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """As of any file."""
        return self._raw.seek(offset, whence)

    def tell(self) -> int:
        """As of any file."""
        return self._raw.tell()

    def head(self, count: int) -> bytes:
        """The first `count` bytes, fewer where there are none; moves to the end."""
        self._raw.seek(0)
        data = self._raw.read(count)
        self._raw.seek(0, os.SEEK_END)
        return data

    def overwrite(self, data: bytes) -> None:
        """Write `data` over the beginning of the file, which needs no space, then move to the end."""
        self._raw.seek(0)
        self._raw.write(data)
        self._raw.seek(0, os.SEEK_END)

    def truncate(self, size: int) -> None:
        """Cut the file to `size` bytes."""
        self._raw.truncate(size)

    def close(self) -> None:
        """Close the file; may be called again."""
        self._raw.close()


class Track(ABC):
    """A stereo sound file that grows.

    Attributes:
        path: of the file.
        file: where its bytes go.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.file = path, TrackFile(path)

    @property
    @abstractmethod
    def frames(self) -> int:
        """Frames in the file that can be read."""

    @abstractmethod
    def write(self, block: Audio) -> None:
        """Append `block [2, n]` and say so in the header; on failure see `file.error`."""

    @abstractmethod
    def end(self) -> None:
        """Write what is still held back; on failure see `file.error`."""

    @abstractmethod
    def cut(self, frames: int) -> None:
        """After `end`: keep the first `frames` frames, a length that a track of the same kind has."""


class WavTrack(Track):
    """Wav, and RF64 beyond 4 GB."""

    def __init__(self, path: Path, sample_rate: int, bits: int) -> None:
        super().__init__(path)
        self._pcm = Pcm(_ENCODINGS[bits], sample_rate, 2)
        self._frames = 0
        self.file.write(wav_header(self._pcm, 0))

    @property
    def frames(self) -> int:
        """See `Track`."""
        return self._frames

    def write(self, block: Audio) -> None:
        """See `Track`."""
        self.file.write(self._pcm.encode(block))
        if self.file.error is None:
            self._frames += block.shape[1]
            self.file.overwrite(wav_header(self._pcm, self._frames))

    def end(self) -> None:
        """See `Track`."""

    def cut(self, frames: int) -> None:
        """See `Track`."""
        self._frames = frames
        header = wav_header(self._pcm, frames)
        self.file.truncate(len(header) + frames * self._pcm.frame_bytes)
        self.file.overwrite(header)


class FlacTrack(Track):
    """Flac. Its encoder fills in the length only at the end, so the length so far is written from outside."""

    def __init__(self, path: Path, sample_rate: int, bits: int) -> None:
        super().__init__(path)
        self._encoder = soundfile.SoundFile(self.file, "w", sample_rate, 2, f"PCM_{bits}", format="FLAC")
        self._taken, self._whole = 0, False

    @property
    def frames(self) -> int:
        """See `Track`."""
        return self._taken if self._whole else self.file.blocks * self._block

    @property
    def _block(self) -> int:
        return int.from_bytes(self.file.head(10)[_BLOCK_SIZE], "big")

    def write(self, block: Audio) -> None:
        """See `Track`."""
        self._encoder.write(np.ascontiguousarray(block.T))
        if self.file.error is None:
            self._taken += block.shape[1]
            self._mark(self.frames)

    def end(self) -> None:
        """See `Track`."""
        self._encoder.close()
        self._whole = self.file.error is None

    def cut(self, frames: int) -> None:
        """See `Track`."""
        extra = self.file.blocks - frames // max(1, self._block)
        if 0 < extra < len(self.file.ends):
            self.file.truncate(self.file.ends[-1 - extra])
        self._taken, self._whole = frames, True
        self._mark(frames)

    def _mark(self, frames: int) -> None:
        head = bytearray(self.file.head(42))
        if len(head) == 42:
            others = int.from_bytes(head[_TOTAL], "big") >> _TOTAL_BITS << _TOTAL_BITS
            head[_TOTAL] = (others | frames).to_bytes(8, "big")
            head[_TOTAL.stop :] = bytes(16)  # the checksum of the whole sound: none
            self.file.overwrite(bytes(head))


def open_track(path: Path, sample_rate: int, codec: Codec) -> Track:
    """A new stereo file at `path` (wav or flac).

    Raises:
        OSError: it cannot be made, or exists.
    """
    track: Track = (FlacTrack if codec.format == "flac" else WavTrack)(path, sample_rate, codec.bits)
    if track.file.error is not None:
        track.file.close()
        raise track.file.error
    return track
