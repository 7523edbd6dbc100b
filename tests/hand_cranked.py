"""A device whose blocks the test delivers, through Python or through the C functions."""

from __future__ import annotations

import ctypes

import numpy as np

from streamsep.engine.backends.base import AudioBackend, CompiledProcess, LiveProcess, Pump
from tests.engine_toys import Audio

C_CALLBACK = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_ulong, ctypes.c_void_p, ctypes.c_ulong, ctypes.c_void_p
)


class HandCranked(AudioBackend):
    """A device whose blocks the test delivers, through C functions or through Python."""

    block, max_block, lock_step, latency = None, 64, True, 0

    def __init__(self, compiled: bool, rate: int = 44100, inputs: int = 2, outputs: int = 2, two: bool = False) -> None:
        self.takes_compiled, self.sample_rate = compiled, rate
        self.inputs, self.outputs, self.separate, self.input_block = inputs, outputs, two, 64 if two else 0

    def start(self, process: LiveProcess, pump: Pump | None, lag: int) -> None:
        self._process, self._pump = process, pump

    def stop(self) -> None:
        pass

    def wait(self, timeout: float) -> bool:
        return True

    def deliver(self, block: Audio, flags: int = 0, now: float = 0.0) -> tuple[Audio, int]:
        """One block `[inputs, n]`; returns what is played and what the callback says."""
        out = np.full((block.shape[1], self.outputs), np.nan, np.float32)
        if (compiled := self._process.compiled) is not None:
            return out.T, call(compiled.callback, compiled, block, out, flags, now)
        self._process(block, out.T, bool(flags & 0b1111))
        assert self._pump is not None
        self._pump()
        return out.T, int(self._process.ended)

    def hear(self, block: Audio, now: float) -> None:
        """One block of a separate input."""
        if (compiled := self._process.compiled) is not None:
            assert call(compiled.capture, compiled, block, None, 0, now) == 0
        else:
            self._process.capture(block)


def call(address: int, compiled: CompiledProcess, block: Audio, out: Audio | None, flags: int, now: float) -> int:
    """As PortAudio does: interleaved, with its time structure."""
    interleaved, when = np.ascontiguousarray(block.T), np.array([0.0, now, 0.0])
    target = None if out is None else out.ctypes.data
    function = C_CALLBACK(address)
    return int(function(interleaved.ctypes.data, target, block.shape[1], when.ctypes.data, flags, compiled.userdata))
