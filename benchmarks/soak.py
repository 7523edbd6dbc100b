"""Real time on JACK's dummy driver: the shipped model between an interface's input and its outputs, for minutes.

    python benchmarks/soak.py --seconds 600 --compare 60 --json benchmarks/results/soak.json

The first run is as on stage: compiled callback, worker process. `--compare` adds shorter runs of every way to do it,
each with and without a thread of the interface that is busy a third of the time. Beside each runs a control, a process
that only sleeps, on the worker's core and at its priority: a miss is excused where the control itself was late within
that step by more than the step's slack. Raw misses are reported all the same.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import sys
import threading
import time
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from streamsep.cli.live_model import ModelChoice, choose_queue, make_host  # noqa: E402
from streamsep.engine.backends.pa_plan import DeviceConfig  # noqa: E402
from streamsep.engine.backends.portaudio import PortAudioDevice  # noqa: E402
from streamsep.engine.link import Counter  # noqa: E402
from streamsep.engine.priority import raise_priority  # noqa: E402
from streamsep.engine.stream import Stream  # noqa: E402
from streamsep.engine.stream_config import StreamConfig  # noqa: E402
from tests.audio_servers import JackServer  # noqa: E402

PERIOD, POLL, NAP = 256, 0.004, 0.001
# The process first: after a thread, this process holds torch as well.
WAYS = (("compiled", "process"), ("compiled", "thread"), ("python", "thread"))


def control(pipe: Connection, core: int) -> None:
    """Sleep a millisecond at a time until told to stop; then send when, and by how much, it woke late."""
    os.sched_setaffinity(0, {core})
    raise_priority()
    late: list[tuple[float, float]] = []
    due = time.monotonic()
    while not pipe.poll():
        due = max(due + NAP, time.monotonic())
        time.sleep(max(0.0, due - time.monotonic()))
        if (behind := time.monotonic() - due) > NAP:
            late.append((time.monotonic(), behind))
    pipe.send(late)


def busy(stop: threading.Event) -> None:
    """An interface that draws: three milliseconds of Python in every ten."""
    while not stop.wait(0.007):
        until = time.monotonic() + 0.003
        while time.monotonic() < until:
            pass


class Watch:
    """What happens while a stream runs: misses as they are seen, how much waits, and memory."""

    def __init__(self, stream: Stream, pids: list[int]) -> None:
        self.misses: list[tuple[float, int]] = []
        self.waiting: list[int] = []
        self.memory: list[float] = []
        self._link, self._seen = stream._link, int(stream._link.counters[Counter.LATE_HOPS])
        self._processes = [psutil.Process(pid) for pid in pids]

    def look(self, number: int) -> None:
        """Once every `POLL` seconds."""
        counters = self._link.counters
        late = int(counters[Counter.LATE_HOPS])
        if late > self._seen:
            self.misses.append((time.monotonic(), late - self._seen))
            self._seen = late
        self.waiting.append(int(self._link.output.written - counters[Counter.POSITION]))
        if number % round(1 / POLL) == 0:
            self.memory.append(sum(p.memory_info().rss for p in self._processes) / 2**20)


def excused(misses: list[tuple[float, int]], late: list[tuple[float, float]], hop: float, slack: float) -> int:
    """Late hops during whose step the control was late by more than the slack."""
    return sum(
        count
        for seen, count in misses
        if any(seen - 2 * hop - POLL < woke < seen + POLL and behind > slack for woke, behind in late)
    )


def soak(callback: str, worker: str, interface: bool, seconds: float, model: str) -> dict[str, Any]:
    """One run; returns its row."""
    device = PortAudioDevice(DeviceConfig("system", "system", "JACK", outputs=8, block=None))
    host = make_host(ModelChoice(model, "cpu", "auto", device.max_block), worker, 1000)
    queue = choose_queue(None, host.info, device)
    config = StreamConfig(queue=queue, output="stems", callback=callback, restart=True)  # type: ignore[arg-type]
    stream = Stream(host, device, config)
    pids = [os.getpid()] + [child.pid or 0 for child in multiprocessing.active_children()]
    core = max(os.sched_getaffinity(0))
    context, stop = multiprocessing.get_context("spawn"), threading.Event()
    ours, theirs = context.Pipe()
    sleeper = context.Process(target=control, args=(theirs, core), daemon=True)
    sleeper.start()
    stream.start()
    for pid in pids[1:]:
        os.sched_setaffinity(pid, {core})
    if interface:
        threading.Thread(target=busy, args=(stop,), daemon=True).start()
    stream.wait(2.0)
    before, began = stream.report(), time.monotonic()
    watch = Watch(stream, pids)
    try:
        number = 0
        while time.monotonic() - began < seconds:
            stream.wait(POLL)
            watch.look(number)
            number += 1
        after = stream.report()
    finally:
        stop.set()
        ours.send("stop")
        late = ours.recv()
        stream.close()
        host.close()
    return _row(after, before, watch, late, {"callback": callback, "worker": worker, "busy": interface, "queue": queue})


def _row(after: Any, before: Any, watch: Watch, late: list[tuple[float, float]], way: dict[str, Any]) -> dict[str, Any]:
    hop = after.hop / after.budget.sample_rate
    part = max(1, len(watch.waiting) // 10)
    missed = after.late_hops - before.late_hops
    forgiven = excused(watch.misses, late, hop, after.budget.deadline / after.budget.sample_rate - after.times.p50)
    longest = max((behind for _, behind in late), default=0.0)
    return way | {
        "seconds": after.seconds - before.seconds,
        "hops": round((after.seconds - before.seconds) / hop),
        "late": missed,
        "excused": forgiven,
        "unexcused": missed - forgiven,
        "fades": after.fades - before.fades,
        "skipped": after.skipped_hops - before.skipped_hops,
        "xruns": after.xruns - before.xruns,
        "restarts": after.worker_restarts,
        "p50_ms": 1000 * after.times.p50,
        "p99_ms": 1000 * after.times.p99,
        "p999_ms": 1000 * after.times.p999,
        "hop_ms": 1000 * hop,
        "total_ms": after.budget.milliseconds(after.budget.total),
        "control_late": len(late),
        "control_longest_ms": 1000 * longest,
        "waiting_first": sorted(watch.waiting[:part])[part // 2],
        "waiting_last": sorted(watch.waiting[-part:])[part // 2],
        "memory_first_mb": watch.memory[min(5, len(watch.memory) - 1)],
        "memory_last_mb": watch.memory[-1],
        "error": after.error,
    }


def main() -> int:
    """Run, tell, and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=600, help="of the run as on stage (default %(default)s)")
    parser.add_argument("--compare", type=float, default=0, help="seconds of each of the other ways (default: none)")
    parser.add_argument("-n", "--model", default="live-23-small")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to FILE")
    args = parser.parse_args()
    runs = [partial(soak, "compiled", "process", False, args.seconds, args.model)]
    if args.compare:
        ways = [(*way, interface) for way in WAYS for interface in (False, True)]
        runs += [partial(soak, *way, args.compare, args.model) for way in ways]
    rows = []
    with JackServer(period=PERIOD, realtime=True) as server:
        os.environ.update(server.environment)
        for run in runs:
            rows.append(run())
            print(json.dumps(rows[-1]), flush=True)
    machine = {"cores": os.cpu_count(), "load": os.getloadavg()[0]}
    if args.json:
        args.json.write_text(json.dumps({"machine": machine, "rows": rows}, indent=1) + "\n", encoding="utf-8")
    sys.stdout.flush()
    os._exit(0)  # without the server, PortAudio aborts in an exit handler


if __name__ == "__main__":
    sys.exit(main())
