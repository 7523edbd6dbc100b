"""Doorbells wake a waiting thread and remember a ring."""

from __future__ import annotations

import os
import threading

import pytest

from streamsep.engine.doorbell import Doorbell, NapDoorbell, PipeDoorbell, make_doorbell

KINDS = [pytest.param(PipeDoorbell, marks=pytest.mark.skipif(os.name != "posix", reason="needs pipes")), make_doorbell]


@pytest.mark.parametrize("kind", KINDS)
def test_rings_are_remembered_as_one(kind: type[Doorbell]) -> None:
    bell = kind()
    assert not bell.wait(0.0)
    for _ in range(100_000):  # more than a pipe holds
        bell.ring()
    assert bell.wait(0.0)
    while bell.wait(0.0):
        pass
    bell.ring()
    assert bell.wait(0.0)
    assert not bell.wait(0.0)
    bell.close()


def test_a_nap_is_short_and_always_a_ring() -> None:
    bell = NapDoorbell()
    assert bell.wait(10.0)
    assert bell.wait(0.0)


@pytest.mark.parametrize("kind", [*KINDS, NapDoorbell])
def test_a_ring_wakes_another_thread(kind: type[Doorbell]) -> None:
    bell, woken = kind(), []
    thread = threading.Thread(target=lambda: woken.append(bell.wait(30.0)))
    thread.start()
    bell.ring()
    thread.join()
    assert woken == [True]
    bell.close()
