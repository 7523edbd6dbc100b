"""Watches over a running stream: starts a dead worker anew, gets a lost device back, and keeps what happened.

It is asked, some times a second, by whoever waits for the stream; what may take long it does in a thread.
"""

from __future__ import annotations

import threading
import time

from streamsep.engine.backends.base import AudioBackend
from streamsep.engine.desk import Desk
from streamsep.engine.device_process import DeviceProcess
from streamsep.engine.host import Host
from streamsep.engine.link import Counter, Link


class Backoff:
    """Pauses between tries: `first` seconds, twice as long each time, at most `longest`; calm for that long, anew."""

    def __init__(self, first: float, longest: float) -> None:
        self._first, self._longest = first, longest
        self._pause, self._due, self._last = first, 0.0, 0.0

    def due(self, now: float) -> bool:
        """Whether it is time for another try; if so, the next one is put off."""
        if now < self._due:
            return False
        if now - self._last > 2 * self._longest:
            self._pause = self._first
        self._last, self._due = now, now + self._pause
        self._pause = min(2 * self._pause, self._longest)
        return True


class Supervisor:
    """What a stream does about faults.

    Args:
        host: of the worker.
        backend: the device.
        link: tells whether the worker gets anywhere.
        process: silenced while the device is gone; knows the longest block.
        desk: reset when it is there again, for what the model remembers is of another time.
        patience: seconds after which a worker that leaves hops lying is taken for stuck.

    Attributes:
        worker_restarts: times a worker was started anew.
        device_losses: times the device was gone.
        device_back: False while the device is gone.
    """

    def __init__(
        self,
        host: Host,
        backend: AudioBackend,
        link: Link,
        process: DeviceProcess,
        desk: Desk,
        patience: float = 8.0,
    ) -> None:
        self.worker_restarts = self.device_losses = 0
        self.device_back = True
        self._host, self._backend, self._link = host, backend, link
        self._process, self._desk, self._patience = process, desk, patience
        self._worker_pause, self._device_pause = Backoff(0.2, 10.0), Backoff(0.25, 4.0)
        self._worker_back, self._told_blocks = True, set[str]()
        self._events: list[str] = []
        self._thread: threading.Thread | None = None
        self._progress, self._moved = (-1, -1), 0.0

    def events(self) -> list[str]:
        """What has happened since the last call, in sentences."""
        self._watch_blocks()
        events, self._events = self._events, []
        return events

    def tell(self, event: str) -> None:
        """Add a sentence to the events."""
        self._events.append(event)

    def watch(self) -> None:
        """Look after worker and device; returns at once."""
        now = time.monotonic()
        self._watch_device(now)
        self._watch_worker(now)

    def stop(self, timeout: float = 0.3) -> None:
        """Wait at most `timeout` seconds for a try to get the device back."""
        if self._thread is not None:
            self._thread.join(timeout)

    def _watch_worker(self, now: float) -> None:
        alive = self._host.alive
        if not alive:
            self._moved = now  # what waits for one that loads is not its fault
        stuck = alive and self._stuck(now)
        if alive and not stuck:
            if not self._worker_back:
                self._worker_back = True
                self.tell("the worker is back")
            return
        if self._worker_back:
            self._worker_back = False
            self.tell(f"the worker has stopped ({self._host.error or 'it is stuck'})")
        if (stuck or self._host.error is not None) and self._worker_pause.due(now) and self._host.revive():
            self.worker_restarts += 1
            self.tell("the worker is started anew")

    def _stuck(self, now: float) -> bool:
        """Whether a hop has been waiting for `patience` seconds without a step being done."""
        progress = (int(self._link.counters[Counter.STEPS]), int(self._link.counters[Counter.SKIPPED_HOPS]))
        if progress != self._progress or self._link.input.readable < self._host.info.hop:
            self._progress, self._moved = progress, now
        return now - self._moved > self._patience

    def _watch_blocks(self) -> None:
        """Tell of a period that has grown (in JACK anyone can change it): every hop is then late for good."""
        process = self._process
        self._watch_block("device", process.longest_block, process.max_block, "queue", "")
        self._watch_block("input device", process.longest_input, process.input_block, "delay", ": its sound is torn")

    def _watch_block(self, device: str, longest: int, expected: int, made: str, so: str) -> None:
        if longest > expected and device not in self._told_blocks:
            self._told_blocks.add(device)
            blocks = f"the {device} now delivers blocks of {longest} frames"
            self.tell(f"{blocks}, and the {made} was made for {expected}{so}; start again")

    def _watch_device(self, now: float) -> None:
        if self._thread is not None:
            if self._thread.is_alive():
                return
            self._thread = None
        reason = self._backend.lost
        if reason is None:
            return
        if self.device_back:
            self.device_back = False
            self.device_losses += 1
            self.tell(f"the device is gone ({reason}); waiting for it")
            self._process.silence(gone=True)
        if self._device_pause.due(now):
            self._thread = threading.Thread(target=self._reopen, name="streamsep-reopen", daemon=True)
            self._thread.start()

    def _reopen(self) -> None:
        if self._backend.reopen():
            self._desk.reset()
            self._process.silence(gone=False)
            self.device_back = True
            self.tell("the device is back")
