"""The far side of `ProcessHost`: what runs in the spawned process."""

from __future__ import annotations

import gc
import multiprocessing
import signal
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING

from streamsep.engine.doorbell import Doorbell
from streamsep.engine.host import Job
from streamsep.engine.link import Link, LinkShape
from streamsep.engine.shared_memory import SharedBytes
from streamsep.errors import StreamsepError

if TYPE_CHECKING:
    from streamsep.engine.executor import Executor


def serve(factory: Callable[[], Executor], pipe: Connection, bell: Doorbell, measure: int) -> None:
    """Load the model, say what it is, then do one job after another until the parent ends it or is gone.

    Says `("ready", SeparatorInfo)`, then for each job `("working", None)` and `("idle", error or None)`; or
    `("failed", sentence)`, and ends.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent ends us in its own time
    try:
        _serve(factory, pipe, bell, measure)
    except (EOFError, ConnectionError):
        pass  # the parent is gone
    except Exception as error:
        told = isinstance(error, StreamsepError)
        pipe.send(("failed", str(error) if told else f"{type(error).__name__}: {error}"))


def _serve(factory: Callable[[], Executor], pipe: Connection, bell: Doorbell, measure: int) -> None:
    from streamsep.engine.executor import inference_thread
    from streamsep.engine.priority import raise_priority
    from streamsep.engine.thread_host import describe

    executor = factory()
    gc.collect()
    gc.freeze()  # what the libraries have made stays; going through all of it takes longer than a hop
    if executor.batch != 1:
        raise StreamsepError(f"a stream is one row of audio, this executor has {executor.batch}; use batch=1")
    pipe.send(("ready", describe(executor, measure)))
    # Not before the measurement: Linux takes the processor away from whoever uses it for a second at such a priority.
    raise_priority()
    with inference_thread():
        while True:
            pipe.send(("idle", _work(executor, bell, pipe, *pipe.recv())))


def _work(executor: Executor, bell: Doorbell, pipe: Connection, memory: str, shape: LinkShape, job: Job) -> str | None:
    """One job; returns what went wrong, if anything did."""
    from streamsep.engine.session import Session
    from streamsep.engine.worker import Worker

    parent = multiprocessing.parent_process()
    assert parent is not None
    link = Link(shape, SharedBytes(shape.nbytes, memory).array)
    worker = Worker(link, Session(executor), job)
    worker.warm_up()
    pipe.send(("working", None))
    return worker.run(bell, parent.is_alive)
