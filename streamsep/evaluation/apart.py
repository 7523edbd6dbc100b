"""Work in processes of its own: one for each job, so that memory and crashes stay apart, and starting one is cheap.

Where the system allows, a small server process loads the libraries once and is forked for each job: milliseconds, not
the seconds that importing torch takes.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, ThreadPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_all_start_methods, get_context, parent_process
from typing import Any, TypeVar

from streamsep.errors import StreamsepError

T = TypeVar("T")
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
# One that is not installed is passed over. The first lets Ctrl-C end the loading of the others without a traceback.
_PRELOADED = ["streamsep.evaluation.silent_end", "streamsep.evaluation.jobs", "pyloudnorm", "scipy.signal"]


def run_apart(work: Callable[..., T], *arguments: Any, name: str = "the work") -> T:
    """Call `work` in a fresh process and wait for what it returns.

    Raises:
        StreamsepError: what `work` raises, or the process was killed.
    """
    _one_thread()
    with ProcessPoolExecutor(1, mp_context=_context(), initializer=_die_with_parent) as pool:
        try:
            return pool.submit(work, *arguments).result()
        except (BrokenProcessPool, MemoryError):
            raise StreamsepError(
                f"{name} was ended by the system, as when memory is short; try fewer --seconds"
            ) from None
        except (EOFError, ConnectionError):  # the server process has gone
            raise StreamsepError(f"{name} was ended before it began; the same command goes on") from None


def _context() -> Any:
    if "forkserver" not in get_all_start_methods():
        return get_context("spawn")
    context = get_context("forkserver")
    context.set_forkserver_preload(_PRELOADED)
    return context


def _one_thread() -> None:
    """One thread for linear algebra in the processes to come: systems are compared on one core."""
    for name in _THREADS:
        os.environ.setdefault(name, "1")


def _die_with_parent() -> None:
    """An orphan would go on working for nobody, and beside the run that continues the work. Ctrl-C raises again."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    parent = parent_process()

    def wait_and_end() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=wait_and_end, daemon=True).start()


def in_parallel(jobs: int, steps: Iterator[Callable[[], None]]) -> None:
    """Run the steps in up to `jobs` threads, each taken when one is free; the first error ends it all."""
    with ThreadPoolExecutor(jobs) as threads:
        open_: set[Future[None]] = set()
        try:
            for step in steps:
                open_.add(threads.submit(step))
                if len(open_) >= jobs:
                    done, open_ = wait(open_, return_when=FIRST_COMPLETED)
                    for each in done:
                        each.result()
            for each in open_:
                each.result()
        finally:
            threads.shutdown(wait=True, cancel_futures=True)
