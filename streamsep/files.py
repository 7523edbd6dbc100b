"""Sound files in and out, as float32 arrays `[C, T]`; this module knows nothing of models.

Reading goes through libsndfile (wav, flac, ogg, mp3, aiff, ...) and, for what it cannot read, through ffmpeg on PATH.
Writing goes to a temporary name beside the target and is renamed when whole, so a file is never half-overwritten.
"""

from __future__ import annotations

import contextlib
import math
import os
import shutil
import stat
import struct
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from streamsep.damage import KeptFile, complains, has_length, is_cut, tell_damage
from streamsep.errors import StreamsepError

Samples = NDArray[np.float32]
ClipMode = Literal["rescale", "clamp", "none"]
HEADROOM = 1.01  # by which the peak of what is turned down stays below full scale

# libsndfile gives Ogg's 5.1 as FL FC FR BL BR LFE; elsewhere, and here, it is FL FR FC LFE BL BR.
_FROM_OGG = [0, 2, 1, 5, 3, 4]
# ITU-R BS.775, table 2: centre and surrounds at -3 dB, no low-frequency effects.
_DOWNMIX = np.array([[1, 0, 0.5**0.5, 0, 0.5**0.5, 0], [0, 1, 0.5**0.5, 0, 0, 0.5**0.5]], dtype=np.float32)
_MP3_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)
_PCM = {16: "PCM_16", 24: "PCM_24", 32: "FLOAT"}
_RATES = (1000, 768_000)  # beyond these a header is more likely wrong than right
_FLAC_LIMIT = 655_350


@dataclass(frozen=True)
class Codec:
    """How stems are coded.

    Attributes:
        format: wav, flac or mp3; also the files' extension.
        bits: 16 or 24 (integers), or 32 (float, wav only).
        bitrate: of mp3, in kbit/s; the highest that the rate allows where that is less.
    """

    format: Literal["wav", "flac", "mp3"] = "wav"
    bits: Literal[16, 24, 32] = 16
    bitrate: int = 320

    def __post_init__(self) -> None:
        if self.format == "flac" and self.bits == 32:
            raise StreamsepError("flac holds 16 or 24 bits; choose --int24, or wav for 32-bit float samples")
        if not 32 <= self.bitrate <= 320:
            raise StreamsepError(f"an mp3 has 32 to 320 kbit/s, not {self.bitrate}; choose another --mp3-bitrate")

    def check_rate(self, rate: int) -> None:
        """Raise StreamsepError where the format cannot hold sound at `rate` Hz."""
        if self.format == "flac" and rate > _FLAC_LIMIT:
            raise StreamsepError(f"flac goes up to {_FLAC_LIMIT} Hz and the song has {rate} Hz; choose wav")


def read_audio(path: str | Path) -> tuple[Samples, int]:
    """Read a whole file: (samples `[C, T]` as float32, rate in Hz). 5.1 comes in the order FL FR FC LFE BL BR.

    A file that is damaged or cut short is read as far as that goes, with a warning through the logger `streamsep`.

    Raises:
        StreamsepError: no such file, a folder, unreadable, empty, no sound in it, a rate outside 1 to 768 kHz, or a
            format that is not understood.
    """
    path = Path(path)
    check_readable(path)
    samples, rate = _read_with_libsndfile(path) or _read_with_ffmpeg(path)
    if not len(samples):
        raise StreamsepError(f"{path} holds no sound; choose another file")
    if not _RATES[0] <= rate <= _RATES[1]:
        raise StreamsepError(f"{path} claims {rate} Hz; choose a file of {_RATES[0]} to {_RATES[1]} Hz")
    return np.ascontiguousarray(samples.T, dtype=np.float32), int(rate)


def write_audio(path: str | Path, samples: Samples, rate: int, codec: Codec | None = None) -> None:
    """Write `samples [C, T]` at `rate` Hz, atomically; what lies outside -1 to 1 is clipped in integer formats.

    mp3 knows nine rates up to 48 kHz: at any other rate the sound is resampled to the next lower one of them.

    Raises:
        StreamsepError: the folder or the disk does not take the file.
    """
    with staged([Path(path)]) as (temporary,):
        encode(temporary, samples, rate, codec or Codec())


