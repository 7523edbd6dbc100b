"""Doorbells wake a waiting thread and remember a ring."""

from __future__ import annotations

import os
import threading

import pytest

from streamsep.engine.doorbell import Doorbell, EventDoorbell, ThreadDoorbell, make_doorbell

KINDS = [
    pytest.param(EventDoorbell, marks=pytest.mark.skipif(not hasattr(os, "eventfd"), reason="needs Linux' eventfd")),
    ThreadDoorbell,
    make_doorbell,
]


@pytest.mark.parametrize("kind", KINDS)
def test_rings_are_remembered_as_one(kind: type[Doorbell]) -> None:
    bell = kind()
    assert not bell.wait(0.0)
    bell.ring()
    bell.ring()
    assert bell.wait(0.0)
    assert not bell.wait(0.0)
    bell.close()


@pytest.mark.parametrize("kind", KINDS)
def test_a_ring_wakes_another_thread(kind: type[Doorbell]) -> None:
    bell, woken = kind(), []
    thread = threading.Thread(target=lambda: woken.append(bell.wait(30.0)))
    thread.start()
    bell.ring()
    thread.join()
    assert woken == [True]
    bell.close()
