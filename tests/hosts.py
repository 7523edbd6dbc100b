"""Hosts of a toy, in a thread and in a process."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

from streamsep.engine.executor import Executor, make_executor
from streamsep.engine.host import Host
from streamsep.engine.process_host import ProcessHost
from streamsep.engine.stream import Stream, StreamConfig
from streamsep.engine.thread_host import ThreadHost
from tests.engine_toys import DelaySplit

STEMS = StreamConfig(output="stems", fade=4)


def make(separator: Callable[[], Any], max_chunk: int = 2) -> Executor:
    """What a process calls; it must be found by name."""
    return make_executor("eager", separator(), max_chunk=max_chunk)


TOY = partial(make, partial(DelaySplit, 8, 24))


@pytest.fixture(scope="module", name="process")
def process_fixture() -> Iterator[Host]:
    """One process for many streams: it takes seconds to start."""
    host = ProcessHost(TOY, measure=5)
    yield host
    host.close()


@pytest.fixture(params=["thread", "process"], name="host")
def host_fixture(request: pytest.FixtureRequest) -> Iterator[Host]:
    if request.param == "process":
        yield request.getfixturevalue("process")
    else:
        thread = ThreadHost(TOY(), measure=5)
        yield thread
        thread.close()


def wait_until(stream: Stream, true: Callable[[], bool], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it never came"
        stream.wait(0.02)
