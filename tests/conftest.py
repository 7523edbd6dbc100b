"""What all tests share: one torch thread, one seed, and no GPU tests where there is no GPU."""

from __future__ import annotations

import os
import signal
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

torch.set_num_threads(1)
os.environ["STREAMSEP_MALLOC"] = "system"  # a test must not change the allocator of the next


def pytest_configure() -> None:
    """A shell lets its background jobs ignore SIGINT, `nohup` SIGHUP, and their children too; tests send both."""
    for name in ("SIGINT", "SIGHUP"):
        number = getattr(signal, name, None)  # not every system has each
        main = threading.current_thread() is threading.main_thread()
        if main and number is not None and signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler if name == "SIGINT" else signal.SIG_DFL)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if not torch.cuda.is_available():
        for item in items:
            if item.get_closest_marker("gpu"):  # not a keyword: those name the folders too
                item.add_marker(pytest.mark.skip(reason="needs a CUDA device"))


@pytest.fixture(autouse=True)
def seed() -> Iterator[None]:
    """Every test starts from the same random state, whichever tests ran before it."""
    torch.manual_seed(0)
    np.random.seed(0)
    yield


@pytest.fixture
def three_threads() -> Iterator[None]:
    """Operators take three, wherever nobody has said otherwise."""
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def rng() -> np.random.Generator:
    """A generator of its own for each test."""
    return np.random.default_rng(0)


@pytest.fixture
def shared_tmp_path() -> Iterator[Path]:
    """A folder that users other than the one who runs the tests can enter, as pytest's own are not."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)
