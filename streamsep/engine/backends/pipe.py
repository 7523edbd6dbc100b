"""A device made of two pipes, for ffmpeg and its like: sound comes in on stdin and goes out on stdout.

ffmpeg -i song.mp3 -f wav - | streamsep live -i - -o - | ffplay -
"""

from __future__ import annotations

import os
import threading

from streamsep.engine.backends.clocked import ClockedDevice, Clocking
from streamsep.engine.backends.descriptor import Descriptor, open_descriptor
from streamsep.engine.pcm import Encoding, Pcm, read_wav_header, wav_header
from streamsep.engine.ring import Audio
from streamsep.errors import StreamsepError

_FEED = "ffmpeg -i song.mp3 -f wav - | streamsep live -i -"


class PipeSource:
    """Reads wav or raw samples; mono is heard on both sides.

    Args:
        descriptor: where from.
        raw: form of raw samples; None: a wav stream says it itself, so its header is waited for here.

    Attributes:
        pcm: form of the samples.

    Raises:
        StreamsepError: no wav stream, samples of another kind, or neither mono nor stereo.
    """

    def __init__(self, descriptor: Descriptor, raw: Pcm | None = None) -> None:
        self._descriptor = descriptor
        self._left: int | None = None
        if raw is None:
            self.pcm, self._left = read_wav_header(self._bytes)
        else:
            self.pcm = raw
        if self.pcm.channels > 2:
            many = f"the input has {self.pcm.channels} channels"
            raise StreamsepError(f"{many}, and one or two are read; mix them down first: ffmpeg -i SONG -ac 2 -f wav -")

    def read(self, out: Audio) -> int:
        """See `Source`. Waits for a whole block; what a stream ends with in the middle of a frame is dropped."""
        wanted = out.shape[1] * self.pcm.frame_bytes
        data = self._bytes(wanted if self._left is None else min(wanted, self._left))
        # Behind the end nothing is read: a terminal or a named pipe might go on.
        self._left = 0 if len(data) < wanted else None if self._left is None else self._left - wanted
        frames = len(data) // self.pcm.frame_bytes
        out[:, :frames] = self.pcm.decode(data[: frames * self.pcm.frame_bytes])
        return frames

    def _bytes(self, count: int) -> bytes:
        try:
            return self._descriptor.read(count)
        except OSError as error:
            raise StreamsepError(f"cannot read the input ({error.strerror}); pipe sound into it: {_FEED}") from None


class PipeSink:
    """Writes wav, of a length that is not known yet, or raw samples.

    Args:
        descriptor: where to.
        pcm: form of the samples.
        header: wav.
    """

    def __init__(self, descriptor: Descriptor, pcm: Pcm, header: bool = True) -> None:
        self._descriptor, self._pcm = descriptor, pcm
        self._head = wav_header(pcm, None) if header else b""

    def write(self, block: Audio) -> None:
        """See `Sink`.

        Raises:
            BrokenPipeError: who listened has gone.
            StreamsepError: the system does not take the sound.
        """
        try:
            self._descriptor.write(self._head + self._pcm.encode(block))
        except BrokenPipeError:
            raise
        except OSError as error:
            raise StreamsepError(f"cannot write the output ({error.strerror}); choose another place for it") from None
        self._head = b""


class PipeDevice(ClockedDevice):
    """Sound from one pipe to another at the pace of the pipes: it is in lock step, and waits where they wait.

    Args:
        outputs: channels to write.
        raw: form of raw input; None: wav, whose header is waited for here.
        encoding: of the output.
        header: write wav; otherwise raw samples.
        block: frames handled at once.
        source: file descriptor to read.
        sink: file descriptor to write.

    Attributes:
        form: of the input; its rate is that of the device and of the output.

    Raises:
        StreamsepError: an input that is not understood, or a terminal at either end.
    """

    def __init__(
        self,
        outputs: int = 2,
        *,
        raw: Pcm | None = None,
        encoding: Encoding = "f32le",
        header: bool = True,
        block: int = 256,
        source: int = 0,
        sink: int = 1,
    ) -> None:
        _check(source, "input", f"pipe sound into it: {_FEED}")
        _check(sink, "output", "pipe it on or write it to a file: streamsep live -o - | ffplay -")
        self._cancelled = threading.Event()
        reader = PipeSource(open_descriptor(source, self._cancelled), raw)
        self.form = reader.pcm
        rate = self.form.sample_rate
        writer = PipeSink(open_descriptor(sink, self._cancelled), Pcm(encoding, rate, outputs), header)
        super().__init__(reader, writer, outputs, sample_rate=rate, clocking=Clocking(block))

    def stop(self) -> None:
        """See `AudioBackend`."""
        self._cancelled.set()
        super().stop()


def _check(number: int, name: str, cure: str) -> None:
    """Raise StreamsepError where a terminal, or nothing, is at this end."""
    try:
        os.fstat(number)
    except OSError:
        raise StreamsepError(f"the {name} is closed; {cure}") from None
    if os.isatty(number):
        raise StreamsepError(f"the {name} is a terminal, and sound is no text; {cure}")