def encode(path: Path, samples: Samples, rate: int, codec: Codec) -> None:
    """Write straight to `path`; for use on the temporary names of `staged`."""
    extra: dict[str, object] = {"subtype": "MPEG_LAYER_III" if codec.format == "mp3" else _PCM[codec.bits]}
    if codec.format == "mp3":
        allowed = max((r for r in _MP3_RATES if r <= rate), default=_MP3_RATES[0])
        samples, rate = resample(samples, rate, allowed), allowed
        extra |= {"bitrate_mode": "CONSTANT", "compression_level": _compression(codec.bitrate, rate)}
    with KeptFile(path, "w") as file:
        try:
            soundfile.write(file, samples.T, rate, format=codec.format.upper(), **extra)
        finally:
            if file.error is not None:
                raise file.error


def _compression(bitrate: int, rate: int) -> float:
    """libsndfile's level, 0 to below 1, for a bitrate: a straight line over the span of the rate's MPEG version."""
    lowest, highest = (32, 320) if rate >= 32000 else (8, 160) if rate >= 16000 else (8, 64)
    return min((highest - min(bitrate, highest)) / (highest - lowest), 0.999)


@contextlib.contextmanager
def staged(paths: Sequence[Path], cure: str = "choose another folder with -o") -> Iterator[list[Path]]:
    """Make empty files beside `paths`, renamed to them when the block succeeds and removed when it does not.

    Args:
        paths: the files to be; a symbolic link stays one, and it is its target that is replaced.
        cure: end of the error's sentence.

    Raises:
        StreamsepError: a folder cannot be made or written, one of `paths` is a folder, a device or a pipe, two of them
            are one file, or the disk is full.
    """
    temporary: list[Path] = []
    try:
        places = [_place(path, cure) for path in paths]
        if len(set(places)) < len(places):
            raise StreamsepError(f"two of the files in {paths[0].parent} are one and the same; {cure}")
        for place in places:
            place.parent.mkdir(parents=True, exist_ok=True)
        temporary = [place.parent / f".{place.name}.{os.getpid()}.part" for place in places]
        for source in temporary:
            source.touch()
        yield temporary
        for source, place in zip(temporary, places, strict=True):
            source.replace(place)
    except BrokenPipeError:  # of what is printed meanwhile: none of these files is a pipe
        raise
    except (OSError, soundfile.LibsndfileError) as error:
        # Where libsndfile does not tell what the system said, a full disk is what is left once the files are made.
        reason = (error.strerror or str(error)) if isinstance(error, OSError) else "is the disk full?"
        folder = paths[0].parent
        raise StreamsepError(f"cannot write into {folder} ({reason}); {cure}") from None
    finally:
        for source in temporary:
            with contextlib.suppress(OSError):
                source.unlink()


def _place(path: Path, cure: str) -> Path:
    """Where a file that is to be called `path` lies; StreamsepError where something else than a file is there."""
    if not path.name or path.is_dir():
        raise StreamsepError(f"{path} is a folder, and a file is to be written there; {cure}")
    if path.exists() and not path.is_file():
        raise StreamsepError(f"{path} is a device or a pipe and no ordinary file; {cure}")
    return real_path(path) if path.is_symlink() else path


def real_path(path: Path) -> Path:
    """The absolute path behind all symbolic links.

    Raises:
        StreamsepError: the links run in a circle, or the name is none that a file can have.
    """
    try:
        return path.resolve()
    except (OSError, RuntimeError, ValueError):
        raise StreamsepError(f"the path {path} leads nowhere (a circle of links?); check it") from None


def resample(samples: Samples, source: int, target: int, frames: int | None = None) -> Samples:
    """Resample `[C, T]` from `source` to `target` Hz (soxr, HQ), then cut or fill with silence to `frames`."""
    if source != target:
        samples = np.ascontiguousarray(soxr.resample(samples.T, source, target).T, dtype=np.float32)
    if frames is None or samples.shape[1] == frames:
        return samples
    return np.pad(samples[:, :frames], ((0, 0), (0, max(0, frames - samples.shape[1]))))


def to_stereo(samples: Samples) -> Samples:
    """`[C, T]` to `[2, T]`: mono to both channels, 5.1 by ITU-R BS.775.

    Raises:
        StreamsepError: another number of channels.
    """
    match len(samples):
        case 1:
            return np.repeat(samples, 2, axis=0)
        case 2:
            return samples
        case 6:
            return _DOWNMIX @ samples
        case channels:
            raise StreamsepError(f"{channels} channels are neither mono, stereo nor 5.1; mix them down to stereo first")


