"""What the engine asks of an audio device, real or not."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Protocol

from streamsep.engine.ring import Audio

Pump = Callable[[], None]


class Process(Protocol):
    """The audio callback: reads `indata [inputs, n]`, fills `outdata [outputs, n]`; `xrun`: sound was lost before."""

    def __call__(self, indata: Audio, outdata: Audio, xrun: bool = False) -> None:
        """Handle one block."""
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
    """

    sample_rate: int
    inputs: int
    outputs: int
    block: int | None
    max_block: int
    latency: int
    lock_step: bool

    @abstractmethod
    def start(self, process: Process, pump: Pump | None, lag: int) -> None:
        """Begin to deliver blocks; returns at once.

        Args:
            process: called for every block, from a thread of the device's choice.
            pump: runs the worker; called after every block by a device in lock step, None for all others.
            lag: frames by which the output lags behind the input; a device that comes to an end delivers this much
                silence first, so that the last of the sound comes out.
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
