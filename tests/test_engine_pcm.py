"""Samples as bytes, and wav headers as they come from other programs."""

from __future__ import annotations

import io
import itertools
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from streamsep.engine.pcm import ENCODINGS, Encoding, Pcm, read_wav_header, wav_header
from streamsep.engine.ring import Audio
from streamsep.errors import StreamsepError

SUBTYPES = {"s16le": "PCM_16", "s24le": "PCM_24", "s32le": "PCM_32", "f32le": "FLOAT"}


def noise(frames: int, channels: int = 2) -> Audio:
    return np.random.default_rng(0).uniform(-0.5, 0.5, (channels, frames)).astype(np.float32)


def reader(data: bytes) -> Callable[[int], bytes]:
    return io.BytesIO(data).read


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("channels", [1, 2, 8])
def test_bytes_are_what_libsndfile_reads_and_writes(tmp_path: Path, encoding: Encoding, channels: int) -> None:
    pcm, samples, path = Pcm(encoding, 48000, channels), noise(1001, channels), tmp_path / "x.raw"
    data = pcm.encode(samples)
    assert len(data) == 1001 * pcm.frame_bytes == 1001 * channels * pcm.bits // 8
    path.write_bytes(data)
    with soundfile.SoundFile(path, "r", 48000, channels, SUBTYPES[encoding], format="RAW") as sound:
        theirs = sound.read(dtype="float32", always_2d=True)
    np.testing.assert_array_equal(pcm.decode(data), theirs.T)
    np.testing.assert_allclose(pcm.decode(data), samples, atol=0 if encoding == "f32le" else 2.0 ** -min(pcm.bits, 25))
    assert pcm.encode(pcm.decode(data)) == data
    assert pcm.decode(b"").shape == (channels, 0)


@pytest.mark.parametrize("encoding", ["s16le", "s24le", "s32le"])
def test_integers_are_rounded_and_clipped(encoding: Encoding) -> None:
    pcm = Pcm(encoding, 44100, 1)
    step = 2.0 ** (1 - pcm.bits)
    loud = np.array([[2, 1, -1, -3, np.inf, -np.inf, np.nan, 0.6 * step, -0.6 * step, 0.4 * step]], np.float32)
    top = 2 ** (pcm.bits - 1) - 1
    numbers = [top, top, -top - 1, -top - 1, top, -top - 1, 0, 1, -1, 0]
    width = pcm.bits // 8
    assert pcm.encode(loud) == b"".join(number.to_bytes(width, "little", signed=True) for number in numbers)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("u8", 44100, 2), "unknown samples 'u8'; choose one of s16le, s24le, s32le, f32le"),
        (("s16le", 999, 2), "999 Hz is no rate"),
        (("s16le", 768001, 2), "768001 Hz is no rate"),
        (("s16le", 44100, 0), "0 channels hold no sound"),
    ],
)
def test_forms_that_cannot_be(arguments: tuple[Encoding, int, int], sentence: str) -> None:
    with pytest.raises(StreamsepError, match=sentence):
        Pcm(*arguments)


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("channels", [1, 2, 3, 8, 18])
@pytest.mark.parametrize("frames", [None, 0, 700])
def test_headers_are_read_by_libsndfile_and_by_us(
    tmp_path: Path, encoding: Encoding, channels: int, frames: int | None
) -> None:
    pcm, samples = Pcm(encoding, 96000, channels), noise(700, channels)
    header = wav_header(pcm, frames)
    assert len(header) == len(wav_header(pcm, 2**40))
    (tmp_path / "x.wav").write_bytes(header + pcm.encode(samples))
    information = soundfile.info(tmp_path / "x.wav")
    form = (information.samplerate, information.channels, information.subtype)
    assert form == (96000, channels, SUBTYPES[encoding])
    if frames != 0:
        assert information.frames == 700
        theirs, _ = soundfile.read(tmp_path / "x.wav", dtype="float32", always_2d=True)
        np.testing.assert_array_equal(theirs.T, pcm.decode(pcm.encode(samples)))
    assert read_wav_header(reader(header)) == (pcm, 700 * pcm.frame_bytes if frames else None)


def test_a_wav_of_more_than_four_gigabytes(tmp_path: Path) -> None:
    pcm, path = Pcm("f32le", 44100, 2), tmp_path / "long.wav"
    frames = 2**32 // 8 + 1000
    with path.open("wb") as file:
        file.write(wav_header(pcm, frames))
        file.seek(frames * 8 - 800, 1)
        file.write(pcm.encode(noise(100)))
    with soundfile.SoundFile(path) as sound:
        assert (sound.format, sound.frames) == ("RF64", frames)
        sound.seek(frames - 100)
        np.testing.assert_array_equal(sound.read(dtype="float32").T, noise(100))
    with path.open("rb") as file:
        assert read_wav_header(file.read) == (pcm, None)


