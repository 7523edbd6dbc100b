"""Signs that a sound file is not whole: what can be read of it is used, and the user is told."""

from __future__ import annotations

import io
import logging
import os
import re
import shutil
from pathlib import Path
from typing import Any

import soundfile

_LOG = logging.getLogger("streamsep")  # without a handler of the caller's, a warning is a plain line on stderr
_UNKNOWN = 1 << 36  # frames that no flac can hold: libsndfile says so where a header, written to a pipe, holds none
_STREAMED = 0x7FFF0000  # bytes; from here on a size stands for "not known" in headers written to a pipe
_SLACK = 4096  # bytes by which a careless writer's header may be wrong
_CLAIM = re.compile(r"^\s*(?:data|SSND|Data Size) *: (\d+) \(should be (\d+)\)", re.MULTILINE)
_COMPLAINTS = (b"Invalid data found", b"partial file", b"ended prematurely")
_TAG = b"Header missing"  # an mp3 has something behind its sound


class KeptFile(io.FileIO):
    """A file that keeps the first error of its writes: libsndfile hides it, and as it closes a file says nothing.

    Attributes:
        error: it, or None.
    """

    error: OSError | None = None

    def write(self, data: Any) -> int:
        """Write all of `data`; returns how many bytes went out."""
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[super().write(rest) :]
        except OSError as error:
            self.error = self.error or error
        return len(data) - len(rest)


def tell_damage(path: Path) -> None:
    """Warn, through the logger `streamsep`, that a file is not whole."""
    _LOG.warning("%s is damaged or cut short, and only what can be read of it is used; fetch it anew", path)


def has_length(file: soundfile.SoundFile, path: Path) -> bool:
    """Whether libsndfile knows how long the file is; else it may not read it to the end.

    Of an mp3 without its length it makes a guess, and of Ogg files one behind the other it reads the first, which has
    to do where there is no ffmpeg. What it cannot seek in, such as GSM, soundfile refuses to read.
    """
    if not file.seekable():
        return False
    if file.format == "OGG":
        return not _ogg_is_chained(path) or shutil.which("ffmpeg") is None
    if file.format == "MP3":
        return _mp3_tells_length(path) or shutil.which("ffmpeg") is None
    return bool(file.frames < _UNKNOWN)


def is_cut(file: soundfile.SoundFile, path: Path, frames: int) -> bool:
    """Whether a file, of which libsndfile gave `frames`, once held more."""
    if file.format == "OGG":
        return frames < file.frames or not _ogg_ends(path)
    if file.format == "MP3":  # without a header of its own, its length is a guess
        return file.frames - frames > file.samplerate // 10 and _mp3_tells_length(path)
    claim = _CLAIM.search(file.extra_info)
    claimed, there = map(int, claim.groups()) if claim else (0, 0)
    return there + _SLACK < claimed < _STREAMED or frames < file.frames


def complains(returncode: int, errors: bytes) -> bool:
    """Whether ffmpeg met damage while decoding; some of its errors are about pictures and an mp3's tags only."""
    return returncode != 0 or (_TAG not in errors and any(text in errors for text in _COMPLAINTS))


def _ogg_ends(path: Path) -> bool:
    """Whether the last page of an Ogg file has the flag that ends a stream."""
    page = _ogg_pages(path)[1]
    return len(page) > 1 and bool(page[1] & 4)


def _ogg_is_chained(path: Path) -> bool:
    """Whether the last page of an Ogg file is of another stream than the first, as in recordings of a radio."""
    first, last = (page[10:14] for page in _ogg_pages(path))
    return len(last) == 4 and first != last


def _ogg_pages(path: Path) -> tuple[bytes, bytes]:
    """The first and the last page of an Ogg file, without the mark that they begin with."""
    with path.open("rb") as file:
        first = file.read(1 << 17).partition(b"OggS")[2]
        file.seek(max(0, file.seek(0, os.SEEK_END) - (1 << 17)))
        return first, file.read().rpartition(b"OggS")[2]


def _mp3_tells_length(path: Path) -> bool:
    """Whether the first frame of an mp3, after its tag, holds the number of frames."""
    with path.open("rb") as file:
        head = file.read(10)
        if head[:3] == b"ID3":
            file.seek(10 + sum(byte << shift for byte, shift in zip(head[6:], (21, 14, 7, 0), strict=True)))
        else:
            file.seek(0)
        frame = file.read(512)
    return any(mark in frame for mark in (b"Xing", b"Info", b"VBRI"))
