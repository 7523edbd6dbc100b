"""The model of a live stream: loaded where it runs, which is usually another process than the one that is looked at."""

from __future__ import annotations

import math
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from streamsep.cli.live_config import LiveConfig
from streamsep.cli.live_device import BLOCK
from streamsep.cli.options import pick_device

if TYPE_CHECKING:
    from streamsep.engine.backends.base import AudioBackend
    from streamsep.engine.executor import Executor
    from streamsep.engine.host import Host, SeparatorInfo

_MEASURED, _FEWEST = 200, 20
# A step beside a running interface takes about half as long again as one alone.
_BUSY = 1.5


@dataclass(frozen=True)
class ModelChoice:
    """Which model is to run, how, and how much of the device's sound one step may take; calling it loads the model.

    It can be sent to another process, and called there.

    Attributes:
        model: a name or a path; None: the default one.
        device: a torch device; None: the best one.
        executor: as `make_executor` knows it.
        block: most frames of a block of the audio device.
        rate: of the audio device, in Hz.
        lookahead, window, hop: in seconds; see `load_separator`.
    """

    model: str | None = None
    device: str | None = None
    executor: str = "auto"
    block: int = 256
    rate: int = 44100
    lookahead: float | None = None
    window: float | None = None
    hop: float | None = None

    def __call__(self) -> Executor:
        """Load the model and make what runs its steps.

        Raises:
            StreamsepError: no such model, an offline one without a look-ahead, no such device, or no such executor.
        """
        from streamsep.models.registry import default_model, load_model

        choice = self if self.model is not None else replace(self, model=default_model("stream"))
        return choice.wrap(load_model(str(choice.model), device=pick_device(self.device)))

    def wrap(self, model: Any) -> Executor:
        """What runs the steps of `model`, which is on the right device already.

        Raises:
            StreamsepError: as `as_separator` and `make_executor`.
        """
        from streamsep.engine.executor import make_executor
        from streamsep.models.load import as_separator

        separator = as_separator(model, str(self.model), lookahead=self.lookahead, window=self.window, hop=self.hop)
        chunk = math.ceil(self.block * separator.sample_rate / (self.rate * separator.hop))
        return make_executor(self.executor, separator, device=pick_device(self.device), max_chunk=chunk)


def make_host(factory: Callable[[], Executor], worker: str, measure: int) -> Host:
    """A process or a thread that holds what `factory` makes; with `measure` steps timed.

    With a process, this one need not import torch: `factory` must be picklable, and is called over there.
    """
    if worker == "process":
        from streamsep.engine.process_host import ProcessHost

        return ProcessHost(factory, measure)
    from streamsep.engine.thread_host import ThreadHost

    return ThreadHost(factory(), measure)


def start_compiling(device: AudioBackend, callback: str) -> threading.Thread:
    """A thread that compiles the audio callback, where the device takes one, while the model loads."""
    wanted = device.takes_compiled and callback != "python" and find_spec("numba") is not None

    def compile_it() -> None:
        from streamsep.engine.compiled_process import prepare

        prepare()

    thread = threading.Thread(target=compile_it if wanted else None, name="streamsep-compiler", daemon=True)
    thread.start()
    return thread


def steps_to_measure(config: LiveConfig, device: AudioBackend) -> int:
    """Steps to time for the choice of a queue: fewer where blocks are long, none where there is nothing to choose.

    The host makes them fewer still where hops are long: it alone knows the model.
    """
    if config.queue is not None or device.lock_step:
        return 0
    return max(_FEWEST, _MEASURED * BLOCK // max(BLOCK, device.max_block))


def choose_queue(wanted: int | None, info: SeparatorInfo, device: AudioBackend) -> int:
    """Blocks granted to the model: as wanted, or what its measured steps need, or one where the device waits for it.

    A model that is too slow for this machine is told of on stderr.
    """
    import numpy as np

    from streamsep.engine.timing import queue_blocks

    if wanted is not None or device.lock_step or not info.step_times:
        return wanted or 1
    median, hop = float(np.median(info.step_times)), info.hop / info.sample_rate
    if median > hop:
        slow = f"a step takes {1000 * median:.1f} ms here and a hop lasts {1000 * hop:.1f} ms"
        cure = "choose a smaller model, or one of a longer hop (streamsep models list)"
        print(f"streamsep: warning: {slow}: most will be heard unseparated; {cure}", file=sys.stderr)
    high, highest = np.percentile(info.step_times, (99, 99.9), method="higher")
    # No queue helps a model that is too slow: it would only make the mix late.
    longest = hop if median > hop else max(_BUSY * float(high), float(highest))
    block = math.ceil(device.max_block * info.sample_rate / device.sample_rate)
    return queue_blocks(longest, info.hop, block, info.sample_rate)
