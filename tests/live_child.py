"""`streamsep live` as a process of its own, with a toy for a model and an endless tone for a device: faults as flags.

python -m tests.live_child [--hang-at-stop] [--no-torch] FLAGS OF LIVE ...
"""

from __future__ import annotations

import sys
import time
from typing import Any

import numpy as np

from streamsep.cli.live_config import LiveConfig
from streamsep.cli.live_device import PipeForm
from streamsep.engine.backends.clocked import ClockedDevice, Clocking
from streamsep.engine.ring import Audio


class Tone:
    """200 Hz on both channels, for ever."""

    def __init__(self) -> None:
        self._index = 0

    def read(self, out: Audio) -> int:
        frames = out.shape[1]
        out[:] = 0.5 * np.sin(2 * np.pi * 200 / 44100 * np.arange(self._index, self._index + frames))
        self._index += frames
        return frames


class Nowhere:
    """Takes everything."""

    def write(self, block: Audio) -> None:
        pass


class HangsAtStop(ClockedDevice):
    """A driver that does not let go."""

    def stop(self) -> None:
        time.sleep(60)


def use_a_toy() -> None:
    """Have this process load a toy whatever model it is asked for."""
    from streamsep.models import registry
    from tests.engine_toys import DelaySplit

    toy: Any = DelaySplit(hop=256, latency=96)
    registry.load_model = lambda *arguments, **more: toy


def main(flags: list[str]) -> int:
    from streamsep import cli
    from streamsep.cli import live_device

    kind: Any = HangsAtStop if "--hang-at-stop" in flags else ClockedDevice
    rest = [flag for flag in flags if flag not in ("--hang-at-stop", "--no-torch")]

    def open_device(config: LiveConfig, pipe: PipeForm | None = None, lock_step: bool = False) -> ClockedDevice:
        device: ClockedDevice = kind(Tone(), Nowhere(), config.outputs, clocking=Clocking(256, realtime=True))
        return device

    live_device.open_device = open_device
    if "thread" in flags:
        use_a_toy()
    code = cli.main(["live", "--executor", "eager", "-d", "cpu", *rest])
    if "--no-torch" in flags:
        assert "torch" not in sys.modules, "the process that only watches has loaded torch"
    return code


if __name__ == "__mp_main__":  # the worker's process
    use_a_toy()

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
