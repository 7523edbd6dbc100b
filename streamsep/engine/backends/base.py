"""What the engine asks of an audio device, real or not."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from streamsep.engine.ring import Audio

Pump = Callable[[], None]


@dataclass(frozen=True)
class CompiledProcess:
    """The audio callback as C functions of PortAudio's signature, by address; `userdata` is handed to both.

    Attributes:
        callback: of a duplex stream, or of the output where input and output are two devices.
        capture: of the input where input and output are two devices.
    """

    callback: int
    capture: int
    userdata: int


class Process(Protocol):
    """The audio callback: reads `indata [inputs, n]`, fills `outdata [outputs, n]`; `xrun`: sound was lost before."""

    def __call__(self, indata: Audio, outdata: Audio, xrun: bool = False) -> None:
        """Handle one block."""
        ...


class LiveProcess(Process, Protocol):
    """What a real device asks of the callback besides.

    Attributes:
        ended: no more blocks are wanted.
        compiled: the same as C functions, or None.
    """

    @property
    def ended(self) -> bool: ...

    @property
    def compiled(self) -> CompiledProcess | None: ...

    def capture(self, indata: Audio) -> None:
        """Handle one block `[inputs, n]` of an input that is a device of its own."""
        ...


class AudioBackend(ABC):
    """A full-duplex device.

    Attributes:
        sample_rate: in Hz.
        inputs: channels that it delivers.
        outputs: channels that it takes.
        block: frames of every block, or None where they vary.
        max_block: most frames of one block.
        latency: frames from the air to the callback and back to the air, the input block included.
        lock_step: True for a device without a clock, which calls `pump` and so waits for the worker after each block.
        takes_compiled: it can run `LiveProcess.compiled`, and then never calls `pump`.
        separate: input and output are two devices with two clocks; the input's block may be as long as `input_block`
            and runs at `input_rate`.
    """

    sample_rate: int
    inputs: int
    outputs: int
    block: int | None
    max_block: int
    latency: int
    lock_step: bool
    takes_compiled: bool = False
    separate: bool = False
    input_block: int = 0

    @property
    def input_rate(self) -> int:
        """Rate of the input, in Hz."""
        return self.sample_rate

    @property
    def lost(self) -> str | None:
        """Why the device is gone (unplugged, its server dead), in a sentence; most devices never are: None."""
        return None

    def reopen(self) -> bool:
        """Try once to get a lost device back, with the same process; may take seconds. True once blocks flow again."""
        return False

    @abstractmethod
    def start(self, process: LiveProcess, pump: Pump | None, lag: int) -> None:
        """Begin to deliver blocks; returns at once.

        Args:
            process: called for every block, from a thread of the device's choice.
            pump: runs the worker; called after every block by a device in lock step, None for all others.
            lag: frames of the device by which the output lags behind the input; a device that comes to an end delivers
                this much silence first, so that the last of the sound comes out.
        """

    @abstractmethod
    def stop(self) -> None:
        """End the stream and wait for the block in hand; may be called again, and before `start`."""

    @abstractmethod
    def wait(self, timeout: float) -> bool:
        """Wait at most `timeout` seconds for the end of a finite stream; True once it has ended.

        Raises:
            BaseException: what ended the device's own thread, if anything went wrong there.
        """


class Source(Protocol):
    """Where a device without a microphone gets its input."""

    def read(self, out: Audio) -> int:
        """Fill `out [C, n]` from the left; returns the frames that were left (0: the end)."""
        ...


class Sink(Protocol):
    """Where a device without a loudspeaker puts its output."""

    def write(self, block: Audio) -> None:
        """Take `block [C, n]`."""
        ...