def from_stereo(samples: Samples, channels: int) -> Samples:
    """What a file of `channels` channels gets back: mono for mono (the mean), else the stereo `[2, T]` itself."""
    return samples.mean(axis=0, keepdims=True) if channels == 1 else samples


def prevent_clipping(samples: Samples, mode: ClipMode) -> Samples:
    """Fit `[C, T]` into -1 to 1: `rescale` the whole where it peaks over 0.99, `clamp` the peaks, or `none`."""
    match mode:
        case "rescale":
            return samples / max(HEADROOM * float(np.abs(samples).max(initial=0)), 1.0)
        case "clamp":
            return samples.clip(-0.99, 0.99)
        case "none":
            return samples


def check_folder(path: Path, cure: str) -> None:
    """Refuse what is no folder.

    Raises:
        StreamsepError: it is none, or not there; the sentence ends with the cure.
    """
    if not path.is_dir():
        raise StreamsepError(f"there is no folder {path}; {cure}")


def check_readable(path: Path) -> None:
    """Raise StreamsepError where there is no file to read at `path`, but a folder, a pipe, or nothing in it."""
    try:
        kind = path.stat().st_mode
        if stat.S_ISDIR(kind):
            raise StreamsepError(f"{path} is a folder; name the sound files in it")
        if not stat.S_ISREG(kind):  # not even opened: what is read of a pipe is gone from it
            raise StreamsepError(
                f"{path} is a pipe or a device; write the sound to a file first, or pipe it into `streamsep live -i -`"
            )
        with path.open("rb") as file:
            empty = not file.read(1)
    except FileNotFoundError:
        raise StreamsepError(f"there is no file {path}; check the path") from None
    except ValueError:
        raise StreamsepError(f"{str(path)!r} is no name that a file can have; check the path") from None
    except OSError as error:
        raise StreamsepError(f"cannot read {path} ({error.strerror}); check the path and its permissions") from None
    if empty:
        raise StreamsepError(f"{path} is an empty file; choose another")


def _read_with_libsndfile(path: Path) -> tuple[Samples, int] | None:
    """All that is in a file as `[T, C]`; None where libsndfile cannot read it, or not to its end."""
    try:
        # As bytes: a name need not be UTF-8.
        with soundfile.SoundFile(os.fsencode(path)) as file:
            if not has_length(file, path):
                return None
            samples = file.read(dtype="float32", always_2d=True)
            if is_cut(file, path, len(samples)):
                tell_damage(path)
            reorder = file.format == "OGG" and file.channels == 6
            return samples[:, _FROM_OGG] if reorder else samples, file.samplerate
    # A damaged flac may claim any length, and all of it is reserved; a TypeError is of names such as a.raw.
    except (soundfile.LibsndfileError, MemoryError, TypeError):
        return None


def _read_with_ffmpeg(path: Path) -> tuple[Samples, int]:
    """Decode the first sound track to `[T, C]` by way of AU, whose header holds the rate and needs no seeking."""
    program = shutil.which("ffmpeg")
    if program is None:
        raise StreamsepError(f"libsndfile cannot read the format of {path}; install ffmpeg or convert it to wav")
    command = [program, "-v", "error", "-nostdin", "-protocol_whitelist", "file,pipe", "-i", f"file:{path}"]
    command += ["-map", "0:a:0", "-c:a", "pcm_f32be", "-f", "au", "pipe:1"]
    done = subprocess.run(command, capture_output=True, check=False)
    data = done.stdout
    if len(data) < 24:
        raise StreamsepError(f"{path} is not a sound file that libsndfile or ffmpeg can read; choose another")
    if complains(done.returncode, done.stderr):
        tell_damage(path)
    magic, offset, _, _, rate, channels = struct.unpack(">4s5I", data[:24])
    assert magic == b".snd", magic
    frames = (len(data) - offset) // (4 * channels)
    samples = np.frombuffer(data, ">f4", frames * channels, offset).reshape(frames, channels)
    return samples.astype(np.float32), rate


def plain(value: Any, rounded: Callable[[float], float] = float) -> Any:
    """The same data for JSON: finite numbers as `rounded` gives them, null for all others."""
    if isinstance(value, float):
        return rounded(value) if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: plain(item, rounded) for key, item in value.items()}
    return [plain(item, rounded) for item in value] if isinstance(value, list) else value