def test_the_largest_riff() -> None:
    pcm = Pcm("s16le", 44100, 2)
    overhead = len(wav_header(pcm, 0)) - 8
    largest = (2**32 - 1 - overhead) // 4
    assert wav_header(pcm, largest)[:4] == b"RIFF"
    assert struct.unpack("<I", wav_header(pcm, largest)[4:8])[0] == largest * 4 + overhead
    assert wav_header(pcm, largest + 1)[:4] == b"RF64"


def form(tag: int, channels: int, rate: int, bits: int, more: bytes = b"") -> bytes:
    size = channels * bits // 8
    content = struct.pack("<HHIIHH", tag, channels, rate, rate * size, size, bits) + more
    return struct.pack("<4sI", b"fmt ", len(content)) + content


def wav(*chunks: bytes, magic: bytes = b"RIFF") -> bytes:
    return magic + struct.pack("<I", 0) + b"WAVE" + b"".join(chunks)


def data(size: int) -> bytes:
    return struct.pack("<4sI", b"data", size)


EXTENSIBLE = struct.pack("<HHIH", 22, 24, 3, 1) + bytes.fromhex("000000001000800000aa00389b71")
STEREO = form(1, 2, 44100, 16)


@pytest.mark.parametrize(
    ("stream", "pcm", "size"),
    [
        (wav(STEREO, data(400)), Pcm("s16le"), 400),
        (wav(STEREO, data(0)), Pcm("s16le"), None),
        (wav(STEREO, data(0xFFFFFFFF)), Pcm("s16le"), None),
        (wav(STEREO, data(0x7FFFF000)), Pcm("s16le"), None),
        (wav(STEREO, data(0x80000000)), Pcm("s16le"), None),
        (wav(STEREO, data(0x7FFEFFFF)), Pcm("s16le"), 0x7FFEFFFF),
        (wav(STEREO, data(400), magic=b"RF64"), Pcm("s16le"), 400),
        (wav(b"LIST\x1a\0\0\0" + bytes(26), STEREO, b"odd \3\0\0\0abc\0", data(8)), Pcm("s16le"), 8),
        (wav(b"id3 " + struct.pack("<I", 200_000) + bytes(200_000), STEREO, data(8)), Pcm("s16le"), 8),
        (wav(form(3, 1, 8000, 32, b"\0\0"), data(8)), Pcm("f32le", 8000, 1), 8),
        (wav(form(0xFFFE, 2, 48000, 24, EXTENSIBLE), data(8)), Pcm("s24le", 48000), 8),
        (wav(form(0xFFFE, 6, 48000, 32, EXTENSIBLE), data(8)), Pcm("s32le", 48000, 6), 8),
    ],
    ids=itertools.count(),
)
def test_headers_of_others(stream: bytes, pcm: Pcm, size: int | None) -> None:
    read = reader(stream + b"sound")
    assert read_wav_header(read) == (pcm, size)
    assert read(5) == b"sound"


@pytest.mark.parametrize(
    ("stream", "sentence"),
    [
        (b"", "ended before a wav header came; look at what the program before the pipe says"),
        (b"RIFF\0\0\0\0WAV", "ended before a wav header came"),
        (b"ID3\3" + bytes(100), "no wav stream; name the form of its raw samples, or let ffmpeg write it"),
        (b"RIFF\0\0\0\0AVI " + bytes(100), "no wav stream"),
        (b"RIFX\0\0\0\0WAVE" + bytes(100), "no wav stream"),
        (wav(STEREO), "ended before its sound began"),
        (wav(STEREO, b"LIST\xff\xff\xff\xff" + bytes(100)), "ended before its sound began"),
        (wav(data(100), bytes(100)), "ended before its sound began"),
        (wav(b"fmt \x0e\0\0\0" + bytes(14)), "header is damaged"),
        (wav(STEREO[:20]), "header is damaged"),
        (wav(form(1, 2, 44100, 8), data(8)), "8-bit samples of kind 1"),
        (wav(form(3, 2, 44100, 64), data(8)), "64-bit samples of kind 3"),
        (wav(form(7, 1, 8000, 8), data(8)), "8-bit samples of kind 7"),
        (wav(form(0xFFFE, 2, 48000, 24, EXTENSIBLE[:-1] + b"x"), data(8)), "samples of kind 65534"),
        (wav(form(0xFFFE, 2, 48000, 24), data(8)), "samples of kind 65534"),
        (wav(STEREO[:20] + b"\x08\0" + STEREO[22:], data(8)), "16-bit samples of kind 1"),
        (wav(form(1, 2, 5, 16), data(8)), "5 Hz is no rate for sound"),
        (wav(form(1, 0, 44100, 16), data(8)), "0 channels"),
    ],
    ids=itertools.count(),
)
def test_what_is_not_read_is_one_sentence(stream: bytes, sentence: str) -> None:
    with pytest.raises(StreamsepError, match=sentence):
        read_wav_header(reader(stream))
