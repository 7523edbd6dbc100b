"""Samples as bytes, and the header of a wav stream; this module opens nothing."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from streamsep.engine.ring import Audio
from streamsep.errors import StreamsepError

Encoding = Literal["s16le", "s24le", "s32le", "f32le"]
ENCODINGS: tuple[Encoding, ...] = get_args(Encoding)

# The sizes of a RIFF have 32 bits; what is larger is an RF64 (EBU Tech 3306), with sizes in a chunk of their own.
RIFF_LIMIT = 0xFFFFFFFF
_UNKNOWN = 0xFFFFFFFF
# Who writes to a pipe cannot go back to fill in a length: ffmpeg leaves all ones, others 0 or about 2 GB.
_HARDLY_MEANT = 0x7FFF0000
_PCM, _FLOAT, _EXTENSIBLE = 1, 3, 0xFFFE
_KNOWN: dict[tuple[int, int], Encoding] = {
    (_PCM, 16): "s16le",
    (_PCM, 24): "s24le",
    (_PCM, 32): "s32le",
    (_FLOAT, 32): "f32le",
}
_GUID = bytes.fromhex("000000001000800000aa00389b71")
_RATES = (1000, 768_000)
_WAV_CURE = "let ffmpeg write it: ffmpeg -i SONG -c:a pcm_f32le -f wav -"


@dataclass(frozen=True)
class Pcm:
    """Interleaved samples of one kind, little-endian.

    Attributes:
        encoding: by ffmpeg's name: s16le, s24le or s32le (integers), or f32le (float).
        sample_rate: in Hz.
        channels: samples of a frame.
    """

    encoding: Encoding = "f32le"
    sample_rate: int = 44100
    channels: int = 2

    def __post_init__(self) -> None:
        if self.encoding not in ENCODINGS:
            raise StreamsepError(f"unknown samples {self.encoding!r}; choose one of {', '.join(ENCODINGS)}")
        if not _RATES[0] <= self.sample_rate <= _RATES[1]:
            raise StreamsepError(f"{self.sample_rate} Hz is no rate for sound; choose {_RATES[0]} to {_RATES[1]} Hz")
        if self.channels < 1:
            raise StreamsepError(f"{self.channels} channels hold no sound; choose 1 or more")

    @property
    def bits(self) -> int:
        """Of one sample."""
        return int(self.encoding[1:3])

    @property
    def frame_bytes(self) -> int:
        """Bytes of one frame."""
        return self.channels * self.bits // 8

    def encode(self, block: Audio) -> bytes:
        """`block [channels, n]` as bytes; integers are rounded and clipped, and what is not finite becomes finite."""
        frames = np.ascontiguousarray(block.T, dtype="<f4")
        if self.encoding == "f32le":
            return frames.tobytes()
        full = 2.0 ** (self.bits - 1)
        scaled = np.rint(np.nan_to_num(frames.astype(np.float64), posinf=1.0, neginf=-1.0) * full)
        integers = np.clip(scaled, -full, full - 1)
        if self.encoding == "s24le":
            return integers.astype("<i4").view(np.uint8).reshape(-1, 4)[:, :3].tobytes()
        return integers.astype(f"<i{self.bits // 8}").tobytes()

    def decode(self, data: bytes) -> Audio:
        """Whole frames of bytes as samples `[channels, n]`."""
        match self.encoding:
            case "f32le":
                flat = np.frombuffer(data, "<f4").astype(np.float32)
            case "s24le":
                wide = np.zeros((len(data) // 3, 4), np.uint8)
                wide[:, 1:] = np.frombuffer(data, np.uint8).reshape(-1, 3)
                flat = wide.view("<i4")[:, 0].astype(np.float32) / np.float32(2**31)
            case _:
                integers = np.frombuffer(data, f"<i{self.bits // 8}")
                flat = integers.astype(np.float32) / np.float32(2 ** (self.bits - 1))
        return flat.reshape(-1, self.channels).T


def wav_header(pcm: Pcm, frames: int | None) -> bytes:
    """All that stands before the samples; None: the length is not known yet.

    It is equally long for any length, so that it can be written anew when the file has grown. The space for an RF64's
    sizes is kept free by a chunk that readers skip.
    """
    tag = _FLOAT if pcm.encoding == "f32le" else _PCM
    layout = (pcm.channels, pcm.sample_rate, pcm.sample_rate * pcm.frame_bytes, pcm.frame_bytes, pcm.bits)
    if pcm.channels > 2:
        # No loudspeaker positions: the channels are pairs of stems.
        form = struct.pack("<HHIIHHHHIH", _EXTENSIBLE, *layout, 22, pcm.bits, 0, tag) + _GUID
    else:
        form = struct.pack("<HHIIHH", tag, *layout)
    data = None if frames is None else frames * pcm.frame_bytes
    size = 0 if data is None else 4 + (8 + 28) + (8 + len(form)) + (8 + 4) + 8 + data
    fits = data is not None and size <= RIFF_LIMIT
    short = [size, frames, data] if fits else [_UNKNOWN] * 3
    large = data is not None and not fits
    sizes = struct.pack("<QQQI", size, data, frames, 0) if large else bytes(28)
    chunks = [(b"ds64" if large else b"JUNK", sizes), (b"fmt ", form), (b"fact", struct.pack("<I", short[1]))]
    body = b"".join(struct.pack("<4sI", name, len(content)) + content for name, content in chunks)
    head = struct.pack("<4sI4s", b"RF64" if large else b"RIFF", short[0], b"WAVE")
    return head + body + struct.pack("<4sI", b"data", short[2])


def read_wav_header(read: Callable[[int], bytes]) -> tuple[Pcm, int | None]:
    """Read up to the first sample: (the samples' form, their bytes or None for "until the stream ends").

    Args:
        read: gives the next n bytes, fewer only where the stream ends.

    Raises:
        StreamsepError: no wav stream, samples of another kind, or an end too early.
    """
    head = read(12)
    if len(head) < 12:
        raise StreamsepError("the input ended before a wav header came; look at what the program before the pipe says")
    if head[:4] not in (b"RIFF", b"RF64") or head[8:] != b"WAVE":
        raise StreamsepError(f"the input is no wav stream; name the form of its raw samples, or {_WAV_CURE}")
    pcm = None
    while len(chunk := read(8)) == 8:
        name, size = struct.unpack("<4sI", chunk)
        if name == b"data" and pcm is not None:
            return pcm, size if 0 < size < _HARDLY_MEANT else None
        padded = size + size % 2
        if name == b"fmt ":
            pcm = _parse_format(read(padded))
        else:
            _skip(read, padded)
    raise StreamsepError(f"the wav stream ended before its sound began; {_WAV_CURE}")


def _parse_format(content: bytes) -> Pcm:
    if len(content) < 16:
        raise StreamsepError(f"the wav header is damaged; {_WAV_CURE}")
    tag, channels, rate, _, frame_bytes, bits = struct.unpack("<HHIIHH", content[:16])
    if tag == _EXTENSIBLE and len(content) >= 40 and content[26:40] == _GUID:
        tag = int.from_bytes(content[24:26], "little")
    encoding = _KNOWN.get((tag, bits))
    if encoding is None or frame_bytes * 8 != channels * bits:
        raise StreamsepError(f"the wav stream holds {bits}-bit samples of kind {tag}, which are not read; {_WAV_CURE}")
    return Pcm(encoding, rate, channels)


def _skip(read: Callable[[int], bytes], size: int) -> None:
    while size > 0 and (got := len(read(min(size, 65536)))):
        size -= got
