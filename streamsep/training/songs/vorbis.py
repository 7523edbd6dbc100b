"""Ogg Vorbis whose bytes depend on the sound alone: libsndfile draws a random serial number for each file."""

from __future__ import annotations

import io
import struct
import zlib

import soundfile

from streamsep.training.clips import RATE, Samples

_PIECE = 16384  # frames a write: the encoder's stack overflows on long ones
_MIRRORED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def encode_vorbis(samples: Samples, quality: float = 0.5) -> bytes:
    """Samples `[2, T]` at 44.1 kHz as an Ogg Vorbis file of a quality from 0 to 1."""
    buffer = io.BytesIO()
    with soundfile.SoundFile(
        buffer, "w", RATE, len(samples), format="OGG", subtype="VORBIS", compression_level=1 - quality
    ) as file:
        for start in range(0, samples.shape[1], _PIECE):
            file.write(samples[:, start : start + _PIECE].T)
    return numbered(buffer.getvalue(), 1)


def numbered(data: bytes, serial: int) -> bytes:
    """An Ogg file with another serial number on all its pages, and their checksums set right (RFC 3533)."""
    pages, start = [], 0
    while start < len(data):
        segments = data[start + 26]
        size = 27 + segments + sum(data[start + 27 : start + 27 + segments])
        page = bytearray(data[start : start + size])
        page[14:18], page[22:26] = struct.pack("<I", serial), bytes(4)
        page[22:26] = struct.pack("<I", _checksum(bytes(page)))
        pages.append(bytes(page))
        start += size
    return b"".join(pages)


def _checksum(page: bytes) -> int:
    """Ogg's CRC-32, which is zlib's of the bits in reverse order, begun and ended with zeros."""
    mirrored = zlib.crc32(page.translate(_MIRRORED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int(f"{mirrored:032b}"[::-1], 2)
